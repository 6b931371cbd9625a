"""Using a trained separator."""

import os

import ruamel.yaml
import soundfile
import torch
from scipy.signal import resample_poly
from speechbrain.inference.interfaces import Pretrained

from sb_ext.export import export_model


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
    def from_hparams(cls, source, hparams_file="hyperparams.yaml", savedir=None, **kwargs):
        """Load a model; an experiment's output folder gives its best checkpoint.

        Raises
        ------
        FileNotFoundError
            If a local folder holds neither a model nor a checkpoint.
        """
        if os.path.isdir(os.path.join(str(source), "save")):
            source = export_model(str(source), _select_by(str(source)))
        elif os.path.isdir(str(source)) and not os.path.isfile(os.path.join(str(source), hparams_file)):
            raise FileNotFoundError(f"{source}: holds no {hparams_file}; expected an output folder or a model folder")
        if savedir is None and os.path.isdir(str(source)):
            savedir = source
        return super().from_hparams(source, hparams_file=hparams_file, savedir=savedir, **kwargs)

    @property
    def sample_rate(self):
        """In Hz, of what the separator takes and gives."""
        return self.hparams.sample_rate

    @torch.no_grad()
    def separate_batch(self, mix):
        """Separate ``mix [B, T]`` into ``[B, T, C]``, at the model's sample rate."""
        with self.inference_ctx:
            return self.mods.separator(mix.to(self.device)).sources.float().transpose(1, 2)

    def separate_file(self, path):
        """Separate an audio file, channels averaged, into ``[1, T, C]`` at the model's sample rate.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it cannot be read as audio.
        """
        if not os.path.isfile(path):
            raise FileNotFoundError(f"{path}: no such file")
        try:
            wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise ValueError(f"{path}: cannot be read as audio ({error})") from error
        wave = wave.mean(1)
        if rate != self.sample_rate and len(wave):
            wave = resample_poly(wave, self.sample_rate, rate)
        return self.separate_batch(torch.from_numpy(wave).unsqueeze(0))

    def forward(self, mix):
        """As separate_batch."""
        return self.separate_batch(mix)


def _select_by(folder):
    """The figure by which an experiment chooses its checkpoints."""
    path = os.path.join(folder, "hyperparams.yaml")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: no such file; expected an experiment's output folder")
    with open(path, encoding="utf-8") as file:
        return ruamel.yaml.YAML().load(file).get("select_by", "si_snri")


def load_separator(source, device=None):
    """A separating function and its sample rate, from one of our models or from one of SpeechBrain's.

    Arguments
    ---------
    source : str
        What SourceSeparation.from_hparams takes, or a folder or hub name for SpeechBrain's SepformerSeparation.
    device : str, optional

    Returns
    -------
    separate : callable
        ``[B, T]`` to ``[B, C, T]``.
    sample_rate : int
        In Hz.
    """
    model = SourceSeparation.from_hparams(source, run_opts={"device": device} if device else None)
    if "separator" not in model.mods:
        from speechbrain.inference.separation import SepformerSeparation

        model = SepformerSeparation(dict(model.mods), vars(model.hparams), {"device": model.device})

    def separate(mixture):
        # SpeechBrain's class divides silence by its level.
        return torch.nan_to_num(model.separate_batch(mixture.to(model.device)).transpose(1, 2))

    return separate, model.hparams.sample_rate
