"""Loudness and gains, as LibriMix defines them (ITU-R BS.1770, measured by pyloudnorm)."""

import statistics
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyloudnorm
import soundfile as sf

from sb_ext.data.audio_files import read_header, read_samples
from sb_ext.data.building import in_threads

SPEECH_LUFS = (-33.0, -25.0)
"""Each source's loudness is drawn from this range."""
NOISE_LUFS = (-38.0, -30.0)
"""The noise's: 5 LU below speech."""
MAX_AMPLITUDE = 0.9
"""What clips is scaled down to this peak."""
BLOCK_SECONDS = 0.4
"""Loudness is not defined for less."""


@dataclass(frozen=True)
class Clip:
    """An audio file and how loud it is.

    Arguments
    ---------
    path : str
        Relative to the corpus folder, with forward slashes.
    length : int
        In samples.
    sample_rate : int
        In Hz.
    loudness : float
        LUFS of its first channel; -inf where it is silent or shorter than 0.4 s.
    peak : float
        Largest absolute sample of its first channel.
    """

    path: str
    length: int
    sample_rate: int
    loudness: float
    peak: float


def read_first_channel(path, length=None):
    """Read ``[T]`` float32 and the sample rate; cut, or padded with zeros, to `length` samples where given."""
    samples, sample_rate = sf.read(path, frames=-1 if length is None else length, dtype="float32", always_2d=True)
    samples = samples[:, 0]
    if length is not None:
        samples = np.pad(samples, (0, length - len(samples)))
    return samples, sample_rate


def loudness(samples, sample_rate):
    """Integrated loudness in LUFS; -inf where the signal is silent or shorter than 0.4 s.

    Example
    -------
    >>> seconds = np.arange(16000) / 16000
    >>> round(loudness(np.sin(2 * np.pi * 997 * seconds), 16000), 1)
    -3.1
    >>> loudness(np.zeros(16000), 16000), loudness(np.ones(100), 16000)
    (-inf, -inf)
    """
    if len(samples) < BLOCK_SECONDS * sample_rate or not np.any(samples):
        return -np.inf
    value = pyloudnorm.Meter(sample_rate).integrated_loudness(samples)
    return float(value) if np.isfinite(value) else -np.inf


def measure(folder, paths, workers=None, description=None):
    """Measure files once, however many mixtures they will be part of.

    Arguments
    ---------
    folder : Path
        The corpus.
    paths : list of Path
        Files in it.
    workers : int, optional
        Threads.
    description : str, optional
        Label of the progress bar; none if None.

    Returns
    -------
    clips : list of Clip
        In the order of the paths.

    Raises
    ------
    ValueError
        Where a file cannot be read, was cut, has a sample that is not finite, or another sample rate than the first.
    """

    def one(path):
        header = read_header(path)
        samples = read_samples(path, header, 0, header.frames)[:, 0]
        sample_rate = header.sample_rate
        peak = float(np.abs(samples).max(initial=0.0))
        name = path.relative_to(folder).as_posix()
        return Clip(name, len(samples), sample_rate, loudness(samples, sample_rate), peak)

    with warnings.catch_warnings():
        # pyloudnorm warns about the mean of no blocks where all are below its gate; the -inf says so already.
        warnings.simplefilter("ignore", RuntimeWarning)
        clips = in_threads(one, paths, workers, description)
    usual = clips and statistics.mode(clip.sample_rate for clip in clips)
    for clip in clips:
        if clip.sample_rate != usual:
            raise ValueError(
                f"{Path(folder) / clip.path}: is at {clip.sample_rate} Hz, most files at {usual} Hz; "
                "a corpus must have one rate: resample the file"
            )
    return clips


def normalising_gain(clip_loudness, peak, target):
    """Gain that brings a signal to a loudness in LUFS, or its peak to 0.9 where that would clip.

    Example
    -------
    >>> round(normalising_gain(-30.0, 0.5, -24.0), 3), round(normalising_gain(-30.0, 0.8, -24.0), 3)
    (1.995, 1.125)
    """
    gain = 10.0 ** ((target - clip_loudness) / 20.0)
    return MAX_AMPLITUDE / peak if gain * peak >= 1 else gain


def mixture_gains(gains, peaks, read):
    """Scale all gains so that the mixture of the padded signals (max mode) stays within a peak of 0.9.

    Arguments
    ---------
    gains, peaks : list of float
        One of each a signal.
    read : callable
        Returns the signals, ``[T]`` arrays of any length. Called only where the peaks, added, exceed 0.9: they
        bound the mixture's peak, and most mixtures stay below without a look at the samples.

    Returns
    -------
    gains : list of float
        Scaled, or as they were.

    Example
    -------
    >>> mixture_gains([2.0, 1.0], [0.1, 0.1], read=None)
    [2.0, 1.0]
    >>> mixture_gains([2.0, 1.0], [0.5, 0.8], read=lambda: [np.array([0.5]), np.array([0.8, 0.0])])
    [1.0, 0.5]
    """
    if sum(gain * peak for gain, peak in zip(gains, peaks, strict=True)) <= MAX_AMPLITUDE:
        return list(gains)
    signals = read()
    mixture = np.zeros(max(map(len, signals)))
    for gain, signal in zip(gains, signals, strict=True):
        mixture[: len(signal)] += gain * signal
    peak = float(np.abs(mixture).max())
    weight = MAX_AMPLITUDE / peak if peak > MAX_AMPLITUDE else 1.0
    return [gain * weight for gain in gains]
