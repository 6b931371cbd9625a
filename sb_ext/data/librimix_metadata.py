"""LibriMix's public metadata: which utterances, with which gains, make which mixture."""

import csv
import math
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sb_ext.data.audio_files import check_folder
from sb_ext.data.store import TextColumn


def speaker_numbers(mixture_id, num_speakers, place):
    """The speakers of a LibriMix mixture, from its id ``SPEAKER-CHAPTER-UTTERANCE_SPEAKER-...``.

    Raises
    ------
    ValueError
        If the id does not name ``num_speakers`` utterances by speaker number; ``place`` says where it was read.

    Example
    -------
    >>> speaker_numbers("3536-8226-0026_1673-143397-0009", 2, "the metadata")
    [3536, 1673]
    """
    speakers = [utterance.split("-")[0] for utterance in mixture_id.split("_")]
    if len(speakers) != num_speakers:
        raise ValueError(
            f"{place}: mixture {mixture_id} names {len(speakers)} utterances, expected {num_speakers}; "
            "num_speakers must be that of the data"
        )
    if not all(speaker.isdecimal() for speaker in speakers):
        raise ValueError(
            f"{place}: mixture {mixture_id}: expected SPEAKER-CHAPTER-UTTERANCE joined by '_', "
            f"each SPEAKER a number as in LibriSpeech, received the speakers {speakers}"
        )
    return [int(speaker) for speaker in speakers]


@dataclass
class FileColumns:
    """Per mixture, one or more (file, gain) pairs, every file kept once.

    Arguments
    ---------
    files : TextColumn
        ``K`` paths as the metadata writes them.
    which : np.ndarray
        ``[N, C]``, int32, numbers of files.
    gains : np.ndarray
        ``[N, C]``, float64.
    """

    files: TextColumn
    which: np.ndarray
    gains: np.ndarray

    def in_order(self, order):
        """The same with the mixtures in another order."""
        return FileColumns(self.files, self.which[order], self.gains[order])


@dataclass
class Metadata:
    """A metadata file, sorted by id.

    Arguments
    ---------
    path : str
        The file that was read, for messages.
    ids : TextColumn
        ``N`` mixture ids.
    speakers : np.ndarray
        ``[N, C]``, int64.
    sources : FileColumns
    noise : FileColumns or None
        None where it was not asked for.
    """

    path: str
    ids: TextColumn
    speakers: np.ndarray
    sources: FileColumns
    noise: FileColumns | None

    @classmethod
    def by_id(cls, path, ids, speakers, sources, noise, source):
        """From rows in the order of the file; ValueError where there are none, or an id occurs twice.

        ``source`` says, for the message, what to take in place of a file without mixtures.
        """
        if not ids:
            raise ValueError(f"{path}: holds no mixtures; take {source}")
        order = sorted(range(len(ids)), key=ids.__getitem__)
        for i, j in zip(order, order[1:], strict=False):
            if ids[i] == ids[j]:
                raise ValueError(f"{path}: mixture {ids[i]} occurs more than once; delete all lines of it but one")
        speakers = np.array(speakers, np.int64).reshape(len(ids), -1)[order]
        noise = noise and noise.in_order(order)
        return cls(str(path), TextColumn.of(ids[i] for i in order), speakers, sources.in_order(order), noise)


class _FileColumnsReader:
    """Collects the (path, gain) columns of some roles, row by row, in compact arrays."""

    def __init__(self, path, header, roles):
        needed = [f"{role}_{kind}" for role in roles for kind in ("path", "gain")]
        missing = [name for name in needed if name not in header]
        if missing:
            raise ValueError(
                f"{path}: the columns {', '.join(missing)} are missing, found {', '.join(header)}; "
                "take LibriMix's own metadata, or set num_speakers to that of the file"
            )
        self.path, self.roles = path, roles
        self.pairs = [(header.index(f"{role}_path"), header.index(f"{role}_gain")) for role in roles]
        self.numbers, self.which, self.gains = {}, array("i"), array("d")

    def add(self, row, line):
        """Take in one row; ``line`` is its number in the file, for messages."""
        for role, (path_column, gain_column) in zip(self.roles, self.pairs, strict=True):
            name = row[path_column]
            if not name:
                raise ValueError(f"{self.path}, line {line}: {role}_path is empty; fill it in, or delete the line")
            gain = finite(row[gain_column])
            if gain is None:
                raise ValueError(
                    f"{self.path}, line {line}: {role}_gain: expected a number, received {row[gain_column]!r}; "
                    "correct it, or delete the line"
                )
            self.which.append(self.numbers.setdefault(name, len(self.numbers)))
            self.gains.append(gain)

    def columns(self):
        """All rows so far."""
        shape = (-1, len(self.roles))
        which, gains = np.array(self.which, np.int32), np.array(self.gains, np.float64)
        return FileColumns(TextColumn.of(self.numbers), which.reshape(shape), gains.reshape(shape))


