"""Audio files: what a header says, a slice of the samples, a slice at another sample rate."""

import os
import struct
from math import gcd
from typing import NamedTuple

import numpy as np
import soundfile
from scipy.signal import resample_poly

# Programs that write to a pipe give a length like this for one that they do not know.
STREAMED = 0x7FFF0000
# Some programs count the wav header as audio; a file cut by no more than that is as good as whole.
WAV_HEADER = 44


class AudioHeader(NamedTuple):
    """Length in samples a channel, rate in Hz, and number of channels."""

    frames: int
    sample_rate: int
    channels: int


def read_header(path):
    """What the header of an audio file says.

    Plain wav and FLAC headers are read here, five times as fast as by opening the file for decoding: a corpus has a
    hundred thousand files. Anything unusual is left to libsndfile. A wav file that was cut shows here, since its header
    says how long it was; a FLAC file that was cut shows when it is decoded: while it is packed, or read as a crop.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not audio that libsndfile can read, or a wav file that was cut.
    """
    with open(path, "rb", buffering=0) as file:
        head = file.read(4096)
        size = os.fstat(file.fileno()).st_size
    header = _flac_header(head) or _wav_header(path, head, size)
    if header is not None:
        return header
    try:
        info = soundfile.info(os.fspath(path))
    except soundfile.LibsndfileError as error:
        raise unreadable(path, error if size else "it is empty") from None
    return AudioHeader(info.frames, info.samplerate, info.channels)


def unreadable(path, error):
    """The ValueError for a file that is no audio; ``error`` says why, in libsndfile's words or in others."""
    reason = str(getattr(error, "error_string", error)).strip(". ")
    return ValueError(f"{path}: cannot be read as audio ({reason}); replace the file or take it out of the data set")


def check_finite(path, samples, start=0):
    """Raise ValueError if one of the ``samples [T, ...]`` of a file, the first being ``start``, is NaN or infinite."""
    if not np.isfinite(samples).all():
        place = start + int(np.argwhere(~np.isfinite(samples))[0, 0])
        raise ValueError(f"{path}: sample {place} is NaN or infinite; replace the file or take it out of the data set")


def check_folder(key, folder, holds):
    """Raise an error that names the recipe's ``key`` unless a folder is there and not empty.

    Arguments
    ---------
    key : str
    folder : str or Path
    holds : str
        What the folder should hold, in words.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it is empty.

    Example
    -------
    >>> check_folder("noise_folder", "wham", "WHAM's noise")
    Traceback (most recent call last):
    FileNotFoundError: noise_folder: wham is not a folder; give the one that holds WHAM's noise
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{key}: {folder} is not a folder; give the one that holds {holds}")
    with os.scandir(folder) as entries:
        if next(entries, None) is None:
            raise ValueError(f"{key}: {folder} is empty; give the folder that holds {holds}")


def _flac_header(head):
    # "fLaC", block header (type 0, 34 bytes), 10 bytes of block and frame sizes, then 20 + 3 + 5 + 36 bits.
    if head[:4] != b"fLaC" or len(head) < 26 or head[4] & 0x7F != 0:
        return None
    bits = int.from_bytes(head[18:26], "big")
    frames = bits & ((1 << 36) - 1)
    # An encoder that wrote to a pipe leaves the length at 0.
    return AudioHeader(frames, bits >> 44, (bits >> 41 & 7) + 1) if frames and bits >> 44 else None


def _wav_header(path, head, size):
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    position, layout = 12, None
    while position + 8 <= len(head):
        name, length = struct.unpack_from("<4sI", head, position)
        position += 8
        if name == b"fmt " and position + 16 <= len(head):
            layout = struct.unpack_from("<HHIIHH", head, position)
        if name == b"data":
            missing = position + length - size
            if missing > WAV_HEADER and length < STREAMED:
                raise unreadable(path, f"cut: its header promises {length} bytes of audio, {missing} are missing")
            # 1 is integer PCM, 3 is float.
            if layout is None or layout[0] not in (1, 3) or missing > 0 or 0 in layout[1:5]:
                return None
            return AudioHeader(length // layout[4], layout[2], layout[1])
        position += length + length % 2
    return None


def read_samples(path, header, start, stop):
    """The samples ``start`` to ``stop`` of an audio file; packing calls this once for all that is in a data set.

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
        If the file cannot be decoded, is not what the header says, or a sample is not finite.
    """
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            found = AudioHeader(file.frames, file.samplerate, file.channels)
            file.seek(start)
            samples = file.read(stop - start, dtype="float32", always_2d=True)
            real = file.subtype in ("FLOAT", "DOUBLE")
    except (soundfile.LibsndfileError, OSError) as error:
        raise unreadable(path, error) from None
    if found != header:
        raise ValueError(f"{path}: expected {_words(header)}, found {_words(found)}; replace the file")
    if len(samples) != stop - start:
        raise unreadable(path, f"cut: of {stop} samples {start + len(samples)} are there")
    if real:
        check_finite(path, samples, start)
    return samples


def _words(header):
    return f"{header.frames} samples at {header.sample_rate} Hz in {header.channels} channel(s)"


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
