"""LibriMix and SparseLibriMix of any number of speakers from a recipe's data options."""

import logging
import math
from functools import partial
from pathlib import Path

from sb_ext.data.embedded import MIXTURES, embedded_librimix
from sb_ext.data.librimix import stores
from sb_ext.data.librimix_generated import check_settings
from sb_ext.data.merged import Merged
from sb_ext.data.metadata import make_metadata
from sb_ext.data.packed import open_or_pack
from sb_ext.data.preparing import DataOptions, embedded_in_words, on_main_first, speaker_counts
from sb_ext.data.sparse import sparse_sets
from sb_ext.data.sparse_standin import OVERLAPS, make_sparse_metadata
from sb_ext.data.speech_folder import check_names, find_splits, noise_of

logger = logging.getLogger(__name__)

SPLITS = {"train-100": "train-clean-100", "train-360": "train-clean-360", "dev": "dev-clean", "test": "test-clean"}


class LibriMixOptions(DataOptions):
    """Where a recipe's LibriMix comes from, see :func:`sb_ext.data.recipes.prepare_librimix`."""

    FOLDERS = ("data_folder", "librispeech_folder", "metadata_folder", "noise_folder")

    def __init__(self, hparams, count):
        super().__init__(hparams, count)
        self.settings = {key: hparams[key] for key in ("sample_rate", "mode", "mixture_type")}
        self.settings["num_speakers"] = count
        self.embedded = not self.folders["data_folder"] and not self.folders["librispeech_folder"]
        counts = speaker_counts(hparams["num_speakers"])
        if counts != [count]:
            # A folder that was given for one number of speakers: the others' lie beside it.
            for key in ("data_folder", "metadata_folder"):
                folder = self.folders[key]
                if folder and Path(folder).name in [f"Libri{one}Mix" for one in counts]:
                    self.folders[key] = str(Path(folder).parent)

    def _check(self, given):
        kind = self.hparams["mixture_type"]
        check_settings(self.count, self.hparams["mode"], kind)
        if given and given != ["data_folder"] and given[0] != "librispeech_folder":
            raise ValueError(
                f"{given[0]}: received with {', '.join(given[1:]) or 'no librispeech_folder'}; give --data_folder "
                "alone, or --librispeech_folder with --metadata_folder and --noise_folder"
            )
        if given[:1] == ["librispeech_folder"] and kind != "mix_clean" and "noise_folder" not in given:
            raise ValueError(f"noise_folder: mixture_type {kind} needs noise; set --noise_folder")

    @property
    def description(self):
        """What the data is, for tables, but for the number of speakers."""
        if self.embedded:
            return embedded_in_words(self.hparams["corpus"])
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
        splits["pack_folder"] = self.pack_folder(folders)
        return on_main_first(self.cache, partial(stores, **folders, **self.settings, **splits))

    def sparse(self, overlap=None):
        """SparseLibriMix, or its stand-in where no ``sparse_folder`` is given; all overlap ratios, or one."""
        folders = self.folders | self._embedded() if self.embedded else self.folders
        rate, kind = self.settings["sample_rate"], self.settings["mixture_type"]
        root, noise = folders["librispeech_folder"], None if kind == "mix_clean" else folders["noise_folder"]
        sparse_folder = self.hparams.get("sparse_folder") or self._sparse_standin(root, noise)
        speech, noise = root and Path(root, SPLITS["test"]), noise and noise_of(noise, SPLITS["test"])
        sets = sparse_sets(sparse_folder, self.count, speech, noise, rate, kind, overlap)
        folder = self.pack_folder({"sparse": sparse_folder, "speech": speech, "noise": noise})
        opened = [
            partial(open_or_pack, make, folder / f"{name}_{rate}_{kind}", facts) if folder else make
            for name, (make, facts) in sets.items()
        ]
        return Merged([on_main_first(self.cache, one) for one in opened], [f"{name}/" for name in sets])

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
        counts |= dict.fromkeys(splits[-2:], self.hparams["num_test_mixtures"])

        def build(place):
            for name, paths in find_splits(source).items():
                check_names(paths if name in splits else [])
            make_metadata(source, place, self.count, noise, splits, counts)

        return self.made_once("metadata", source, {"num_mixtures": counts, "noise_folder": noise}, build)

    def _sparse_standin(self, root, noise):
        """Metadata like SparseLibriMix's for the test speakers at hand, made once."""
        if not root:
            raise ValueError(
                "sparse_folder: data_folder, a generated LibriMix, holds nothing to make it of; "
                "set --sparse_folder to SparseLibriMix as its script generates it"
            )
        source = Path(root).resolve()
        number = MIXTURES[self.hparams["corpus"]] if self.embedded else self.hparams["num_test_mixtures"]
        each = math.ceil(number / len(OVERLAPS))

        def build(place):
            make_sparse_metadata(source, place, self.count, each, SPLITS["test"], noise)

        return self.made_once("sparse", source, {"noise_folder": noise and str(noise), "count": each}, build)


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
