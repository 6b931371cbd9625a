"""From a recipe's data options to mixture stores: what stands between every ``train.py`` and its data."""

import contextlib
import errno
import hashlib
import json
import logging
import os
from pathlib import Path

from speechbrain.utils.distributed import if_main_process, run_on_main

from sb_ext.data.building import build_once
from sb_ext.data.embedded import SIZES, embedded_librimix
from sb_ext.data.librimix import stores
from sb_ext.data.librimix_generated import check_settings
from sb_ext.data.metadata import make_metadata
from sb_ext.data.packed import open_or_pack
from sb_ext.data.realm import AUDIO_FOLDER, SAMPLE_RATE, RealM, ReferencedRealM, in_validation
from sb_ext.data.realm_standin import make_realm_standin
from sb_ext.data.recordings import Recordings, find_recordings
from sb_ext.data.speech_folder import check_names, find_splits
from sb_ext.data.store import random_subset
from sb_ext.values import check_choice

logger = logging.getLogger(__name__)

# The sizes of the REAL-M stand-in: recordings, and those of them that REAL-M's users leave out
STANDINS = {"small": {"num_mixtures": 420, "num_early": 20}, "tiny": {"num_mixtures": 24, "num_early": 2}}
SPLITS = {"train-100": "train-clean-100", "train-360": "train-clean-360", "dev": "dev-clean", "test": "test-clean"}


def corpora_folder(folder=None):
    """Where corpora are made and data is packed: the folder given, ``$SB_EXT_CORPORA``, or ``~/.cache/sb_ext``."""
    return Path(folder or os.environ.get("SB_EXT_CORPORA") or Path.home() / ".cache" / "sb_ext").expanduser()


def prepare_librimix(hparams):
    """The mixture stores of a LibriMix recipe.

    Arguments
    ---------
    hparams : dict
        ``data_folder``; or ``librispeech_folder`` with ``metadata_folder`` and ``noise_folder``; or none of them, for
        the embedded ``corpus``. Also ``corpora_folder``, ``num_speakers``, ``mixture_type``, ``mode``,
        ``sample_rate``, ``train_split``, ``train_fraction``, ``num_train_mixtures``, ``pack`` and ``seed``.

    Returns
    -------
    dict
        ``train``, ``valid`` and ``test`` to a MixtureStore, and ``description``: what the data is, for tables.

    Raises
    ------
    ValueError
        If the options contradict one another, or the data is faulty. Headers and tables are always checked; with
        ``pack`` every sample too, while it is packed.
    FileNotFoundError
        If a folder is missing.
    """
    _check_options(hparams)
    cache = corpora_folder(hparams["corpora_folder"])
    settings = {key: hparams[key] for key in ("num_speakers", "sample_rate", "mode", "mixture_type")}
    folders = {key: hparams[key] for key in ("data_folder", "librispeech_folder", "metadata_folder", "noise_folder")}
    train_split, description = hparams["train_split"], f"LibriMix in {folders['data_folder']}"
    if not folders["data_folder"] and not folders["librispeech_folder"]:
        folders |= _embedded(hparams, cache)
        train_split, description = "train-100", f"embedded corpus {hparams['corpus']!r} (synthetic speech)"
    elif folders["librispeech_folder"]:
        description = f"mixtures of {Path(folders['librispeech_folder']).name}, made on the fly"
        if not folders["metadata_folder"]:
            train_split = _train_split_of(folders["librispeech_folder"], train_split)
            folders["metadata_folder"] = _own_metadata(hparams, cache, train_split)
    # One pack for each place that data comes from, so that two corpora do not take turns.
    pack_folder = cache / "packed" / _digest({key: str(folder) for key, folder in folders.items()})
    made = _on_main_first(
        cache,
        lambda: stores(
            **folders, **settings, train_split=train_split, pack_folder=pack_folder if hparams["pack"] else None
        ),
    )
    made["train"] = random_subset(made["train"], hparams["train_fraction"], hparams["seed"])
    return {**made, "description": f"{description}, {hparams['num_speakers']} speakers, {hparams['mixture_type']}"}


def prepare_recordings(hparams):
    """The mixture stores of a recipe that trains on recordings without references, such as REAL-M.

    Arguments
    ---------
    hparams : dict
        ``data_folder``: REAL-M, or any folder of wav and flac files; null for the synthetic stand-in, whose references
        serve validation and test only. Also ``corpora_folder``, ``sample_rate``, ``pack``.

    Returns
    -------
    dict
        As prepare_librimix.

    Raises
    ------
    ValueError, FileNotFoundError
        As prepare_librimix.
    """
    cache, folder = corpora_folder(hparams["corpora_folder"]), hparams["data_folder"]
    rate, real_m = hparams["sample_rate"], folder and Path(folder, AUDIO_FOLDER).is_dir()
    check_choice("corpus", hparams["corpus"], STANDINS)
    if rate != SAMPLE_RATE and (real_m or not folder):
        raise ValueError(
            f"sample_rate: REAL-M is at {SAMPLE_RATE} Hz, received {rate}; set --sample_rate {SAMPLE_RATE}"
        )
    if not folder:
        numbers = STANDINS[hparams["corpus"]]
        folder = _on_main_first(
            cache, lambda: make_realm_standin(cache / f"realm_standin_{hparams['corpus']}", **numbers)
        )
        made = {"train": RealM(folder, "train"), "valid": ReferencedRealM(folder, "valid")}
        return {**made, "test": made["valid"], "description": "REAL-M stand-in (synthetic speech in simulated rooms)"}
    made = {split: RealM(folder, split) for split in ("train", "valid")} if real_m else _split_recordings(folder, rate)
    if hparams["pack"]:
        made = {split: _packed(store, cache, folder, split) for split, store in made.items()}
    description = f"REAL-M in {folder}" if real_m else f"recordings in {Path(folder).name}"
    return {**made, "test": made["valid"], "description": description}


