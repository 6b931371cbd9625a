"""SparseLibriMix's public metadata: who says what part of which utterance, when, and how loud."""

import json
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from sb_ext.data.audio_files import check_folder
from sb_ext.data.librimix_metadata import FileColumns
from sb_ext.data.store import TextColumn
from sb_ext.values import is_number

NUMBERS = ("start", "orig_start", "orig_stop", "lvl")
REMEDY = "take SparseLibriMix's own metadata, or correct it"


@dataclass
class Pieces:
    """Stretches of audio files, one a row.

    Arguments
    ---------
    path : str
        The JSON file, for messages.
    ids : TextColumn
        The mixture of each piece, ``N`` in all.
    columns : FileColumns
        The file of each piece, ``[N, 1]``, all gains 1.
    channels : np.ndarray
        ``[N]``, which channel of the file.
    times : np.ndarray
        ``[N, 4]``, float64: start in the mixture, start and stop in the file, in seconds, and the level in LUFS.
    """

    path: str
    ids: TextColumn
    columns: FileColumns
    channels: np.ndarray
    times: np.ndarray

    @classmethod
    def of(cls, path, named):
        """From pairs of a mixture's name and the JSON object of a piece."""
        numbers = {}
        which = [numbers.setdefault(piece["file"], len(numbers)) for _, piece in named]
        which = np.array(which, np.int32).reshape(-1, 1)
        return cls(
            path=str(path),
            ids=TextColumn.of(name for name, _ in named),
            columns=FileColumns(TextColumn.of(numbers), which, np.ones(which.shape)),
            channels=np.array([piece.get("channel", 0) for _, piece in named], np.int64),
            times=np.array([[piece[key] for key in NUMBERS] for _, piece in named], np.float64).reshape(-1, 4),
        )


@dataclass
class SparseMetadata:
    """A metadata file in its own order.

    Arguments
    ---------
    ids : list of str
        Names of the mixtures.
    speakers : np.ndarray
        ``[N, C]``, int64, in the order s1, s2, ...
    speech, noise : Pieces
    of_source : list of list of (int, list of int)
        For each mixture the number of each source, from 0, with its rows of ``speech``, in the order of the file,
        in which the script adds the sources up.
    of_noise : list of list of int
        For each mixture its rows of ``noise``; none where it has no noise.
    """

    ids: list
    speakers: np.ndarray
    speech: Pieces
    noise: Pieces
    of_source: list
    of_noise: list


def read_sparse_metadata(path):
    """Read a ``metadata.json`` of SparseLibriMix; it tells the number of speakers.

    Raises
    ------
    ValueError
        If the file is no such JSON, a field is missing or has a value that it cannot have, or mixtures differ in their
        number of speakers.
    """
    mixtures = _load(path)
    ids, names = [], None
    for place, mixture in enumerate(mixtures):
        ids.append(_name(path, place, mixture))
        names = _sources(path, ids[-1], mixture, names)
        for key in (*names, "noise"):
            for piece in _pieces(path, ids[-1], key, mixture):
                _check(path, ids[-1], key, piece)
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(f"{path}: mixture_name: {twice[0]} occurs more than once; {REMEDY}")
    speech, noise, of_source, of_noise, speakers = [], [], [], [], []
    for name, mixture in zip(ids, mixtures, strict=True):
        of_source.append([(names.index(key), _rows(speech, name, mixture[key])) for key in mixture if key in names])
        of_noise.append(_rows(noise, name, mixture.get("noise", [])))
        speakers.append([int(mixture[key][0]["spk_id"]) for key in names])
    pieces = (Pieces.of(path, speech), Pieces.of(path, noise))
    return SparseMetadata(ids, np.array(speakers, np.int64), *pieces, of_source, of_noise)


def _load(path):
    try:
        mixtures = json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: is no JSON ({error}); {REMEDY}") from None
    if not isinstance(mixtures, list) or not mixtures:
        raise ValueError(f"{path}: expected a list of mixtures, received {type(mixtures).__name__} of none; {REMEDY}")
    return mixtures


def _name(path, place, mixture):
    name = mixture.get("mixture_name") if isinstance(mixture, dict) else None
    if not isinstance(name, str):
        raise ValueError(f"{path}: mixture {place}: mixture_name: expected text, received {name!r}; {REMEDY}")
    return name


def _sources(path, name, mixture, first):
    """The names of the sources, s1, s2, ..., which must be those of the ``first`` mixture."""
    names = sorted(key for key in mixture if key not in ("mixture_name", "noise"))
    first = first or names
    if names != [f"s{number + 1}" for number in range(len(names))] or names != first or not names:
        raise ValueError(
            f"{path}: {name}: expected the sources {', '.join(first)}, as in the first mixture and numbered from s1, "
            f"received {', '.join(names) or 'none'}; {REMEDY}"
        )
    return names


def _pieces(path, name, key, mixture):
    pieces = mixture.get(key, [])
    if not isinstance(pieces, list) or (not pieces and key != "noise"):
        raise ValueError(f"{path}: {name}: {key}: expected a list of pieces of speech, received {pieces!r}; {REMEDY}")
    return pieces


def _check(path, name, key, piece):
    """Raise ValueError unless a piece has all fields, with values that can be used."""

    def fail(field, expected):
        received = repr(piece[field]) if field in piece else "none"
        raise ValueError(f"{path}: {name}: {key}: {field}: expected {expected}, received {received}; {REMEDY}")

    if not isinstance(piece, dict):
        raise ValueError(f"{path}: {name}: {key}: expected an object a piece, received {piece!r}; {REMEDY}")
    if not isinstance(piece.get("file"), str) or not piece["file"]:
        fail("file", "a path")
    for field in NUMBERS:
        if not is_number(piece.get(field)):
            fail(field, "a number")
    for field in ("start", "orig_start"):
        if piece[field] < 0:
            fail(field, "a time of at least 0 s")
    if piece["orig_stop"] <= piece["orig_start"]:
        fail("orig_stop", f"a time after orig_start, {piece['orig_start']} s")
    if key != "noise" and not str(piece.get("spk_id", "")).isdecimal():
        fail("spk_id", "a speaker number as in LibriSpeech")
    if not isinstance(piece.get("channel", 0), int) or piece.get("channel", 0) < 0:
        fail("channel", "a channel number from 0")


def _rows(named, name, pieces):
    """Append pieces to the list of all; give their row numbers."""
    named += [(name, piece) for piece in pieces]
    return list(range(len(named) - len(pieces), len(named)))


def find_sparse(sparse_folder, num_speakers, wanted=None):
    """The folders ``sparse_{N}_{overlap ratio}`` of a number of speakers, in the folder given or in its ``metadata``.

    Arguments
    ---------
    sparse_folder : str or Path
    num_speakers : int
    wanted : str, optional
        Only this overlap ratio, such as ``0.2``.

    Returns
    -------
    folders : list of Path
        Sorted by overlap ratio.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it holds none; says what there is.
    """
    check_folder("sparse_folder", sparse_folder, "SparseLibriMix: sparse_2_0, sparse_2_0.2, ...")
    found = [path for root in (".", "metadata") for path in sorted(Path(sparse_folder, root).glob("sparse_*_*"))]
    kept = [path for path in found if fnmatch(path.name, f"sparse_{num_speakers}_{wanted or '*'}")]
    if not kept:
        raise ValueError(
            f"sparse_folder: {sparse_folder} holds no sparse_{num_speakers}_{wanted or '*'}; "
            f"found {', '.join(path.name for path in found) or 'no sparse_* at all'}. Set test_sets to what is there, "
            "or make it by SparseLibriMix's scripts"
        )
    return kept
