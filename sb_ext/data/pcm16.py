"""Between float samples and 16-bit PCM, bit for bit as libsndfile converts when soundfile writes a wav file."""

import numpy as np


def to_pcm16(samples):
    """Quantise float samples exactly as ``soundfile.write`` does.

    soundfile switches libsndfile's clipping on, and with it another conversion: scale to 32 bits, round there, and keep
    the upper 16. So the 16-bit value is rounded *down*, unlike ``round(32767 * x)``, which libsndfile takes otherwise.
    Values that 16-bit PCM can hold come back unchanged.

    Arguments
    ---------
    samples : np.ndarray
        float32 or float64, any shape, full scale is 1; clipped beyond it.

    Returns
    -------
    np.ndarray
        int16, the same shape.

    Raises
    ------
    ValueError
        If a sample is not a number, or the samples are not real numbers of 32 or 64 bits.

    Example
    -------
    >>> to_pcm16(np.array([0.5, 0.99 / 32768, -0.01 / 32768, 1.0, -2.0], np.float32)).tolist()
    [16384, 0, -1, 32767, -32768]
    """
    if samples.dtype not in (np.float32, np.float64):
        raise ValueError(f"to_pcm16: expected float32 or float64 samples, received {samples.dtype}")
    if np.isnan(samples).any():
        raise ValueError("to_pcm16: a sample is not a number (NaN)")
    # In float32 every step is exact: powers of two, and whole numbers that came out of it.
    scaled = np.rint(np.clip(samples, -1, 1) * np.float32(2**31))
    upper = np.floor(scaled * np.float32(2**-16))
    return np.minimum(upper, 32767).astype(np.int16)


def from_pcm16(values):
    """16-bit values as float32, full scale 1, as soundfile reads them.

    Example
    -------
    >>> from_pcm16(np.array([16384, -32768], np.int16)).tolist()
    [0.5, -1.0]
    """
    return values * np.float32(1 / 32768)
