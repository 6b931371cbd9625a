"""LibriMix and SparseLibriMix of any number of speakers from a recipe's data options."""

import logging
import math
from functools import partial
from pathlib import Path

from sb_ext.data.building import build_once
from sb_ext.data.embedded import MIXTURES, SIZES, embedded_librimix
from sb_ext.data.librimix import stores
from sb_ext.data.librimix_generated import check_settings
from sb_ext.data.merged import Merged
from sb_ext.data.metadata import make_metadata
from sb_ext.data.packed import open_or_pack
from sb_ext.data.preparing import corpora_folder, digest, on_main_first, speaker_counts
from sb_ext.data.sparse import sparse_sets
from sb_ext.data.sparse_standin import OVERLAPS, make_sparse_metadata
from sb_ext.data.speech_folder import check_names, find_splits, noise_of
from sb_ext.values import check_choice

logger = logging.getLogger(__name__)

SPLITS = {"train-100": "train-clean-100", "train-360": "train-clean-360", "dev": "dev-clean", "test": "test-clean"}
FOLDERS = ("data_folder", "librispeech_folder", "metadata_folder", "noise_folder")


class LibriMixOptions:
    """Where a recipe's LibriMix comes from, for one number of speakers.

    Arguments
    ---------
    hparams : dict
        See :func:`sb_ext.data.recipes.prepare_librimix`.
    count : int
        Speakers a mixture.

    Raises
    ------
    ValueError
        If the options contradict one another.
    """

    def __init__(self, hparams, count):
        self.hparams, self.count = hparams, count
        self.cache = corpora_folder(hparams["corpora_folder"])
        self.folders = {key: hparams[key] for key in FOLDERS}
        self.settings = {key: hparams[key] for key in ("sample_rate", "mode", "mixture_type")}
        self.settings["num_speakers"] = count
        self.embedded = not self.folders["data_folder"] and not self.folders["librispeech_folder"]
        self._check()
        counts = speaker_counts(hparams["num_speakers"])
        if counts != [count]:
            # A folder that was given for one number of speakers: the others' lie beside it.
            for key in ("data_folder", "metadata_folder"):
                folder = self.folders[key]
                if folder and Path(folder).name in [f"Libri{one}Mix" for one in counts]:
                    self.folders[key] = str(Path(folder).parent)

    def _check(self):
        """What stands side by side on the command line must make sense together."""
        check_settings(self.count, self.hparams["mode"], self.hparams["mixture_type"])
        check_choice("corpus", self.hparams["corpus"], SIZES)
        given = [key for key in FOLDERS if self.folders[key]]
        if given and given != ["data_folder"] and given[0] != "librispeech_folder":
            raise ValueError(
                f"{given[0]}: received with {', '.join(given[1:]) or 'no librispeech_folder'}; give --data_folder "
                "alone, or --librispeech_folder with --metadata_folder and --noise_folder"
            )
        noisy = self.settings["mixture_type"] != "mix_clean"
        if given[:1] == ["librispeech_folder"] and noisy and not self.folders["noise_folder"]:
            raise ValueError(
                f"noise_folder: mixture_type {self.settings['mixture_type']} needs noise; set --noise_folder"
            )

    @property
    def description(self):
        """What the data is, for tables, but for the number of speakers."""
        if self.embedded:
            return f"embedded corpus {self.hparams['corpus']!r} (synthetic speech)"
        if self.folders["librispeech_folder"]:
            return f"mixtures of {Path(self.folders['librispeech_folder']).name}, made on the fly"
        return f"LibriMix in {self.hparams['data_folder']}"

    def stores(self, test_only=False):
        """The stores by split, of the test alone or of all three."""
        folders, train_split = self.folders, self.hparams["train_split"]
        if self.embedded:
            folders, train_split = self.folders | self._embedded(), "train-100"
        elif folders["librispeech_folder"] and not folders["metadata_folder"]:
            train_split = None if test_only else _train_split_of(folders["librispeech_folder"], train_split)
            folders = {**folders, "metadata_folder": self._own_metadata(train_split)}
        splits = {"train_split": None, "valid_split": None} if test_only else {"train_split": train_split}
        # One pack for each place that data comes from, so that two corpora do not take turns.
        pack_folder = self.cache / "packed" / digest({key: str(folder) for key, folder in folders.items()})
        pack_folder = pack_folder if self.hparams["pack"] else None
        return on_main_first(self.cache, partial(stores, **folders, **self.settings, **splits, pack_folder=pack_folder))

    def sparse(self, overlap=None):
        """SparseLibriMix, or its stand-in where no ``sparse_folder`` is given; all overlap ratios, or one."""
        folders = self.folders | self._embedded() if self.embedded else self.folders
        rate, kind = self.settings["sample_rate"], self.settings["mixture_type"]
        root, noise = folders["librispeech_folder"], None if kind == "mix_clean" else folders["noise_folder"]
        sparse_folder = self.hparams.get("sparse_folder") or self._sparse_standin(root, noise)
        speech, noise = root and Path(root, SPLITS["test"]), noise and noise_of(noise, SPLITS["test"])
        sets = sparse_sets(sparse_folder, self.count, speech, noise, rate, kind, overlap)
        if not self.hparams["pack"]:
            made = [make() for make, _ in sets.values()]
        else:
            where = {"sparse": str(sparse_folder), "speech": str(speech), "noise": str(noise)}
            folder = self.cache / "packed" / digest(where)
            made = [
                on_main_first(self.cache, partial(open_or_pack, make, folder / f"{name}_{rate}_{kind}", facts))
                for name, (make, facts) in sets.items()
            ]
        return Merged(made, [f"{name}/" for name in sets])

    def _embedded(self):
        folder, size = self.cache / f"embedded_{self.hparams['corpus']}", self.hparams["corpus"]
        made = on_main_first(self.cache, partial(embedded_librimix, folder, self.count, size))
        if self.settings["mixture_type"] == "mix_clean":
            made = {**made, "noise_folder": None}
        return made

    def _own_metadata(self, train_split):
        """Metadata for a folder that came without: made once for each folder and set of numbers."""
        source, noise = Path(self.hparams["librispeech_folder"]).resolve(), self.hparams["noise_folder"]
        train_split, train_count = SPLITS.get(train_split, train_split), self.hparams["num_train_mixtures"]
        splits = [train_split, "dev-clean", "test-clean"] if train_split else ["test-clean"]
        counts = {train_split: train_count} if train_split and train_count is not None else {}
        counts |= dict.fromkeys(splits[-2:] if train_split else splits, self.hparams["num_test_mixtures"])
        settings = {"source": str(source), "num_speakers": self.count, "num_mixtures": counts, "noise_folder": noise}
        folder = self.cache / "metadata" / f"{source.name}_{self.count}speakers_{digest(settings)}"

        def build(place):
            for name, paths in find_splits(source).items():
                check_names(paths if name in splits else [])
            make_metadata(source, place, self.count, noise, splits, counts)

        on_main_first(self.cache, lambda: build_once(folder, settings, build))
        return folder

    def _sparse_standin(self, root, noise):
        """Metadata like SparseLibriMix's for the test speakers at hand, made once."""
        if not root:
            raise ValueError(
                "sparse_folder: data_folder, a generated LibriMix, holds nothing to make it of; "
                "set --sparse_folder to SparseLibriMix as its script generates it"
            )
        source = Path(root).resolve()
        number = MIXTURES[self.hparams["corpus"]] if self.embedded else self.hparams["num_test_mixtures"]
        settings = {"source": str(source), "num_speakers": self.count, "noise_folder": noise and str(noise)}
        settings["count"] = math.ceil(number / len(OVERLAPS))
        folder = self.cache / "sparse" / f"{source.name}_{self.count}speakers_{digest(settings)}"

        def build(place):
            make_sparse_metadata(source, place, self.count, settings["count"], SPLITS["test"], noise)

        return on_main_first(self.cache, lambda: build_once(folder, settings, build))


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


def train_folder_of(folder, wanted):
    """The same as the name of the folder."""
    split = _train_split_of(folder, wanted)
    return SPLITS.get(split, split)
