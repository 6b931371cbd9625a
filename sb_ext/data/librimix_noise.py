"""LibriMix's way with noise that is shorter than the speech: repeat it, cross-faded."""

import numpy as np


def shortest_extendable(sample_rate):
    """The fewest samples of noise that can be extended: more than one cross-fade of half a second.

    Example
    -------
    >>> shortest_extendable(16000)
    8002
    """
    return (sample_rate + 1) // 2 + 2


def extend_noise(noise, length, sample_rate):
    """Repeat noise until it has ``length`` samples, each seam cross-faded over half a second.

    As LibriMix's public script extends it, down to the arithmetic: the halves of a Hann window are float64, and so is
    all that comes out; the sum of speech and noise then rounds otherwise than with noise that is long enough.

    Arguments
    ---------
    noise : np.ndarray
        ``[T]``, float32, at least ``shortest_extendable(sample_rate)`` samples.
    length : int
        Samples wanted, more than T.
    sample_rate : int
        Hz; sets the cross-fade.

    Returns
    -------
    np.ndarray
        ``[length]``, float64.

    Example
    -------
    >>> extended = extend_noise(np.ones(200, np.float32), 500, sample_rate=100)
    >>> extended.dtype, len(extended), bool(np.allclose(extended, 1))
    (dtype('float64'), 500, True)
    """
    window = np.hanning(sample_rate + 1)
    fade_in = window[: len(window) // 2 + 1]
    fade_out, overlap = fade_in[::-1], len(fade_in)
    start, rest = noise[:overlap] * fade_in, noise[overlap:]
    extended = noise
    while len(extended) < length:
        seam = extended[-overlap:] * fade_out + start
        extended = np.concatenate([extended[:-overlap], seam, rest])
    return extended[:length]
