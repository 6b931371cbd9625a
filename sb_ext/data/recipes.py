"""From a recipe's data options to mixture stores: what stands between every ``train.py`` and its data."""

from pathlib import Path

from sb_ext.data.librimix_recipe import LibriMixOptions
from sb_ext.data.merged import merged
from sb_ext.data.preparing import (
    corpora_folder,
    in_words,
    naming_test_set,
    on_main_first,
    packed_files,
    read_test_set,
    speaker_counts,
)
from sb_ext.data.realm import AUDIO_FOLDER, SAMPLE_RATE, RealM, ReferencedRealM, in_validation
from sb_ext.data.realm_standin import make_realm_standin
from sb_ext.data.recordings import Recordings, find_recordings
from sb_ext.data.store import random_subset
from sb_ext.data.wsj0mix_recipe import Wsj0MixOptions
from sb_ext.values import check_choice

# The sizes of the REAL-M stand-in: recordings, and those of them that REAL-M's users leave out
STANDINS = {"small": {"num_mixtures": 420, "num_early": 20}, "tiny": {"num_mixtures": 24, "num_early": 2}}
# What test sets may be called, as a pattern and in examples
LIBRIMIX_SETS = (
    r"(?P<sparse>sparse)?(?P<count>[2-9])mix((?<=^sparse.mix)_(?P<overlap>[\d.]+))?",
    "2mix, sparse3mix or sparse3mix_0.2",
)
WSJ0_SETS = (r"(?P<count>[2-9])mix", "2mix or 3mix")


def prepare_librimix(hparams):
    """The mixture stores of a LibriMix recipe.

    Arguments
    ---------
    hparams : dict
        ``data_folder``; or ``librispeech_folder`` with ``metadata_folder`` and ``noise_folder``; or none of them, for
        the embedded ``corpus``. Also ``corpora_folder``, ``num_speakers`` (a number, or a list of them for training on
        all), ``mixture_type``, ``mode``, ``sample_rate``, ``train_split``, ``train_fraction``, ``num_train_mixtures``,
        ``pack`` and ``seed``. Where they are there: ``test_sets``, a list of ``2mix``, ``3mix``, ..., ``sparse3mix``
        (all overlap ratios) and ``sparse3mix_0.2`` (one), and ``sparse_folder``, SparseLibriMix's metadata or what its
        script generated; without it a stand-in is made of the test speakers.

    Returns
    -------
    dict
        ``train``, ``valid`` and ``test`` to a MixtureStore, ``test_sets`` to a dict of them by name, and
        ``description``: what the data is, for tables.

    Raises
    ------
    ValueError
        If the options contradict one another, or the data is faulty. Headers and tables are always checked; with
        ``pack`` every sample too, while it is packed.
    FileNotFoundError
        If a folder is missing.
    """
    made, description = _all_counts(LibriMixOptions, hparams)

    def test_set(count, sparse, overlap):
        options = LibriMixOptions(hparams, int(count))
        if sparse:
            return options.sparse(overlap)
        return options.stores(test_only=True)["test"]

    made["test_sets"] = _test_sets(hparams, LIBRIMIX_SETS, test_set)
    description += f", {hparams['mixture_type']}"
    if any(str(name).startswith("sparse") for name in made["test_sets"]) and not hparams.get("sparse_folder"):
        description += "; sparse test sets are stand-ins"
    return {**made, "description": description}


def prepare_wsj0mix(hparams):
    """The mixture stores of a WSJ0-mix recipe.

    Arguments
    ---------
    hparams : dict
        ``data_folder``, generated; or ``wsj0_folder`` with ``mixing_lists``; or ``librispeech_folder``, one's own
        speech in LibriSpeech's layout, for a stand-in; or none of them, for a stand-in made of the embedded ``corpus``.
        Also ``corpora_folder``, ``num_speakers`` (a number, or a list of them for training on all), ``mode``,
        ``sample_rate``, ``train_split`` (of ``librispeech_folder``), ``train_fraction``, ``num_train_mixtures``,
        ``num_test_mixtures``, ``pack``, ``seed`` and, where it is there, ``test_sets``, a list of ``2mix``, ``3mix``...

    Returns
    -------
    dict
        As prepare_librimix.

    Raises
    ------
    ValueError, FileNotFoundError
        As prepare_librimix.
    """
    made, description = _all_counts(Wsj0MixOptions, hparams)

    def test_set(count):
        return Wsj0MixOptions(hparams, int(count)).stores(test_only=True)["test"]

    return {**made, "test_sets": _test_sets(hparams, WSJ0_SETS, test_set), "description": description}


def _all_counts(options_of, hparams):
    """The stores of all numbers of speakers that a recipe trains on, merged, and what they are in words."""
    counts = speaker_counts(hparams["num_speakers"])
    options = [options_of(hparams, count) for count in counts]
    made = [one.stores() for one in options]
    for one in made:
        one["train"] = random_subset(one["train"], hparams["train_fraction"], hparams["seed"])
    joined = {split: merged([one[split] for one in made]) for split in ("train", "valid", "test")}
    return joined, f"{options[0].description}, {in_words(counts)}"


def _test_sets(hparams, known, open_set):
    made = {}
    for name in hparams.get("test_sets") or []:
        parts = read_test_set(name, *known)
        with naming_test_set(name):
            made[str(name)] = open_set(**parts)
    return made


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
        folder = on_main_first(
            cache, lambda: make_realm_standin(cache / f"realm_standin_{hparams['corpus']}", **numbers)
        )
        made = {"train": RealM(folder, "train"), "valid": ReferencedRealM(folder, "valid")}
        return {**made, "test": made["valid"], "description": "REAL-M stand-in (synthetic speech in simulated rooms)"}
    made = {split: RealM(folder, split) for split in ("train", "valid")} if real_m else _split_recordings(folder, rate)
    if hparams["pack"]:
        made = {split: packed_files(store, cache, folder, split) for split, store in made.items()}
    description = f"REAL-M in {folder}" if real_m else f"recordings in {Path(folder).name}"
    return {**made, "test": made["valid"], "description": description}


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
