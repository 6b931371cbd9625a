"""``python -m sb_ext.speech.pretrain FOLDER``: a small HuBERT, trained on speech in LibriSpeech's layout."""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import nn
from torchaudio.functional import compute_deltas, resample
from torchaudio.transforms import MFCC
from tqdm import tqdm
from transformers import HubertModel
from transformers.models.hubert.modeling_hubert import _compute_mask_indices

from sb_ext.atomic import check_writable, whole_file, write_json, write_text
from sb_ext.data.recordings import Recordings
from sb_ext.data.speech_folder import find_splits
from sb_ext.recorder import csv_text
from sb_ext.speech.small import SAMPLE_RATE, save_speech_model, small_config

STATE = "training.pt"
# What may change when a run goes on: all else decides what is trained.
HARMLESS = {"out", "save_every", "device"}
WARMUP = 0.1
VALIDATION_BATCHES = 8
# Crops whose frames are clustered.
CLUSTERED = 200


class Crops:
    """Random crops of utterances, each crop of the same length at 16 kHz; shorter utterances are repeated.

    Arguments
    ---------
    paths : list of Path
    seconds : float
    sample_rate : int
        Hz; of separators that will be listened to. Speech goes through it as through a :class:`Representation`.
    """

    def __init__(self, paths, seconds, sample_rate):
        self.sample_rate = sample_rate
        self.store, self.length = Recordings(paths, sample_rate), round(seconds * sample_rate)

    def draw(self, size, rng):
        """``[size, T]``, of zero mean and unit variance."""
        crops = np.stack([self._crop(index, rng) for index in rng.integers(len(self.store), size=size)])
        crops = resample(torch.from_numpy(crops), self.sample_rate, SAMPLE_RATE)
        variance, mean = torch.var_mean(crops, 1, correction=0, keepdim=True)
        return (crops - mean) / (variance + 1e-7).sqrt()

    def _crop(self, index, rng):
        frames = int(self.store.lengths[index])
        start = int(rng.integers(max(1, frames - self.length + 1)))
        crop, _ = self.store.read(int(index), start, min(frames, start + self.length))
        return np.resize(crop, self.length)


class MaskedPrediction(nn.Module):
    """HuBERT's first iteration (Hsu et al. 2021): which cluster of MFCCs do masked frames belong to?

    Arguments
    ---------
    config : transformers.HubertConfig
    clusters : int
    """

    def __init__(self, config, clusters):
        super().__init__()
        self.hubert, self.head = HubertModel(config), nn.Linear(config.hidden_size, clusters)
        # As the encoder frames the signal: 25 ms, every 20 ms.
        mel = {"n_fft": 400, "hop_length": 320, "n_mels": 40, "center": False}
        self.mfcc = MFCC(SAMPLE_RATE, n_mfcc=13, melkwargs=mel)
        self.register_buffer("mean", torch.zeros(26))
        self.register_buffer("deviation", torch.ones(26))
        self.register_buffer("centroids", torch.zeros(clusters, 26))

    def forward(self, waves, masked):
        """``waves [B, T]`` and which frames are masked, bool ``[B, L]``, to scores of the clusters, ``[B, L, K]``."""
        return self.head(self.hubert(waves, mask_time_indices=masked).last_hidden_state)

    @torch.no_grad()
    def labels(self, waves):
        """The clusters of the frames of ``waves [B, T]``: ``[B, L]``."""
        return torch.cdist(self._cepstra(waves), self.centroids).argmin(-1)

    @torch.no_grad()
    def find_clusters(self, waves, seed):
        """Choose what has to be told apart, from ``waves [B, T]``."""
        cepstra = self._cepstra(waves).flatten(0, 1)
        self.deviation, self.mean = torch.std_mean(cepstra, 0)
        whitened = (cepstra - self.mean) / self.deviation
        found, _ = kmeans2(whitened.cpu().double().numpy(), len(self.centroids), minit="++", seed=seed)
        self.centroids.copy_(torch.from_numpy(found))

    def _cepstra(self, waves):
        cepstra = self.mfcc(waves)
        return (torch.cat([cepstra, compute_deltas(cepstra)], 1).mT - self.mean) / self.deviation

    def draw_mask(self, waves, rng):
        """Spans of frames, bool ``[B, L]``, at least one in each wave."""
        # transformers draws from NumPy's global state.
        np.random.seed(int(rng.integers(2**31)))
        shape = (len(waves), int(self.hubert._get_feat_extract_output_lengths(waves.shape[1])))
        config = self.hubert.config
        masked = _compute_mask_indices(shape, config.mask_time_prob, config.mask_time_length, min_masks=1)
        return torch.from_numpy(masked).to(waves.device)


@torch.no_grad()
def validate(model, crops, options):
    """Of masked frames of unseen recordings: the share of right clusters, and the share of the commonest one."""
    model.eval()
    rng, hits, seen = np.random.default_rng([options.seed, 0]), [], []
    for _ in range(VALIDATION_BATCHES):
        waves = crops.draw(options.batch_size, rng).to(options.device)
        masked = model.draw_mask(waves, rng)
        labels = model.labels(waves)[masked]
        hits.append(model(waves, masked)[masked].argmax(-1) == labels)
        seen.append(labels)
    model.train()
    labels = torch.cat(seen)
    chance = labels.bincount().max() / len(labels)
    return {"accuracy": torch.cat(hits).float().mean().item(), "chance": chance.item()}


