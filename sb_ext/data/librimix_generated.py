"""A LibriMix folder as the public script generates it."""

import csv
import os
from pathlib import Path

import numpy as np

from sb_ext.data.audio_files import AudioHeader, check_folder, read_header, read_samples
from sb_ext.data.librimix_metadata import speaker_numbers
from sb_ext.data.store import MixtureStore, TextColumn
from sb_ext.values import check_choice

MIXTURE_TYPES = ("mix_clean", "mix_both", "mix_single")
MODES = ("min", "max")


def check_settings(num_speakers, mode, mixture_type):
    """Raise ValueError where a LibriMix setting is none of the values that it can have."""
    if num_speakers < 1:
        raise ValueError(f"num_speakers must be at least 1, received {num_speakers}")
    check_choice("mode", mode, MODES)
    check_choice("mixture_type", mixture_type, MIXTURE_TYPES)


def count_sources(num_speakers, mixture_type):
    """How many references a mixture has: ``mix_single`` is the first speaker with noise.

    Example
    -------
    >>> count_sources(2, "mix_both"), count_sources(2, "mix_single")
    (2, 1)
    """
    return 1 if mixture_type == "mix_single" else num_speakers


def find_split(data_folder, split, num_speakers, sample_rate, mode):
    """The folder of a split, ``data_folder`` being the ``LibriNMix`` folder or its parent.

    Raises
    ------
    FileNotFoundError
        If there is no such data folder.
    ValueError
        If it does not hold the split; says which splits there are.
    """
    tail, name = Path(f"wav{sample_rate // 1000}k", mode, split), f"Libri{num_speakers}Mix"
    check_folder("data_folder", data_folder, f"{name}, as LibriMix's script writes it")
    for folder in (Path(data_folder, name, tail), Path(data_folder, tail)):
        if folder.is_dir():
            return folder
    paths = [path for pattern in ("Libri*Mix/wav*k/*/*", "wav*k/*/*") for path in Path(data_folder).glob(pattern)]
    found = sorted(str(path.relative_to(data_folder)) for path in paths if path.is_dir() and path.name != "metadata")
    raise ValueError(
        f"data_folder: {data_folder} holds no {name}/{tail}; found {', '.join(found) or 'no LibriMix'}. "
        "Set num_speakers, sample_rate, mode and train_split to what is there, or generate it with LibriMix's script"
    )


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


class GeneratedLibriMix(MixtureStore):
    """One split of a generated LibriMix folder, sorted by id.

    Lengths come from the CSV that the script writes beside the audio; without it from the headers of all files, which
    are compared. With it, a file that is not what the CSV says, or is no audio, is found when it is read: before
    training where the split is packed.

    Arguments
    ---------
    data_folder : str or Path
        The folder ``Libri2Mix`` (``Libri3Mix``), or the one that holds it.
    split : str
        ``train-100``, ``train-360``, ``dev`` or ``test``.
    num_speakers : int
    sample_rate : int
        Hz, 8000 or 16000.
    mode : str
        ``min``: cut to the shortest source; ``max``: padded to the longest.
    mixture_type : str
        ``mix_clean``, ``mix_both`` (with noise) or ``mix_single`` (first speaker with noise, one reference).

    Raises
    ------
    ValueError
        If a folder or a reference is missing, or a file has another rate or length than its mixture.
    """

    def __init__(self, data_folder, split, num_speakers=2, sample_rate=8000, mode="min", mixture_type="mix_clean"):
        check_settings(num_speakers, mode, mixture_type)
        self.folder = find_split(data_folder, split, num_speakers, sample_rate, mode)
        num_sources = count_sources(num_speakers, mixture_type)
        self.parts = [mixture_type] + [f"s{i + 1}" for i in range(num_sources)]
        ids = list_ids(self.folder / mixture_type)
        for part in self.parts[1:]:
            missing = sorted(set(ids).difference(list_ids(self.folder / part)))
            if missing:
                raise ValueError(
                    f"data_folder: {self.folder / part / missing[0]}.wav, a reference, is missing, and "
                    f"{len(missing) - 1} more; {mixture_type} holds {len(ids)} mixtures. Generate this split again"
                )
        speakers = np.array([speaker_numbers(name, num_speakers, self.folder) for name in ids], np.int64)
        super().__init__(TextColumn.of(ids), None, speakers[:, :num_sources].copy(), sample_rate, num_sources)
        table = self.folder.parent / "metadata" / f"mixture_{split}_{mixture_type}.csv"
        self.lengths = self._lengths_from_headers() if not table.is_file() else self._lengths_from_table(table, ids)

    def _path(self, part, mixture_id):
        return f"{self.folder}/{part}/{mixture_id}.wav"

    def _lengths_from_table(self, table, ids):
        lengths = _read_lengths(table)
        if set(ids) != lengths.keys():
            # A generation that was interrupted, or a folder that was added to: only the files are to be trusted.
            return self._lengths_from_headers()
        self._check_header(self.ids[0], self.parts[0], lengths[self.ids[0]])
        return np.array([lengths[name] for name in ids], np.int64)

    def _lengths_from_headers(self):
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


def _read_lengths(table):
    """Mixture id to length in samples, from the CSV that LibriMix's script writes."""
    remedy = "correct it, or delete it, and the lengths are taken from the audio"
    with open(table, newline="", encoding="utf-8") as file:
        rows, lengths = csv.DictReader(file), {}
        missing = [name for name in ("mixture_ID", "length") if name not in (rows.fieldnames or ())]
        if missing:
            raise ValueError(f"{table}: no column {missing[0]}, found {', '.join(rows.fieldnames or ())}; {remedy}")
        for row in rows:
            name, length = row["mixture_ID"], row["length"] or ""
            if not length.isdecimal() or int(length) < 1:
                raise ValueError(
                    f"{table}, line {rows.line_num}: length: expected a whole number of at least 1, "
                    f"received {length!r}; {remedy}"
                )
            if name in lengths:
                raise ValueError(f"{table}, line {rows.line_num}: {name} occurs more than once; {remedy}")
            lengths[name] = int(length)
    return lengths
