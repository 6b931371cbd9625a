"""A folder of wav files as the public scripts write it: one folder for the mixtures, one for each source."""

import os

import numpy as np

from sb_ext.data.audio_files import AudioHeader, read_header, read_samples
from sb_ext.data.store import MixtureStore, TextColumn


def list_ids(folder):
    """The sorted ids of the wav files in a folder.

    Raises
    ------
    ValueError
        If there is no such folder, or no wav file in it; says what there is.
    """
    names = os.listdir(folder) if os.path.isdir(folder) else []
    ids = sorted(name[:-4] for name in names if name.endswith(".wav"))
    if not ids:
        raise ValueError(
            f"data_folder: {folder} is missing or holds no wav file; beside it there are "
            f"{', '.join(sorted(os.listdir(folder.parent)))}. Set mixture_type to what is there, or generate it"
        )
    return ids


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

    Raises
    ------
    ValueError
        If a folder or a reference is missing, or a file has another rate or length than its mixture.
    """

    def __init__(self, folder, mixture, sources, ids, speakers, sample_rate):
        self.folder, self.parts = folder, [mixture, *sources]
        for part in sources:
            missing = sorted(set(ids).difference(list_ids(folder / part)))
            if missing:
                raise ValueError(
                    f"data_folder: {folder / part / missing[0]}.wav, a reference, is missing, and "
                    f"{len(missing) - 1} more; {mixture} holds {len(ids)} mixtures. Generate this split again"
                )
        super().__init__(TextColumn.of(ids), None, speakers, sample_rate, len(sources))
        self.lengths = self._lengths()

    def _path(self, part, mixture_id):
        return f"{self.folder}/{part}/{mixture_id}.wav"

    def _lengths(self):
        lengths = np.empty(len(self.ids), np.int64)
        for index in range(len(self.ids)):
            mixture_id = self.ids[index]
            lengths[index] = read_header(self._path(self.parts[0], mixture_id)).frames
            for part in self.parts:
                self._check_header(mixture_id, part, lengths[index])
        return lengths

    def _check_header(self, mixture_id, part, length):
        path = self._path(part, mixture_id)
        header = read_header(path)
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

    def _read(self, index, start, stop):
        mixture_id = self.ids[index]
        header = AudioHeader(int(self.lengths[index]), self.sample_rate, 1)
        audio = [read_samples(self._path(part, mixture_id), header, start, stop)[:, 0] for part in self.parts]
        return audio[0], np.stack(audio[1:])
