"""wsj0-mix of any number of speakers from a recipe's data options."""

from functools import partial
from pathlib import Path

from sb_ext.data.embedded import MIXTURES
from sb_ext.data.librimix_recipe import train_folder_of
from sb_ext.data.preparing import DataOptions, embedded_in_words, embedded_speech, on_main_first
from sb_ext.data.wsj0mix import wsj0_stores
from sb_ext.data.wsj0mix_lists import SPLITS
from sb_ext.data.wsj0mix_standin import make_mixing_lists

ROLES = dict(zip(("train", "valid", "test"), SPLITS, strict=True))


class Wsj0MixOptions(DataOptions):
    """Where a recipe's wsj0-mix comes from, see :func:`sb_ext.data.recipes.prepare_wsj0mix`."""

    FOLDERS = ("data_folder", "wsj0_folder", "mixing_lists", "librispeech_folder")

    def __init__(self, hparams, count):
        super().__init__(hparams, count)
        self.own = self.folders.pop("librispeech_folder")
        self.standin = not any(self.folders.values())

    def _check(self, given):
        if given not in ([], ["data_folder"], ["wsj0_folder", "mixing_lists"], ["librispeech_folder"]):
            raise ValueError(
                f"{given[0]}: received with {', '.join(given[1:]) or 'nothing else'}; give --data_folder alone, "
                "--wsj0_folder with --mixing_lists, --librispeech_folder for a stand-in of one's own speech, or none"
            )

    @property
    def description(self):
        """What the data is, for tables, but for the number of speakers."""
        if self.standin:
            source = Path(self.own).name if self.own else embedded_in_words(self.hparams["corpus"])
            return f"stand-in for WSJ0-mix made of {source}"
        return f"WSJ0-mix in {self.folders['data_folder']}" if self.folders["data_folder"] else "WSJ0-mix of WSJ0"

    def stores(self, test_only=False):
        """The stores by split, of the test alone or of all three."""
        folders = self._standin() if self.standin else self.folders
        roles = {"test": ROLES["test"]} if test_only else ROLES
        settings = {"num_speakers": self.count, "splits": tuple(roles.values())}
        settings |= {key: self.hparams[key] for key in ("sample_rate", "mode")}
        settings["pack_folder"] = self.pack_folder(folders)
        made = on_main_first(self.cache, partial(wsj0_stores, **folders, **settings))
        return {role: made[split] for role, split in roles.items()}

    def _standin(self):
        """Mixing lists for the corpus at hand, made once."""
        if self.own:
            source, number = Path(self.own).resolve(), self.hparams["num_test_mixtures"]
            train = train_folder_of(source, self.hparams["train_split"])
        else:
            source, number = embedded_speech(self.cache, self.hparams["corpus"]), MIXTURES[self.hparams["corpus"]]
            train = "train-clean-100"
        counts = {"tr": self.hparams["num_train_mixtures"], "cv": number, "tt": number}
        splits = {"tr": train, "cv": "dev-clean", "tt": "test-clean"}

        def build(place):
            make_mixing_lists(source, place, self.count, splits, counts)

        settings = {"num_mixtures": counts, "splits": splits}
        return {"wsj0_folder": source, "mixing_lists": self.made_once("mixing_lists", source, settings, build)}
