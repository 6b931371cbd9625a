"""Using a trained separator."""

import os
from pathlib import Path

import ruamel.yaml
import torch
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.fetching import FetchConfig, LocalStrategy, fetch

from sb_ext.chunking import CHUNK_SECONDS, OVERLAP_SECONDS
from sb_ext.export import export_model
from sb_ext.model_folder import load_weights, read_model
from sb_ext.streams import MixtureFile, as_arrays, write_tracks

# In samples; SpeechBrain's separators fail on less than a frame.
SHORTEST = 1024


class SourceSeparation(Pretrained):
    """A trained separator, ready to use; the same calls as SpeechBrain's own separation class.

    Made by ``SourceSeparation.from_hparams(source, savedir=None, run_opts=None)``: ``source`` is an experiment's
    output folder, its ``model`` folder, or a hub name.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> halves = torch.nn.Module()
    >>> halves.forward = lambda mixture: SimpleNamespace(sources=torch.stack([mixture, mixture], 1) / 2)
    >>> model = SourceSeparation({"separator": halves}, {"sample_rate": 8000}, {"device": "cpu"})
    >>> model.separate_batch(torch.ones(3, 100)).shape
    torch.Size([3, 100, 2])
    """

    HPARAMS_NEEDED = ["sample_rate"]
    MODULES_NEEDED = ["separator"]

    @classmethod
    def from_hparams(
        cls,
        source,
        hparams_file="hyperparams.yaml",
        overrides=None,
        overrides_must_match=True,
        savedir=None,
        trust=False,
        local_strategy=LocalStrategy.SYMLINK,
        fetch_config=None,
        **kwargs,
    ):
        """Load a model; an experiment's output folder gives its best checkpoint.

        Arguments
        ---------
        source : str
            An experiment's output folder, a model folder, or a hub name.
        trust : bool
            Whether the model's YAML may name any class or function, and so run any code; otherwise it may name layers
            of sb_ext, SpeechBrain and torch.nn. Weights are tensors either way.
        hparams_file, overrides, overrides_must_match, savedir, local_strategy, fetch_config, **kwargs
            As SpeechBrain's Pretrained takes them.

        Raises
        ------
        FileNotFoundError
            If a local folder is missing, or holds neither a model nor a checkpoint.
        ValueError
            If the YAML names something else, or the weights do not fit it, or are no tensors.
        """
        source = _model_folder(str(source), hparams_file)
        savedir = source if savedir is None and os.path.isdir(source) else savedir
        how = {"local_strategy": local_strategy, "fetch_config": fetch_config or FetchConfig()}
        path = fetch(hparams_file, source, savedir, **how)
        hparams = read_model(path, overrides, overrides_must_match, trust)
        for key in ("modules", "pretrainer", *cls.HPARAMS_NEEDED):
            if key not in hparams:
                raise ValueError(f"{path}: holds no {key}; expected a model folder, as export_model writes it")
        pretrainer = hparams["pretrainer"]
        pretrainer.set_collect_in(savedir)
        pretrainer.collect_files(source, **how)
        modules = (name for name, loaded in pretrainer.loadables.items() if isinstance(loaded, torch.nn.Module))
        pretrainer.add_custom_hooks(dict.fromkeys(modules, load_weights))
        pretrainer.load_collected()
        return cls(hparams["modules"], hparams | {"savedir": savedir}, **kwargs)

    @property
    def sample_rate(self):
        """In Hz, of what the separator takes and gives."""
        return self.hparams.sample_rate

    @property
    def chooses_count(self):
        """Whether the separator can give any number of sources, and counts them where it is not told."""
        return getattr(self.mods.separator, "chooses_count", False)

    @torch.no_grad()
    def separate_batch(self, mix, num_sources=None):
        """Separate ``mix [B, T]`` into ``[B, T, C]``, at the model's sample rate and in one pass.

        Arguments
        ---------
        mix : torch.Tensor
            ``[B, T]``.
        num_sources : int, optional
            C, where the separator can choose; it counts the speakers otherwise.

        Raises
        ------
        ValueError
            If a sample is not finite, or the separator was built for another number of sources.
        """
        if not torch.isfinite(mix).all():
            raise ValueError("mix: holds NaN or infinite samples")
        count = {} if num_sources is None else {"num_sources": num_sources}
        with self.inference_ctx:
            return self.mods.separator(mix.to(self.device), **count).sources.float().transpose(1, 2)

    def separate_file(
        self, path, chunk_seconds=CHUNK_SECONDS, overlap_seconds=OVERLAP_SECONDS, num_sources=None
    ):  # fmt: skip
        """Separate an audio file of any rate, channels averaged, into ``[1, T, C]`` at the model's sample rate.

        A file no longer than a chunk is separated in one pass; a longer one in chunks, see sb_ext.chunking.

        Arguments
        ---------
        path : str
        chunk_seconds, overlap_seconds : float
            How much goes through the separator at once, and how much of it two chunks share.
        num_sources : int, optional
            As in separate_batch; the speakers of a long file are counted once, for all of its chunks.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it cannot be read as audio, is empty, or a sample is not finite.
        """
        mixture = MixtureFile(path, self.sample_rate)
        blocks = mixture.separated(self._sources, chunk_seconds, overlap_seconds, num_sources, self.chooses_count)
        return torch.cat(list(blocks), -1).transpose(1, 2)

    def separate_to_files(
        self, path, folder, chunk_seconds=CHUNK_SECONDS, overlap_seconds=OVERLAP_SECONDS, num_sources=None
    ):  # fmt: skip
        """Separate an audio file as separate_file does, however long, into ``<folder>/<its name>_s1.wav`` and so on.

        The memory that it takes does not grow with the file. The files hold 32-bit floats, so nothing is clipped, and
        are all there in full or not at all. ``python -m sb_ext.separate`` does this for many files.

        Returns
        -------
        list of Path
        """
        mixture = MixtureFile(path, self.sample_rate)
        blocks = mixture.separated(self._sources, chunk_seconds, overlap_seconds, num_sources, self.chooses_count)
        stem = Path(folder, Path(path).stem)
        return write_tracks(as_arrays(blocks), mixture.length, self.sample_rate, stem, keep=[Path(path).resolve()])[0]

    def _sources(self, mix, num_sources=None):
        """``[B, T]`` to ``[B, C, T]``."""
        return self.separate_batch(mix, num_sources).transpose(1, 2)

    def forward(self, mix):
        """As separate_batch."""
        return self.separate_batch(mix)