def finite(text):
    """A finite number, or None where the text is none.

    Example
    -------
    >>> finite("-1.5"), finite("loud"), finite("nan")
    (-1.5, None, None)
    """
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def read_metadata(path, num_speakers, with_noise):
    """Read a public LibriMix metadata CSV, sorted by mixture id, as a generated folder is.

    Arguments
    ---------
    path : str or Path
        With the columns ``mixture_ID, source_1_path, source_1_gain, ...``, then ``noise_path, noise_gain``.
    num_speakers : int
        C.
    with_noise : bool
        Whether the noise columns are read; otherwise they may be empty or absent.

    Returns
    -------
    Metadata

    Raises
    ------
    ValueError
        If the file is no CSV, a column or a value is missing, a gain is no number, an id is unusable or occurs twice.
    """
    try:
        return _read(path, num_speakers, with_noise)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: is no CSV text ({error}); take LibriMix's own metadata") from None


def _read(path, num_speakers, with_noise):
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if "mixture_ID" not in header:
            raise ValueError(
                f"{path}: expected the columns of LibriMix's metadata, mixture_ID first, "
                f"found {', '.join(header) or 'none'}; take LibriMix's own metadata"
            )
        sources = _FileColumnsReader(path, header, [f"source_{i + 1}" for i in range(num_speakers)])
        noise = _FileColumnsReader(path, header, ["noise"]) if with_noise else None
        id_column, ids, speakers = header.index("mixture_ID"), [], array("q")
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise ValueError(
                    f"{path}, line {rows.line_num}: {len(row)} fields under {len(header)} columns; "
                    "correct it, or delete the line"
                )
            ids.append(row[id_column])
            speakers.extend(speaker_numbers(ids[-1], num_speakers, f"{path}, line {rows.line_num}"))
            sources.add(row, rows.line_num)
            if noise:
                noise.add(row, rows.line_num)
    noise = noise.columns() if noise else None
    return Metadata.by_id(path, ids, speakers, sources.columns(), noise, "LibriMix's own metadata")


def find_metadata(metadata_folder, num_speakers, split):
    """The metadata file of a split, in the folder of the CSV files or in the ``LibriNMix`` folder below it.

    A split is named as the public script names its folder: ``train-360`` for ``libri2mix_train-clean-360.csv``.

    Raises
    ------
    FileNotFoundError
        If there is no such metadata folder.
    ValueError
        If it does not hold the split; says which splits were found.
    """
    check_folder("metadata_folder", metadata_folder, "LibriMix's metadata")
    prefix, found = f"libri{num_speakers}mix_", {}
    for folder in (Path(metadata_folder), Path(metadata_folder, f"Libri{num_speakers}Mix")):
        for path in sorted(folder.glob(f"{prefix}*.csv")):
            if "info" not in path.name:
                found.setdefault(path.name.removeprefix(prefix).removesuffix(".csv").replace("-clean", ""), path)
    split = split.replace("-clean", "")
    if split not in found:
        raise ValueError(
            f"metadata_folder: {metadata_folder} holds no {prefix}*.csv for the split {split!r}; "
            f"found {', '.join(found) or 'none'}. Expected LibriMix's metadata folder, or its "
            f"Libri{num_speakers}Mix folder; set num_speakers and train_split to what is there"
        )
    return found[split]
