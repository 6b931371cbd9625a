"""A folder of wav files as the public scripts write it: one folder for the mixtures, one for each source."""

import hashlib
import os

import numpy as np

from sb_ext.data.audio_files import AudioHeader, read_header, read_samples
from sb_ext.data.store import MixtureStore, TextColumn


def list_ids(folder, key="data_folder"):
    """The sorted ids of the wav files in a folder; ``key`` is the recipe's name for what it lies in.

    Raises
    ------
    ValueError
        If there is no such folder, or no wav file in it; says what there is.
    """
    names = os.listdir(folder) if os.path.isdir(folder) else []
    ids = sorted(name[:-4] for name in names if name.endswith(".wav"))
    if not ids:
        raise ValueError(
            f"{key}: {folder} is missing or holds no wav file; beside it there are "
            f"{', '.join(sorted(os.listdir(folder.parent)))}. Set mixture_type to what is there, or generate it"
        )
    return ids


def facts_of(ids):
    """What a pack of generated mixtures depends on."""
    return {"way": "generated", "ids": hashlib.sha256("\n".join(ids).encode()).hexdigest()}


class WavFolder(MixtureStore):
    """Mixtures and their sources as wav files of one name in folders side by side, sorted by id.

    Lengths come from the headers of all files, which are compared.

    Arguments
    ---------
    folder : Path
        Holds the folders.
    mixture : str
        The folder of the mixtures, such as ``mix_clean``.
    sources : list of str
        Those of the sources: ``s1``, ``s2``, ...
    ids : list of str
        The mixtures' names, from :func:`list_ids`.
    speakers : np.ndarray or None
        ``[N, C]``, int64.
    sample_rate : int
        Hz.
    key : str
        The recipe's name for what the folder lies in, for messages.

    Raises
    ------
    ValueError
        If a folder or a reference is missing, or a file has another rate or length than its mixture.
    """

    def __init__(self, folder, mixture, sources, ids, speakers, sample_rate, key="data_folder"):
        self.folder, self.parts = folder, [mixture, *sources]
        for part in sources:
            missing = sorted(set(ids).difference(list_ids(folder / part, key)))
            if missing:
                raise ValueError(
                    f"{key}: {folder / part / missing[0]}.wav, a reference, is missing, and "
                    f"{len(missing) - 1} more; {mixture} holds {len(ids)} mixtures. Generate this split again"
                )
        super().__init__(TextColumn.of(ids), None, speakers, sample_rate, len(sources))
        self.lengths = self._lengths()

    def _path(self, part, mixture_id):
        return f"{self.folder}/{part}/{mixture_id}.wav"

    def _lengths(self):
        lengths = np.empty(len(self.ids), np.int64)
        for index, mixture_id in enumerate(self.ids):
            lengths[index] = self._check_header(mixture_id, self.parts[0])
            for part in self.parts[1:]:
                self._check_header(mixture_id, part, lengths[index])
        return lengths

    def _check_header(self, mixture_id, part, length=None):
        """The length of a file, which is to be ``length`` where that is known."""
        path = self._path(part, mixture_id)
        header = read_header(path)
        length = header.frames if length is None else length
        if header.sample_rate != self.sample_rate:
            raise ValueError(
                f"{path}: expected {self.sample_rate} Hz, found {header.sample_rate} Hz; "
                "set sample_rate to that of the data, or replace the file"
            )
        if (header.frames, header.channels) != (length, 1) or not length:
            raise ValueError(
                f"{path}: expected {length or 'some'} samples in 1 channel, as its mixture has, "
                f"found {header.frames} in {header.channels}; replace the file, or generate this split again"
            )
        return length

    def _read(self, index, start, stop):
        mixture_id = self.ids[index]
        header = AudioHeader(int(self.lengths[index]), self.sample_rate, 1)
        audio = [read_samples(self._path(part, mixture_id), header, start, stop)[:, 0] for part in self.parts]
        return audio[0], np.stack(audio[1:])
