"""Audio files: what a header says, a slice of the samples, a slice at another sample rate."""

import os
import struct
from math import gcd
from typing import NamedTuple

import soundfile
from scipy.signal import resample_poly


class AudioHeader(NamedTuple):
    """Length in samples a channel, rate in Hz, and number of channels."""

    frames: int
    sample_rate: int
    channels: int


def read_header(path):
    """What the header of an audio file says.

    Plain wav and FLAC headers are read here, five times as fast as by opening the file for decoding: a corpus has a
    hundred thousand files. Anything unusual is left to libsndfile.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not audio that libsndfile can read.
    """
    with open(path, "rb", buffering=0) as file:
        head = file.read(4096)
        size = os.fstat(file.fileno()).st_size
    header = _flac_header(head) or _wav_header(head, size)
    if header is not None:
        return header
    try:
        info = soundfile.info(os.fspath(path))
    except soundfile.LibsndfileError as error:
        raise _unreadable(path, error) from error
    return AudioHeader(info.frames, info.samplerate, info.channels)


def _unreadable(path, error):
    return ValueError(f"{path}: cannot be read as audio ({error}); replace the file or take it out of the data set")


def _flac_header(head):
    # "fLaC", block header (type 0, 34 bytes), 10 bytes of block and frame sizes, then 20 + 3 + 5 + 36 bits.
    if head[:4] != b"fLaC" or len(head) < 26 or head[4] & 0x7F != 0:
        return None
    bits = int.from_bytes(head[18:26], "big")
    frames = bits & ((1 << 36) - 1)
    # An encoder that wrote to a pipe leaves the length at 0.
    return AudioHeader(frames, bits >> 44, (bits >> 41 & 7) + 1) if frames else None


def _wav_header(head, size):
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    position, layout = 12, None
    while position + 8 <= len(head):
        name, length = struct.unpack_from("<4sI", head, position)
        position += 8
        if name == b"fmt " and position + 16 <= len(head):
            layout = struct.unpack_from("<HHIIHH", head, position)
        if name == b"data":
            # 1 is integer PCM, 3 is float; a length beyond the end of the file means a streamed or a cut file.
            if layout is None or layout[0] not in (1, 3) or not layout[4] or position + length > size:
                return None
            return AudioHeader(length // layout[4], layout[2], layout[1])
        position += length + length % 2
    return None


def read_samples(path, header, start, stop):
    """The samples ``start`` to ``stop`` of an audio file.

    Arguments
    ---------
    path : str or Path
    header : AudioHeader
        What the file is expected to be; a slice of another file must not pass unnoticed.
    start, stop : int
        Samples at the file's own rate, within the header's length.

    Returns
    -------
    np.ndarray
        ``[T, channels]``, float32, full scale 1.

    Raises
    ------
    ValueError
        If the file cannot be decoded, or is not what the header says.
    """
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            found = AudioHeader(file.frames, file.samplerate, file.channels)
            file.seek(start)
            samples = file.read(stop - start, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(path, error) from error
    if found != header:
        raise ValueError(f"{path}: expected {header._asdict()}, found {found._asdict()}; the data set has changed")
    if len(samples) != stop - start:
        raise ValueError(f"{path}: expected {header.frames} samples, the file ends early; replace it")
    return samples


def resampled_length(frames, sample_rate, target_rate):
    """How many samples ``scipy.signal.resample_poly`` makes of ``frames``; numbers or integer arrays.

    Example
    -------
    >>> resampled_length(16001, 16000, 8000)
    8001
    """
    return -(-frames * target_rate // sample_rate)


def resampled_slice(read, frames, sample_rate, target_rate, start, stop):
    """A slice of a resampled signal, from no more of the signal than it depends on.

    Equals ``resample_poly(signal, target_rate, sample_rate)[start:stop]`` bit for bit: its filter reaches
    ``10 * max(up, down) / up`` input samples either way, and starting on a multiple of ``down`` keeps the phase.

    Arguments
    ---------
    read : callable
        ``read(first, last)`` gives these input samples, ``[T]``.
    frames : int
        Length of the whole signal, at ``sample_rate``.
    sample_rate, target_rate : int
        Hz.
    start, stop : int
        Samples at ``target_rate``.

    Returns
    -------
    np.ndarray
        ``[stop - start]``.

    Example
    -------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(size=1600)
    >>> part = resampled_slice(lambda first, last: noise[first:last], 1600, 16000, 8000, 200, 300)
    >>> np.array_equal(part, resample_poly(noise, 8000, 16000)[200:300])
    True
    """
    common = gcd(sample_rate, target_rate)
    up, down = target_rate // common, sample_rate // common
    if up == down or start == stop:
        return read(start, stop) if up == down else read(0, 0)
    reach = -(-10 * max(up, down) // up) + 1
    block = max(0, start * down // up - reach) // down
    last = min(frames, stop * down // up + reach + 1)
    resampled = resample_poly(read(block * down, last), up, down)
    return resampled[start - block * up : stop - block * up]
