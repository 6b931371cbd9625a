"""A LibriMix folder as the public script generates it."""

import csv
from pathlib import Path

import numpy as np

from sb_ext.data.audio_files import check_folder
from sb_ext.data.librimix_metadata import speaker_numbers
from sb_ext.data.wav_folder import WavFolder, list_ids
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


class GeneratedLibriMix(WavFolder):
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
        folder = find_split(data_folder, split, num_speakers, sample_rate, mode)
        parts = [f"s{i + 1}" for i in range(count_sources(num_speakers, mixture_type))]
        self.table = folder.parent / "metadata" / f"mixture_{split}_{mixture_type}.csv"
        ids = list_ids(folder / mixture_type)
        speakers = np.array([speaker_numbers(name, num_speakers, folder) for name in ids], np.int64)
        super().__init__(folder, mixture_type, parts, ids, speakers[:, : len(parts)].copy(), sample_rate)

    def _lengths(self):
        if not self.table.is_file():
            return super()._lengths()
        lengths = _read_lengths(self.table)
        if set(self.ids) != lengths.keys():
            # A generation that was interrupted, or a folder that was added to: only the files are to be trusted.
            return super()._lengths()
        self._check_header(self.ids[0], self.parts[0], lengths[self.ids[0]])
        return np.array([lengths[name] for name in self.ids], np.int64)


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
