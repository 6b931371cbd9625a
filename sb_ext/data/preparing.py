"""What all data preparation shares: where things are made, by which process, under which name."""

import contextlib
import errno
import hashlib
import json
import os
import re
from pathlib import Path

from speechbrain.utils.distributed import if_main_process, run_on_main


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
