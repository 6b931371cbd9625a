"""Audio files as streams: a mixture read a slice at a time, sources written as they come."""

from contextlib import ExitStack, contextmanager
from functools import partial
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
import torch

from sb_ext.atomic import whole_file
from sb_ext.chunking import CHUNK_SECONDS, OVERLAP_SECONDS, in_chunks, most_sources
from sb_ext.data.audio_files import read_header, read_samples, resampled_length, resampled_slice

# What libsndfile says of a file whose header does not tell its length.
UNKNOWN_LENGTH = 2**63 - 1
# Bytes of a WAV file, less its header; longer ones are written as RF64, which is WAV with longer counters.
WAV_BYTES = 2**32 - 2**16


class MixtureFile:
    """An audio file as a mono mixture at one rate, channels averaged; nothing of it stays in memory.

    Arguments
    ---------
    path : str or Path
        Of anything that libsndfile reads.
    sample_rate : int
        In Hz, of what ``read`` gives; changed as ``scipy.signal.resample_poly`` changes the whole.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read as audio, holds no samples, or does not say how many.
    """

    def __init__(self, path, sample_rate):
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such file")
        self.path, self.sample_rate, self.header = Path(path), sample_rate, read_header(path)
        if not self.header.frames:
            raise ValueError(f"{path}: holds no samples")
        if self.header.frames == UNKNOWN_LENGTH:
            raise ValueError(f"{path}: does not say how long it is; write it anew, for example as a WAV file")
        self.length = resampled_length(self.header.frames, self.header.sample_rate, sample_rate)

    def read(self, start, stop):
        """The samples ``start`` to ``stop``, at ``sample_rate``, as a tensor ``[1, T]``; ValueError if one is NaN."""

        def mono(first, last):
            return read_samples(self.path, self.header, first, last).mean(1)

        wave = resampled_slice(mono, self.header.frames, self.header.sample_rate, self.sample_rate, start, stop)
        return torch.from_numpy(wave).unsqueeze(0)

    def separated(
        self, separate, chunk_seconds=CHUNK_SECONDS, overlap_seconds=OVERLAP_SECONDS, num_sources=None,
        chooses_count=False,
    ):  # fmt: skip
        """Its sources, ``[1, C, n]`` one after the other, by ``separate``, ``[1, T]`` to ``[1, C, T]``.

        Where ``separate`` takes ``num_sources`` (``chooses_count``) and it is not given, it is counted once for all.
        """
        chunk, overlap = (round(seconds * self.sample_rate) for seconds in (chunk_seconds, overlap_seconds))
        if num_sources is None and chooses_count and self.length > chunk:
            num_sources = most_sources(separate, self.read, self.length, chunk)
        if num_sources is not None:
            separate = partial(separate, num_sources=num_sources)
        return in_chunks(separate, self.read, self.length, chunk, overlap)


def as_arrays(blocks):
    """Tensors ``[1, C, n]`` as arrays ``[n, C]``, one after the other."""
    return (block[0].T.cpu().numpy() for block in blocks)


def resampled(blocks, length, sample_rate, target_rate, frames):
    """Change the rate of a stream, as ``scipy.signal.resample_poly`` changes the whole.

    Arguments
    ---------
    blocks : iterable of np.ndarray
        ``[n, C]``, one after the other.
    length : int
        Of all blocks together, in samples.
    sample_rate, target_rate : int
        Hz.
    frames : int
        How many to give, at ``target_rate``; no more than there are.

    Yields
    ------
    np.ndarray
        ``[n, C]``.

    Example
    -------
    >>> blocks = np.split(np.random.default_rng(0).normal(size=(900, 2)), [100, 101, 640])
    >>> np.concatenate(list(resampled(blocks, 900, 8000, 44100, 4961))).shape
    (4961, 2)
    """
    common = gcd(sample_rate, target_rate)
    up, down = target_rate // common, sample_rate // common
    # More than the filter reaches either way, and a whole period of its phases.
    reach = 10 * max(up, down) // up + down + 3
    held, first, done = None, 0, 0
    for block in blocks:
        held = block if held is None else np.concatenate([held, block])
        there = first + len(held)
        stop = frames if there == length else (there - reach) * up // down
        if stop > done:
            yield resampled_slice(
                lambda a, b, held=held, first=first: held[a - first : b - first],
                *(length, sample_rate, target_rate, done, stop),
            )
            done = stop
            dropped = max(0, done * down // up - reach - first)
            held, first = held[dropped:], first + dropped


def write_tracks(blocks, length, sample_rate, stem, subtype="FLOAT", keep=()):
    """Write sources as they come, one WAV file each: all of them in full, or none.

    Arguments
    ---------
    blocks : iterable of np.ndarray
        ``[n, C]``, one after the other.
    length : int
        Of all blocks together, in samples.
    sample_rate : int
        In Hz.
    stem : str or Path
        The files are called ``<stem>_s1.wav`` and so on.
    subtype : str
        FLOAT, 32 bits, holds every value; PCM_16 clips beyond full scale.
    keep : collection of Path
        Resolved paths of files that must not be overwritten.

    Returns
    -------
    paths : list of Path
    beyond : int
        How many samples lie beyond full scale.

    Raises
    ------
    ValueError
        If a file that must be kept would be overwritten.
    OSError
        If there is no room.
    """
    paths, files, beyond = [], [], 0
    with ExitStack() as stack:
        for block in blocks:
            if not files:
                paths = [Path(f"{stem}_s{number}.wav") for number in range(1, block.shape[1] + 1)]
                files = [stack.enter_context(_track(path, length, sample_rate, subtype, keep)) for path in paths]
            for file, track in zip(files, block.T, strict=True):
                file.write(track)
            beyond += int((np.abs(block) > 1).sum())
    return paths, beyond


@contextmanager
def _track(path, length, sample_rate, subtype, keep):
    if path.resolve() in keep:
        raise ValueError(f"{path}: is one of the recordings, and is not overwritten; give another folder")
    form = {"samplerate": sample_rate, "channels": 1, "subtype": subtype}
    form["format"] = "RF64" if 4 * length > WAV_BYTES else "WAV"
    try:
        with whole_file(path) as temporary, soundfile.SoundFile(temporary, "w", **form) as file:
            yield file
    except soundfile.LibsndfileError as error:
        raise OSError(f"{path}: cannot be written ({error.error_string}); is there room for it?") from None
