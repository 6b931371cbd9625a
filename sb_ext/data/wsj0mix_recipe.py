"""wsj0-mix of any number of speakers from a recipe's data options."""

from functools import partial
from pathlib import Path

from sb_ext.data.building import build_once
from sb_ext.data.embedded import MIXTURES, SIZES
from sb_ext.data.librimix_recipe import train_folder_of
from sb_ext.data.preparing import corpora_folder, digest, on_main_first
from sb_ext.data.synthetic import make_corpus
from sb_ext.data.wsj0mix import wsj0_stores
from sb_ext.data.wsj0mix_lists import SPLITS
from sb_ext.data.wsj0mix_standin import make_mixing_lists
from sb_ext.values import check_choice

FOLDERS = ("data_folder", "wsj0_folder", "mixing_lists")
ROLES = dict(zip(("train", "valid", "test"), SPLITS, strict=True))


class Wsj0MixOptions:
    """Where a recipe's wsj0-mix comes from, for one number of speakers.

    Arguments
    ---------
    hparams : dict
        See :func:`sb_ext.data.recipes.prepare_wsj0mix`.
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
        self.own = hparams["librispeech_folder"]
        given = [key for key in (*FOLDERS, "librispeech_folder") if hparams[key]]
        if given not in ([], ["data_folder"], ["wsj0_folder", "mixing_lists"], ["librispeech_folder"]):
            raise ValueError(
                f"{given[0]}: received with {', '.join(given[1:]) or 'nothing else'}; give --data_folder alone, "
                "--wsj0_folder with --mixing_lists, --librispeech_folder for a stand-in of one's own speech, or none"
            )
        self.standin = not given or bool(self.own)
        check_choice("corpus", hparams["corpus"], SIZES)

    @property
    def description(self):
        """What the data is, for tables, but for the number of speakers."""
        if self.standin:
            source = (
                Path(self.own).name if self.own else f"embedded corpus {self.hparams['corpus']!r} (synthetic speech)"
            )
            return f"stand-in for WSJ0-mix made of {source}"
        return f"WSJ0-mix in {self.folders['data_folder']}" if self.folders["data_folder"] else "WSJ0-mix of WSJ0"

    def stores(self, test_only=False):
        """The stores by split, of the test alone or of all three."""
        folders = self._standin() if self.standin else self.folders
        roles = {"test": ROLES["test"]} if test_only else ROLES
        pack_folder = self.cache / "packed" / digest({key: str(folder) for key, folder in folders.items()})
        settings = {"num_speakers": self.count, "splits": tuple(roles.values())}
        settings |= {key: self.hparams[key] for key in ("sample_rate", "mode")}
        settings["pack_folder"] = pack_folder if self.hparams["pack"] else None
        made = on_main_first(self.cache, partial(wsj0_stores, **folders, **settings))
        return {role: made[split] for role, split in roles.items()}

    def _standin(self):
        """Mixing lists for the corpus at hand, made once."""
        if self.own:
            source, number = Path(self.own).resolve(), self.hparams["num_test_mixtures"]
            train = train_folder_of(source, self.hparams["train_split"])
        else:
            corpus = self.hparams["corpus"]
            folder = self.cache / f"embedded_{corpus}"
            source = on_main_first(self.cache, partial(make_corpus, folder, **SIZES[corpus], seed=0)) / "LibriSpeech"
            train, number = "train-clean-100", MIXTURES[corpus]
        counts = {"tr": self.hparams["num_train_mixtures"], "cv": number, "tt": number}
        splits = {"tr": train, "cv": "dev-clean", "tt": "test-clean"}
        settings = {"source": str(source), "num_speakers": self.count, "num_mixtures": counts, "splits": splits}
        folder = self.cache / "mixing_lists" / f"{source.name}_{self.count}speakers_{digest(settings)}"

        def build(place):
            make_mixing_lists(source, place, self.count, splits, counts)

        on_main_first(self.cache, lambda: build_once(folder, settings, build))
        return {"wsj0_folder": source, "mixing_lists": folder}
