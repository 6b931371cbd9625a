"""What all data preparation shares: where things are made, by which process, under which name."""

import contextlib
import errno
import hashlib
import json
import os
import re
from functools import partial
from pathlib import Path

from speechbrain.utils.distributed import if_main_process, run_on_main

from sb_ext.data.building import build_once
from sb_ext.data.embedded import SIZES
from sb_ext.data.packed import open_or_pack
from sb_ext.data.synthetic import make_corpus
from sb_ext.values import check_choice


class DataOptions:
    """Where a recipe's mixtures come from, for one number of speakers; data sets inherit and fill in the rest.

    Arguments
    ---------
    hparams : dict
        See the function in :mod:`sb_ext.data.recipes` that is given them.
    count : int
        Speakers a mixture.

    Raises
    ------
    ValueError
        If the options contradict one another.
    """

    FOLDERS = ()
    """The keys of the folders that data may come from."""

    def __init__(self, hparams, count):
        self.hparams, self.count = hparams, count
        self.cache = corpora_folder(hparams["corpora_folder"])
        self.folders = {key: hparams[key] for key in self.FOLDERS}
        check_choice("corpus", hparams["corpus"], SIZES)
        self._check([key for key in self.FOLDERS if self.folders[key]])

    def _check(self, given):
        """Raise ValueError where the folders given, by key, make no sense together."""

    def pack_folder(self, places):
        """One for each dict of places that data comes from, lest two corpora take turns; None without packing."""
        if not self.hparams["pack"]:
            return None
        return self.cache / "packed" / digest({key: str(place) for key, place in places.items()})

    def made_once(self, kind, source, settings, build):
        """The folder of a ``kind`` that ``build`` fills, once for each source folder and for what it depends on."""
        settings = {"source": str(source), "num_speakers": self.count, **settings}
        folder = self.cache / kind / f"{source.name}_{self.count}speakers_{digest(settings)}"
        return on_main_first(self.cache, partial(build_once, folder, settings, build))


def corpora_folder(folder=None):
    """Where corpora are made and data is packed: the folder given, ``$SB_EXT_CORPORA``, or ``~/.cache/sb_ext``."""
    return Path(folder or os.environ.get("SB_EXT_CORPORA") or Path.home() / ".cache" / "sb_ext").expanduser()


def on_main_first(cache, make):
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


def digest(settings):
    """Ten letters that tell settings in JSON's types from others."""
    return hashlib.sha1(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]


def packed_files(store, cache, folder, split):
    """A store of files in a folder, packed: anew where files came, went, or changed their length."""
    facts = {"folder": str(Path(folder).resolve()), "split": split, "sample_rate": store.sample_rate}
    facts["files"] = digest([[name, int(length)] for name, length in zip(store.ids, store.lengths, strict=True)])
    return on_main_first(cache, lambda: open_or_pack(lambda: store, cache / "packed" / digest(facts), facts))


def embedded_speech(cache, corpus):
    """The folder with the speech of an embedded corpus, made once; its mixtures are not."""
    make = partial(make_corpus, cache / f"embedded_{corpus}", **SIZES[corpus], seed=0)
    return on_main_first(cache, make) / "LibriSpeech"


def embedded_in_words(corpus):
    """What an embedded corpus is, for tables."""
    return f"embedded corpus {corpus!r} (synthetic speech)"


def speaker_counts(value):
    """The numbers of speakers that ``num_speakers`` asks for, in ascending order.

    Example
    -------
    >>> speaker_counts(2), speaker_counts([3, 2])
    ([2], [2, 3])
    """
    return sorted(set(value)) if isinstance(value, list) else [value]


def in_words(counts):
    """Numbers of speakers in words.

    Example
    -------
    >>> in_words([2]), in_words([2, 3])
    ('2 speakers', '2 and 3 speakers')
    """
    return f"{' and '.join(map(str, counts))} speakers"


def read_test_set(name, pattern, examples):
    """The named parts of a test set's name; raises ValueError, with examples, for a name that does not fit.

    Example
    -------
    >>> read_test_set("3mix", r"(?P<count>[2-9])mix", "2mix")
    {'count': '3'}
    """
    found = re.fullmatch(pattern, str(name))
    if not found:
        raise ValueError(f"test_sets: expected names such as {examples}, received {name!r}; correct --test_sets")
    return found.groupdict()


@contextlib.contextmanager
def naming_test_set(name):
    """Let an error in the making of a test set begin with its name."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f"test_sets: {name} cannot be had: {error}; or leave it out of --test_sets") from None