def _check_options(hparams):
    """What stands side by side on the command line must make sense together."""
    check_settings(hparams["num_speakers"], hparams["mode"], hparams["mixture_type"])
    check_choice("corpus", hparams["corpus"], SIZES)
    ways = ("data_folder", "librispeech_folder", "metadata_folder", "noise_folder")
    given = [key for key in ways if hparams[key]]
    if given and given != ["data_folder"] and given[0] != "librispeech_folder":
        raise ValueError(
            f"{given[0]}: received with {', '.join(given[1:]) or 'no librispeech_folder'}; give --data_folder alone, "
            "or --librispeech_folder with --metadata_folder and --noise_folder"
        )
    if given[:1] == ["librispeech_folder"] and hparams["mixture_type"] != "mix_clean" and not hparams["noise_folder"]:
        raise ValueError(f"noise_folder: mixture_type {hparams['mixture_type']} needs noise; set --noise_folder")


def _split_recordings(folder, rate):
    """One's own recordings, split by the names of the files as REAL-M is."""
    paths = find_recordings(folder)
    parts = {"train": [], "valid": []}
    for path in paths:
        parts["valid" if in_validation(Path(path).name) else "train"].append(path)
    for split, kept in parts.items():
        if not kept:
            raise ValueError(
                f"data_folder: none of the {len(paths)} recordings in {folder} falls to the split {split!r} "
                "(one in five, by a hash of the file name); add recordings"
            )
    return {split: Recordings(kept, rate, root=folder) for split, kept in parts.items()}


def _packed(store, cache, folder, split):
    facts = {"folder": str(Path(folder).resolve()), "split": split, "sample_rate": store.sample_rate}
    facts["files"] = _digest([[store.ids[i], int(store.lengths[i])] for i in range(len(store))])
    return _on_main_first(cache, lambda: open_or_pack(lambda: store, cache / "packed" / _digest(facts), facts))


def _on_main_first(cache, make):
    """``make()`` on the main process, then, with everything on disk, on the others; ``cache`` is what it writes to."""
    made = []
    with _writing_to(cache):
        run_on_main(lambda: made.append(make()))
        return made[0] if if_main_process() else make()


@contextlib.contextmanager
def _writing_to(cache):
    """Turns what the system says of the cache folder into an error that names the key and the remedy."""
    try:
        yield
    except OSError as error:
        full = error.errno == errno.ENOSPC
        if not full and not (error.filename and Path(error.filename).is_relative_to(cache)):
            raise
        raise ValueError(
            f"corpora_folder: cannot write to {cache} ({error.strerror}); "
            "set --corpora_folder or $SB_EXT_CORPORA to a folder with room that can be written to"
        ) from None


def _digest(settings):
    return hashlib.sha1(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]


def _embedded(hparams, cache):
    folder = cache / f"embedded_{hparams['corpus']}"
    made = _on_main_first(cache, lambda: embedded_librimix(folder, hparams["num_speakers"], hparams["corpus"]))
    if hparams["mixture_type"] == "mix_clean":
        made = {**made, "noise_folder": None}
    return made


def _train_split_of(folder, wanted):
    """The split to train on in one's own folder: the one asked for, or the only one that is there."""
    found = [name for name in find_splits(Path(folder)) if name.startswith("train")]
    if SPLITS.get(wanted, wanted) in found:
        return wanted
    if len(found) != 1 or wanted not in SPLITS:
        raise ValueError(
            f"train_split: {folder} has no {wanted!r} (the folder {SPLITS.get(wanted, wanted)}); "
            f"set --train_split to {' or '.join(found) or 'a folder that is there'}"
        )
    logger.info("train_split: %s has no %s, training on %s", folder, wanted, found[0])
    return next((short for short, name in SPLITS.items() if name == found[0]), found[0])


def _own_metadata(hparams, cache, train_split):
    """Metadata for a folder that came without: made once for each folder and set of numbers."""
    source = Path(hparams["librispeech_folder"]).resolve()
    train_split = SPLITS.get(train_split, train_split)
    counts = {} if hparams["num_train_mixtures"] is None else {train_split: hparams["num_train_mixtures"]}
    counts |= dict.fromkeys(("dev-clean", "test-clean"), hparams["num_test_mixtures"])
    settings = {"source": str(source), "num_speakers": hparams["num_speakers"], "num_mixtures": counts}
    settings["noise_folder"] = hparams["noise_folder"]
    folder = cache / "metadata" / f"{source.name}_{hparams['num_speakers']}speakers_{_digest(settings)}"

    splits = [train_split, "dev-clean", "test-clean"]

    def build(partial):
        for name, paths in find_splits(source).items():
            check_names(paths if name in splits else [])
        make_metadata(source, partial, hparams["num_speakers"], hparams["noise_folder"], splits, counts)

    _on_main_first(cache, lambda: build_once(folder, settings, build))
    return folder