def _model_folder(source, hparams_file):
    """The folder that holds the model, or the hub's name for it."""
    if os.path.isdir(os.path.join(source, "save")):
        return export_model(source, _select_by(source))
    if not os.path.isdir(source) and _is_local(source):
        raise FileNotFoundError(f"{source}: no such folder; expected an output folder, a model folder or a hub name")
    if os.path.isdir(source) and not os.path.isfile(os.path.join(source, hparams_file)):
        raise FileNotFoundError(f"{source}: holds no {hparams_file}; expected an output folder or a model folder")
    return source


def _is_local(source):
    """Whether a name can only be a folder's; a hub's is OWNER/NAME."""
    return source.count("/") != 1 or os.path.isdir(os.path.dirname(source))


def _select_by(folder):
    """The figure by which an experiment chooses its checkpoints."""
    path = os.path.join(folder, "hyperparams.yaml")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: no such file; expected an experiment's output folder")
    with open(path, encoding="utf-8") as file:
        return ruamel.yaml.YAML().load(file).get("select_by", "si_snri")


def load_separator(source, device=None, trust=False):
    """A separating function and its sample rate, from one of our models or from one of SpeechBrain's.

    Arguments
    ---------
    source : str
        What SourceSeparation.from_hparams takes, or a folder or hub name for SpeechBrain's SepformerSeparation.
    device : str, optional
    trust : bool
        As SourceSeparation.from_hparams takes it.

    Returns
    -------
    separate : callable
        ``[B, T]`` to ``[B, C, T]``; its ``chooses_count`` says whether it also takes ``num_sources``.
    sample_rate : int
        In Hz.
    """
    model = SourceSeparation.from_hparams(source, trust=trust, run_opts={"device": device} if device else None)
    if "separator" in model.mods and not getattr(model.mods["separator"], "separates", True):
        kind = type(model.mods["separator"]).__name__
        raise ValueError(f"{source}: holds a {kind}, which gives embeddings and no sources; give a separator's folder")
    shortest = 0
    if "separator" not in model.mods:
        from speechbrain.inference.separation import SepformerSeparation

        shortest = SHORTEST
        model = SepformerSeparation(dict(model.mods), vars(model.hparams), {"device": model.device})

    @torch.no_grad()
    def separate(mixture, **count):
        if count and not isinstance(model, SourceSeparation):
            raise ValueError(f"num_sources: {source} has a fixed number of outputs; leave it out")
        samples = mixture.shape[-1]
        padded = torch.nn.functional.pad(mixture, (0, max(0, shortest - samples))).to(model.device)
        # SpeechBrain's class divides silence by its level.
        return torch.nan_to_num(model.separate_batch(padded, **count).transpose(1, 2)[..., :samples])

    separate.chooses_count = getattr(model, "chooses_count", False)
    return separate, model.hparams.sample_rate
