"""The public mixing lists of wsj0-mix: which utterances to mix, how many dB apart; and their active speech levels."""

from array import array
from pathlib import Path

import numpy as np

from sb_ext.data.audio_files import check_folder
from sb_ext.data.librimix_metadata import FileColumns, Metadata, finite
from sb_ext.data.store import TextColumn

SPLITS = ("tr", "cv", "tt")
REMEDY = "take the public list, or correct the line"


def speaker_number(utterance):
    """A number for the speaker of an utterance: WSJ0's first three letters, read as digits to base 36.

    In a corpus named as LibriSpeech is, from which a stand-in may be made, it is what stands before the first hyphen.

    Example
    -------
    >>> speaker_number("01xo031a"), int("01x", 36), speaker_number("1183-1-0002")
    (69, 69, 1183)
    """
    speaker, hyphen, _ = utterance.partition("-")
    return int(speaker) if hyphen else int(utterance[:3], 36)


def speakers_of(mixture_id, num_speakers, place):
    """The speakers of a mixture, from its name ``utterance1_gain1_utterance2_gain2...``.

    Raises
    ------
    ValueError
        If the name is not so, or has another number of utterances; ``place`` says where it was read.

    Example
    -------
    >>> speakers_of("40na010x_1.9857_01xo031a_-1.9857", 2, "the folder")
    [5207, 69]
    """
    fields = mixture_id.split("_")
    if len(fields) != 2 * num_speakers:
        raise ValueError(
            f"{place}: {mixture_id}: expected the names of {num_speakers} utterances, each with its gain, joined by "
            "'_'; set num_speakers to that of the data"
        )
    try:
        return [speaker_number(utterance) for utterance in fields[::2]]
    except ValueError:
        raise ValueError(
            f"{place}: {mixture_id}: expected utterances named after their speaker, as WSJ0's first three letters do; "
            "rename the files"
        ) from None


def read_mixing_list(path, num_speakers):
    """Read a public list, sorted by the names of the mixtures, as a generated folder is.

    Arguments
    ---------
    path : str or Path
        Lines such as ``wsj0/si_tr_s/40n/40na010x.wav 1.9857 wsj0/si_tr_s/01x/01xo031a.wav -1.9857``.
    num_speakers : int
        C.

    Returns
    -------
    Metadata
        Its gains in dB.

    Raises
    ------
    ValueError
        If a line has another number of fields, a gain is no number, or a mixture occurs twice.
    """
    ids, speakers, which, gains, numbers = [], array("q"), array("i"), array("d"), {}
    for line, text in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        fields = text.split()
        if not fields:
            continue
        if len(fields) != 2 * num_speakers:
            raise ValueError(
                f"{path}, line {line}: expected {num_speakers} pairs of a path and a gain in dB, received "
                f"{len(fields)} fields; {REMEDY}, or set num_speakers to that of the list"
            )
        pairs = [(name, _gain(path, line, gain)) for name, gain in zip(fields[::2], fields[1::2], strict=True)]
        # Named as the script names its files.
        ids.append("_".join(f"{Path(name).stem}_{format(gain, '.8g')}" for name, gain in pairs))
        speakers.extend(speakers_of(ids[-1], num_speakers, f"{path}, line {line}"))
        which.extend(numbers.setdefault(name, len(numbers)) for name, _ in pairs)
        gains.extend(gain for _, gain in pairs)
    columns = FileColumns(
        TextColumn.of(numbers),
        np.array(which, np.int32).reshape(-1, num_speakers),
        np.array(gains).reshape(-1, num_speakers),
    )
    return Metadata.by_id(path, ids, speakers, columns, None, "the public list")


def _gain(path, line, text):
    gain = finite(text)
    if gain is None:
        raise ValueError(f"{path}, line {line}: gain: expected a number in dB, received {text!r}; {REMEDY}")
    return gain


def find_mixing_list(mixing_lists, num_speakers, split):
    """The file ``mix_{num_speakers}_spk_{split}.txt`` in a folder.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it does not hold the list; says which it holds.
    """
    check_folder("mixing_lists", mixing_lists, "the public lists mix_2_spk_tr.txt, ...")
    path = Path(mixing_lists, f"mix_{num_speakers}_spk_{split}.txt")
    if not path.is_file():
        found = ", ".join(sorted(one.name for one in Path(mixing_lists).glob("mix_*.txt"))) or "no list"
        raise ValueError(
            f"mixing_lists: {mixing_lists} holds no {path.name}; found {found}. "
            "Set num_speakers to what is there, or put the public list there"
        )
    return path


def read_levels(mixing_lists):
    """The active speech levels that come with the lists, ``activlev/*.txt`` or ``activlev_*.txt``: power by utterance.

    Returns
    -------
    dict or None
        None where there are none.

    Raises
    ------
    ValueError
        If a line is no name with a number above 0: a silent utterance has no level.
    """
    paths = sorted([*Path(mixing_lists).glob("activlev/*.txt"), *Path(mixing_lists).glob("activlev_*.txt")])
    levels = {}
    for path in paths:
        for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            fields = text.split()
            if not fields:
                continue
            level = _gain(path, line, fields[1]) if len(fields) == 2 else 0.0
            if level <= 0:
                raise ValueError(
                    f"{path}, line {line}: expected an utterance and its power, a number above 0, received {text!r}; "
                    f"{REMEDY}"
                )
            levels[fields[0]] = level
    return levels if paths else None
