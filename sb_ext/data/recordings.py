"""One's own recordings, without references: any folder of wav and FLAC files."""

import os
from pathlib import Path

import numpy as np

from sb_ext.data.audio_files import (
    AudioHeader,
    check_folder,
    read_header,
    read_samples,
    resampled_length,
    resampled_slice,
)
from sb_ext.data.store import MixtureStore, TextColumn

SUFFIXES = (".wav", ".flac")


def find_recordings(folder):
    """All wav and FLAC files below a folder, sorted; hidden files are left out, links are followed.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If there is no recording in it.
    """
    check_folder("data_folder", folder, "wav or flac recordings")
    paths = sorted(
        Path(place, name)
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(SUFFIXES) and not name.startswith(".")
    )
    if not paths:
        raise ValueError(
            f"data_folder: {folder} holds no recordings; expected {' or '.join(SUFFIXES)} files in it or below it"
        )
    return paths


class Recordings(MixtureStore):
    """Recordings of any rate and any number of channels, as mono mixtures at one rate; no references.

    Channels are averaged and the rate is changed by ``scipy.signal.resample_poly``. An id is the file's path below the
    folder, with its suffix. The headers of all files are read at once; a FLAC file that was cut, or float samples that
    are not finite, are found when they are read: before training where the recordings are packed.

    Arguments
    ---------
    folder_or_files : str, Path or list
        A folder, searched to any depth and sorted, or files in an order of one's own.
    sample_rate : int
        Hz, of what is read.
    root : str or Path, optional
        With a list of files: the folder below which their ids are taken; otherwise the one that they share.

    Raises
    ------
    ValueError
        If the folder holds no recording, a file is named twice, is empty or is no audio.
    FileNotFoundError
        If a named file does not exist.

    Example
    -------
    >>> import tempfile, soundfile
    >>> folder = tempfile.mkdtemp()
    >>> soundfile.write(f"{folder}/meeting.wav", np.zeros((16000, 2)), 16000)
    >>> store = Recordings(folder, sample_rate=8000)
    >>> store.ids[0], store.lengths.tolist(), store.read(0)[0].shape
    ('meeting.wav', [8000], (8000,))
    """

    def __init__(self, folder_or_files, sample_rate, root=None):
        if isinstance(folder_or_files, (str, os.PathLike)):
            root, paths = Path(folder_or_files), find_recordings(folder_or_files)
        else:
            paths = [Path(os.path.abspath(path)) for path in folder_or_files]
            if not paths:
                raise ValueError("Recordings: received an empty list of files")
            root = Path(os.path.abspath(root) if root else os.path.commonpath([path.parent for path in paths]))
        names = [path.relative_to(root).as_posix() for path in paths]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"Recordings: {root / twice} is named more than once")
        headers = np.array([_header(path) for path in paths], np.int64)
        lengths = resampled_length(headers[:, 0], headers[:, 1], sample_rate)
        super().__init__(TextColumn.of(names), lengths, None, sample_rate, 0)
        self.root, self.headers = str(root), headers

    def _read(self, index, start, stop):
        path, header = os.path.join(self.root, self.ids[index]), AudioHeader(*self.headers[index].tolist())

        def mono(first, last):
            return read_samples(path, header, first, last).mean(axis=1)

        mixture = resampled_slice(mono, header.frames, header.sample_rate, self.sample_rate, start, stop)
        return mixture, None


def _header(path):
    header = read_header(path)
    if header.frames == 0:
        raise ValueError(f"{path}: holds no samples; take the file out of the data set")
    return header
