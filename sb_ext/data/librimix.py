"""LibriMix, whichever way it comes in: a generated folder, or LibriSpeech with the public metadata."""

import hashlib
from functools import partial
from pathlib import Path

from sb_ext.data.librimix_generated import GeneratedLibriMix, check_settings, find_split
from sb_ext.data.librimix_metadata import find_metadata
from sb_ext.data.librimix_onthefly import OnTheFlyLibriMix
from sb_ext.data.packed import open_or_pack
from sb_ext.data.wav_folder import facts_of, list_ids

__all__ = ["GeneratedLibriMix", "OnTheFlyLibriMix", "stores"]


def stores(
    *, data_folder=None, librispeech_folder=None, metadata_folder=None, noise_folder=None, num_speakers=2,
    sample_rate=8000, mode="min", mixture_type="mix_clean", train_split="train-360", valid_split="dev",
    test_split="test", pack_folder=None, pack_workers=1,
):  # fmt: skip
    """The training, validation and test mixtures of LibriMix.

    Arguments
    ---------
    data_folder : str or Path, optional
        A generated LibriMix folder. Either this one is given,
    librispeech_folder, metadata_folder : str or Path, optional
        or these two, and mixtures are made while they are read.
    noise_folder : str or Path, optional
        WHAM's noise, for ``mix_both`` and ``mix_single`` with ``librispeech_folder``.
    num_speakers, sample_rate, mode, mixture_type
        See `OnTheFlyLibriMix`.
    train_split, valid_split, test_split : str or None
        Names as in the generated folder; None leaves a split out.
    pack_folder : str or Path, optional
        Where to keep each split as one memory-mapped file, made on the first call and reused afterwards.
    pack_workers : int
        Processes that pack.

    Returns
    -------
    dict
        ``train``, ``valid`` and ``test`` to a MixtureStore, but for what was left out.

    Raises
    ------
    ValueError
        If not exactly one way in is given, or the data is missing or faulty.

    Example
    -------
    >>> stores(data_folder="LibriMix", librispeech_folder="LibriSpeech")
    Traceback (most recent call last):
    ValueError: LibriMix: give data_folder, or librispeech_folder with metadata_folder; received data_folder, librispeech_folder
    """  # noqa: E501
    folders = {
        "data_folder": data_folder, "librispeech_folder": librispeech_folder, "metadata_folder": metadata_folder
    }  # fmt: skip
    given = [name for name, folder in folders.items() if folder]
    if given not in (["data_folder"], ["librispeech_folder", "metadata_folder"]):
        raise ValueError(
            "LibriMix: give data_folder, or librispeech_folder with metadata_folder; "
            f"received {', '.join(given) or 'none of them'}"
        )
    check_settings(num_speakers, mode, mixture_type)
    settings = {
        "num_speakers": num_speakers, "sample_rate": sample_rate, "mode": mode, "mixture_type": mixture_type
    }  # fmt: skip

    def split_store(split):
        if data_folder:
            make, facts = _generated(data_folder, split, settings)
        else:
            make, facts = _on_the_fly(librispeech_folder, metadata_folder, noise_folder, split, settings)
        if not pack_folder:
            return make()
        name = f"libri{num_speakers}mix_{facts['way']}_{split}_{sample_rate}_{mode}_{mixture_type}"
        return open_or_pack(make, Path(pack_folder, name), {**settings, "split": split, **facts}, pack_workers)

    splits = {"train": train_split, "valid": valid_split, "test": test_split}
    return {role: split_store(split) for role, split in splits.items() if split}


def _generated(data_folder, split, settings):
    folder = find_split(data_folder, split, settings["num_speakers"], settings["sample_rate"], settings["mode"])
    facts = facts_of(list_ids(folder / settings["mixture_type"]))
    return partial(GeneratedLibriMix, data_folder, split, **settings), facts


def _on_the_fly(librispeech_folder, metadata_folder, noise_folder, split, settings):
    table = find_metadata(metadata_folder, settings["num_speakers"], split)
    facts = {"way": "onthefly", "metadata": hashlib.sha256(table.read_bytes()).hexdigest()}
    make = partial(OnTheFlyLibriMix, librispeech_folder, table, noise_folder=noise_folder, **settings)
    return make, facts
