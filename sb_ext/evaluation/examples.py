"""Separated examples, to listen to."""

import os
import re

import soundfile
import torch

from sb_ext.evaluation.hooks import Evaluation

# Just below full scale, where PCM16 would clip.
PEAK = 0.99


class Examples(Evaluation):
    """The first few test mixtures, with estimates and references, as wav files under ``audio/``.

    Arguments
    ---------
    folder : str
        The experiment's output folder.
    sample_rate : int
    count : int
        How many mixtures.
    """

    def __init__(self, folder, sample_rate, count=3):
        super().__init__(("TEST",))
        self.folder, self.sample_rate, self.count = folder, sample_rate, count

    def start(self, stage):
        """None written yet."""
        self.written = 0

    def update(self, batch, estimates, ordered):
        """Write until there are enough."""
        chosen = estimates if ordered is None else ordered
        for row, (name, length) in enumerate(zip(batch.ids, batch.lengths.tolist(), strict=True)):
            if self.written == self.count:
                return
            signals = {"mixture": batch.mixture[row, :length]}
            signals |= _numbered("estimate", chosen[row, :, :length])
            if batch.sources is not None:
                signals |= _numbered("source", batch.sources[row, :, :length])
            write_example(os.path.join(self.folder, "audio", safe_name(name)), signals, self.sample_rate)
            self.written += 1


def safe_name(name):
    """A mixture's id as a file name.

    Example
    -------
    >>> safe_name("a/b c")
    'a_b_c'
    """
    return re.sub(r"[^\w.-]", "_", name)


def _numbered(kind, waves):
    return {f"{kind}{place}": wave for place, wave in enumerate(waves, start=1)}


def write_example(folder, signals, sample_rate):
    """Write ``signals`` (name to ``[T]``) as PCM16 wav files, all by one factor quieter where one would clip."""
    os.makedirs(folder, exist_ok=True)
    waves = {name: wave.detach().to("cpu", torch.float32) for name, wave in signals.items()}
    peak = max(float(wave.abs().max()) if len(wave) else 0.0 for wave in waves.values())
    factor = min(1.0, PEAK / peak) if peak > 0 else 1.0
    for name, wave in waves.items():
        soundfile.write(os.path.join(folder, f"{name}.wav"), (wave * factor).numpy(), sample_rate)
