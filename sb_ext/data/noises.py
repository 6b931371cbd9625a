"""Made noise: coloured, babble, hum, clicks and rumble, with a level that wanders, as in the street or a café."""

import numpy as np
from scipy.signal import lfilter

PEAK = 0.5
"""Largest sample of any made noise."""


def make_noise(rng, seconds, sample_rate, babble=None):
    """Make one noise of one or two kinds.

    Arguments
    ---------
    rng : numpy.random.Generator
        Where the choices come from.
    seconds : float
        Duration.
    sample_rate : int
        In Hz.
    babble : numpy.ndarray, optional
        ``[T]``, the sum of several talkers, at least as long as the noise; one of the kinds where it is given.

    Returns
    -------
    noise : numpy.ndarray
        ``[T, 2]`` float32: two channels, as WHAM's have; the second is delayed, softer and has some noise of its own.

    Example
    -------
    >>> noise = make_noise(np.random.default_rng(0), 1.5, 8000)
    >>> noise.shape, bool(abs(noise).max() <= PEAK)
    ((12000, 2), True)
    """
    length = round(seconds * sample_rate)
    kinds = [_coloured, _hum, _clicks, _rumble]
    picked = rng.choice(len(kinds), size=rng.integers(1, 3), replace=False)
    # Coloured noise lies under everything, so that no noise is silent anywhere.
    parts = [0.2 * _coloured(rng, length, sample_rate)]
    parts += [rng.uniform(0.4, 1.0) * kinds[kind](rng, length, sample_rate) for kind in picked]
    if babble is not None:
        parts.append(rng.uniform(0.5, 1.5) * _unit(babble[:length]))
    noise = sum(parts) * _wander(rng, length, sample_rate)
    other = 0.8 * np.roll(noise, rng.integers(1, sample_rate // 1000 + 2)) + 0.1 * _coloured(rng, length, sample_rate)
    both = np.stack([noise, other], axis=1)
    return (rng.uniform(0.3, 1.0) * PEAK / np.abs(both).max() * both).astype(np.float32)


def _unit(signal):
    """Scaled to a standard deviation of 1."""
    return signal / (signal.std() + 1e-12)


def _coloured(rng, length, sample_rate):
    """Power falls with frequency to the power 0 (white) to 2 (brown), from 50 Hz on."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    hertz = np.maximum(np.fft.rfftfreq(length, 1 / sample_rate), 50.0)
    return _unit(np.fft.irfft(spectrum * hertz ** (-rng.uniform(0, 2) / 2), length))


def _hum(rng, length, sample_rate):
    """A motor or a mains hum: harmonics of a low tone that drifts a little."""
    base = rng.uniform(45, 130) * (1 + 0.01 * np.cumsum(rng.standard_normal(length)) / np.sqrt(length))
    phase = 2 * np.pi * np.cumsum(base) / sample_rate
    harmonics = rng.integers(4, 16)
    return _unit(sum(rng.uniform(0.2, 1) / k * np.sin(k * phase + rng.uniform(0, 6)) for k in range(1, harmonics)))


def _clicks(rng, length, sample_rate):
    """Dishes, keys, steps: impulses at random times, each ringing at its own pitch."""
    clicks = np.zeros(length)
    for _ in range(rng.poisson(3 * length / sample_rate) + 1):
        ring = np.arange(min(length, int(0.15 * sample_rate))) / sample_rate
        hertz, decay = rng.uniform(0.05, 0.4) * sample_rate, rng.uniform(40, 300)
        start = rng.integers(0, length - len(ring) + 1)
        tone = np.exp(-decay * ring) * np.sin(2 * np.pi * hertz * ring)
        clicks[start : start + len(ring)] += rng.uniform(0.2, 1) * tone
    return _unit(clicks)


def _rumble(rng, length, sample_rate):
    """Wind or traffic: noise below some hundred Hz."""
    pole = np.exp(-2 * np.pi * rng.uniform(60, 400) / sample_rate)
    return _unit(lfilter([1 - pole], [1, -pole], lfilter([1 - pole], [1, -pole], rng.standard_normal(length))))


def _wander(rng, length, sample_rate):
    """A gain of 0 dB on average that moves by a few dB within seconds."""
    points = max(3, int(length / sample_rate * rng.uniform(0.5, 2)))
    decibels = np.interp(np.linspace(0, points - 1, length), np.arange(points), rng.normal(0, 3, points))
    return 10 ** (decibels / 20)