def train_step(model, optimizer, crops, step, options):
    """One step, which depends on seed and step alone; gives the loss of a masked frame."""
    torch.manual_seed(options.seed * 1_000_003 + step)
    rng = np.random.default_rng([options.seed, 1, step])
    share = step / options.steps
    for group in optimizer.param_groups:
        group["lr"] = options.learning_rate * min((step + 1) / (WARMUP * options.steps), (1 - share) / (1 - WARMUP))
    waves = crops.draw(options.batch_size, rng).to(options.device)
    masked, labels = model.draw_mask(waves, rng), model.labels(waves)
    losses = nn.functional.cross_entropy(model(waves, masked).flatten(0, 1), labels.flatten(), reduction="none")
    hidden = losses[masked.flatten()].mean()
    optimizer.zero_grad()
    # Both halves weigh the same: what is heard teaches the encoder, what is hidden the context network.
    (hidden + losses[~masked.flatten()].mean()).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    return hidden.item()


def pretrain(options):
    """Train, save, and give the validation figures."""
    check_writable("out", options.out)
    files = find_splits(Path(options.folder).expanduser())
    crops = {
        kind: Crops(_of_kind(files, kind, options.folder), options.seconds, options.sample_rate)
        for kind in ("train", "dev")
    }
    torch.manual_seed(options.seed)
    model = MaskedPrediction(small_config(options.hidden, options.blocks, options.channels), options.clusters)
    model.to(options.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    done, curve = _resume(model, optimizer, options)
    began = time.monotonic() - (curve[-1]["seconds"] if curve else 0)
    if not done:
        waves = crops["train"].draw(CLUSTERED, np.random.default_rng([options.seed, 2])).to(options.device)
        model.find_clusters(waves, options.seed)
    model.train()
    with tqdm(total=options.steps, initial=done, desc="Pretraining") as bar:
        for step in range(done, options.steps):
            loss = train_step(model, optimizer, crops["train"], step, options)
            bar.update()
            if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
                found = {"train_loss": loss, **validate(model, crops["dev"], options)}
                curve = [*curve, {"steps": step + 1, "seconds": round(time.monotonic() - began, 1), **found}]
                _save(model, optimizer, step + 1, curve, options)
                bar.set_postfix({name: f"{value:.3f}" for name, value in found.items()})
    save_speech_model(model.hubert, options.out)
    figures = {name: curve[-1][name] for name in ("accuracy", "chance")}
    files = {kind: len(one.store) for kind, one in crops.items()}
    about = {"steps": options.steps, "seconds": curve[-1]["seconds"], "device": options.device, "files": files}
    write_json(os.path.join(options.out, "test_summary.json"), about | {"options": vars(options), "stats": figures})
    return figures


def _of_kind(files, kind, folder):
    paths = [path for split, those in files.items() if split.startswith(kind) for path in those]
    if not paths:
        raise ValueError(f"{folder}: holds no split {kind}-…, only {', '.join(files)}; lay it out as LibriSpeech")
    return paths


def _settings(options):
    return {name: value for name, value in vars(options).items() if name not in HARMLESS}


def _save(model, optimizer, step, curve, options):
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "curve": curve}
    with whole_file(os.path.join(options.out, STATE)) as temporary:
        torch.save(state | {"settings": _settings(options)}, temporary)
    write_text(os.path.join(options.out, "curve.csv"), csv_text(list(curve[0]), curve))


def _resume(model, optimizer, options):
    """Go on from what is saved: the steps done and the curve; ValueError where it was another run's."""
    path = os.path.join(options.out, STATE)
    if not os.path.isfile(path):
        return 0, []
    state = torch.load(path, map_location=options.device)
    changed = [name for name, value in _settings(options).items() if state["settings"].get(name) != value]
    if changed:
        before = ", ".join(f"{name} {state['settings'].get(name)}" for name in changed)
        raise ValueError(f"out: {options.out} holds a run with {before}; set --out to another folder, or these alike")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["curve"]


def parse(argv=None):
    """The command line's options."""
    parser = argparse.ArgumentParser(
        prog="python -m sb_ext.speech.pretrain",
        description="Train a small HuBERT on speech (which cluster of MFCCs do masked frames belong to?), and write it "
        "as a folder that a recipe takes by --speech_model. The same command resumes a run that was stopped.",
    )
    parser.add_argument("folder", help="speech in LibriSpeech's layout: split/speaker/chapter/*.flac; train-*, dev-*")
    parser.add_argument("--out", required=True, help="folder for the model")
    parser.add_argument("--steps", type=_count, default=600)
    parser.add_argument("--batch_size", type=_count, default=8)
    parser.add_argument("--seconds", type=_seconds, default=2.0, help="of each crop")
    parser.add_argument("--sample_rate", type=int, choices=(8000, 16000), default=16000, help="of the separators")
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--hidden", type=_width, default=128, help="width of the context network, a multiple of 8")
    parser.add_argument("--blocks", type=_count, default=3, help="its depth")
    parser.add_argument("--channels", type=_count, default=64, help="of each convolution of the encoder")
    parser.add_argument("--clusters", type=_count, default=64, help="of MFCC frames, to be told apart")
    parser.add_argument("--save_every", type=_count, default=100, help="steps between validations")
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(argv)


def _count(text):
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, received {text!r}")
    return int(text)


def _width(text):
    if _count(text) % 8:
        raise argparse.ArgumentTypeError(f"expected a multiple of 8, received {text!r}")
    return int(text)


def _seconds(text):
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.5 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"expected 0.5 to 60, received {text!r}")
    return seconds


if __name__ == "__main__":
    try:
        found = pretrain(parse())
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from None
    print(
        f"Masked frames of unseen recordings: {100 * found['accuracy']:.1f} % right, "
        f"{100 * found['chance']:.1f} % by always saying the commonest cluster"
    )
