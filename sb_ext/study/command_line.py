"""A row as a command line."""

import os
import shlex

from sb_ext.study.row import is_folder

RUNS = os.path.join("results", "study")
"""Where training folders lie, below the repository's root."""


def training_folder(row, runs):
    """The row's output folder. A changed configuration has another one, so that nothing is resumed by mistake."""
    return os.path.join(runs, f"{row.id}-{row.fingerprint}")


def words(row, root, runs):
    """What stands behind ``python``, from within the folder of the row's program.

    Arguments
    ---------
    row : Row
    root : path
        The repository's root.
    runs : path
        The folder of all training folders.

    Returns
    -------
    list of str
    """
    root = os.path.realpath(root)
    here, runs = row.program.folder(root), os.path.join(root, runs)
    needed = {f"{{{word}}}": os.path.relpath(training_folder(one, runs), here) for word, one in row.needs.items()}
    values = {}
    for key, value in {**row.corpus.settings, **row.overrides}.items():
        values[key] = _placed(value, needed)
        if is_folder(key) and isinstance(value, str) and values[key] == value:
            values[key] = os.path.relpath(os.path.join(root, value), here)
    return row.program.words(row, values, os.path.relpath(training_folder(row, runs), here))


def shown(row, root):
    """The command line as anyone may type it at the repository's root, with no path of this machine.

    Example
    -------
    >>> from sb_ext.study.program import Recipe
    >>> from sb_ext.study.row import Corpus, Row
    >>> data = Corpus("tiny", "synthetic", {"librispeech_folder": "../data/Mini"})
    >>> row = Row("a", "A", Recipe("LibriMix", "pit"), data, "mini", 9, None, {"pairing": "!new:x.Y"}, 1)
    >>> shown(row, "/home").partition(" --output_folder")[0]
    "cd recipes/LibriMix && python train.py hparams/pit.yaml --budget mini --librispeech_folder ../../../data/Mini \
--pairing '!new:x.Y' --seed 1"
    """
    line, folder = f"python {shlex.join(words(row, root, RUNS))}", os.path.relpath(row.program.folder(root), root)
    return line if folder == os.curdir else f"cd {folder} && {line}"


def _placed(value, needed):
    """A value with folders in the place of the words that stand for them."""
    if isinstance(value, dict):
        return {key: _placed(item, needed) for key, item in value.items()}
    if isinstance(value, list):
        return [_placed(item, needed) for item in value]
    if isinstance(value, str):
        for word, folder in needed.items():
            value = value.replace(word, folder)
    return value
