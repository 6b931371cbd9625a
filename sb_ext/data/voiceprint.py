"""What a synthetic voice sounds like, as numbers: median pitch, long-term spectrum up to 4 kHz, pace."""

import functools
from dataclasses import dataclass

import numpy as np
from scipy.signal import resample_poly

from sb_ext.data.espeak import SAMPLE_RATE, Voice, synthesize

PROBE = "Nine grey owls saw a blue boat sail around the far shore."
_PROBE_RATE = 7350  # Hz: a third of eSpeak's rate; what an 8 kHz recipe hears
_FRAME, _HOP = 512, 147  # 70 ms and 20 ms: two periods of the lowest pitch
_PITCH_HZ = (55.0, 450.0)
_BANDS = 20
# So many octaves of pitch, or dB of spectrum, count as one unit of distance.
_OCTAVES, _DECIBELS = 0.35, 6.0


@dataclass(frozen=True)
class MeasuredVoice:
    """A voice and what it sounds like.

    Arguments
    ---------
    voice : Voice
        The voice.
    pitch_hz : float
        Median pitch of a test sentence, in Hz.
    spectrum : tuple of float
        Long-term mel spectrum in dB, mean removed.
    characters_per_second : float
        Pace, pauses included.
    """

    voice: Voice
    pitch_hz: float
    spectrum: tuple
    characters_per_second: float

    @property
    def sex(self):
        """``"F"`` or ``"M"``, by pitch alone: a synthetic voice has no other."""
        return "F" if self.pitch_hz > 155 else "M"

    @property
    def point(self):
        """``[1 + bands]``: voices are as different as their points are far apart."""
        spectrum = np.asarray(self.spectrum) / _DECIBELS / np.sqrt(len(self.spectrum))
        return np.concatenate([[np.log2(self.pitch_hz) / _OCTAVES], spectrum])


def measure(voice):
    """Let a voice say the test sentence and measure it.

    Example
    -------
    >>> low, high = measure(Voice("m1")), measure(Voice("f3"))
    >>> low.pitch_hz < 130 < 155 < high.pitch_hz
    True
    """
    samples = synthesize(PROBE, voice).astype(np.float64)
    speech = resample_poly(samples, _PROBE_RATE, SAMPLE_RATE)
    frames = np.lib.stride_tricks.sliding_window_view(speech, _FRAME)[::_HOP] * np.hanning(_FRAME)
    energy = (frames**2).sum(1)
    power = np.abs(np.fft.rfft(frames[energy > 0.01 * energy.max()], 2 * _FRAME)) ** 2
    pitch, clear = _pitch(power)
    bands = 10 * np.log10(_mel_bands() @ power.mean(0) + 1e-3)
    return MeasuredVoice(
        voice=voice,
        pitch_hz=float(np.median(pitch[clear])) if clear.any() else 100.0,
        spectrum=tuple((bands - bands.mean()).tolist()),
        characters_per_second=len(PROBE) / (len(samples) / SAMPLE_RATE),
    )


def _pitch(power):
    """Pitch in Hz of each frame, and whether its autocorrelation peak is clear; power is ``[L, F]``."""
    autocorrelation = np.fft.irfft(power)[:, :_FRAME]
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(_FRAME), 2 * _FRAME)) ** 2)[:_FRAME]
    # The window's own decay would favour short lags, an octave too high.
    normalised = autocorrelation / autocorrelation[:, :1] / (window / window[0])
    shortest, longest = (int(_PROBE_RATE / hz) for hz in reversed(_PITCH_HZ))
    lags = normalised[:, shortest:longest]
    # The first lag nearly as high as the highest: multiples of the period are just as high.
    lag = shortest + np.argmax(lags > 0.9 * lags.max(1, keepdims=True), axis=1)
    return _PROBE_RATE / lag, lags.max(1) > 0.5


@functools.cache
def _mel_bands():
    """``[bands, F]`` triangles, equally wide in mel."""
    hertz = np.linspace(0, _PROBE_RATE / 2, _FRAME + 1)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + hertz[-1] / 700), _BANDS + 2) / 2595) - 1)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.clip(np.minimum((hertz - left) / (centre - left), (right - hertz) / (right - centre)), 0, None)
