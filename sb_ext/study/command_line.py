"""A row as the command line of its recipe."""

import json
import os
import shlex

from sb_ext.study.checks import StudyError
from sb_ext.study.row import NEEDS, is_folder

RUNS = os.path.join("results", "study")
"""Where training folders lie, below the repository's root."""


def training_folder(row, runs):
    """The row's output folder. A changed configuration has another one, so that nothing is resumed by mistake."""
    return os.path.join(runs, f"{row.id}-{row.fingerprint}")


def recipe_folder(row, root):
    """Where the row's ``train.py`` lies."""
    return os.path.join(root, "recipes", row.recipe)


def words(row, root, runs):
    """What stands behind ``python``, from within the recipe's folder.

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
    root, here = os.path.realpath(root), recipe_folder(row, os.path.realpath(root))
    runs = os.path.join(root, runs)
    needed = row.needs and os.path.relpath(training_folder(row.needs, runs), root)
    line = ["train.py", f"hparams/{row.yaml}.yaml"]
    line += ["--budget", row.budget] if row.budget is not None else []
    for key, value in {**row.corpus.settings, **row.overrides}.items():
        if is_folder(key) and isinstance(value, str):
            value = os.path.relpath(os.path.join(root, value.replace(NEEDS, needed or "")), here)
        elif needed:
            value = _replaced(value, os.path.relpath(os.path.join(root, needed), here))
        line += [f"--{key}", _checked(as_yaml(value), f"{row.name}: {key}")]
    line += ["--seed", str(row.seed), "--output_folder", os.path.relpath(training_folder(row, runs), here)]
    line += ["--optimizer_step_limit", str(row.steps)] if row.steps is not None else []
    return [*line, "--noprogressbar"]


def shown(row, root):
    """The command line as anyone may type it at the repository's root, with no path of this machine.

    Example
    -------
    >>> from sb_ext.study.row import Corpus, Row
    >>> data = Corpus("tiny", "synthetic", {"librispeech_folder": "../data/Mini"})
    >>> row = Row("a", "A", "LibriMix", "pit", data, "mini", 9, None, {"pairing": "!new:x.Y"}, 1)
    >>> shown(row, "/home").partition(" --output_folder")[0]
    "cd recipes/LibriMix && python train.py hparams/pit.yaml --budget mini --librispeech_folder ../../../data/Mini \
--pairing '!new:x.Y' --seed 1"
    """
    return f"cd recipes/{row.recipe} && python {shlex.join(words(row, root, RUNS))}"


def as_yaml(value):
    """A value of an override on one line of YAML; text that begins with ``!`` is a tag.

    Example
    -------
    >>> as_yaml({"decay": 0.9, "teacher": "!new:a.B", "sizes": [1, 2], "name": None})
    '{decay: 0.9, teacher: !new:a.B , sizes: [1, 2], name: null}'
    >>> as_yaml("!new:a.B"), as_yaml("plain"), as_yaml({"name": "plain"})
    ('!new:a.B', 'plain', '{name: "plain"}')
    """
    return value if isinstance(value, str) else _flow(value)


def _flow(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and value.startswith("!"):
        # Without the blank, YAML takes a comma or a bracket for part of the tag.
        return f"{value} "
    return json.dumps(value)


def _replaced(value, needed):
    if isinstance(value, dict):
        return {key: _replaced(item, needed) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, needed) for item in value]
    return value.replace(NEEDS, needed) if isinstance(value, str) else value


def _checked(text, where):
    # SpeechBrain joins the command line with "=", and splits it there again.
    if "=" in text or text.startswith("--"):
        raise StudyError(f"{where}: {text!r} cannot be passed on a recipe's command line; it must hold no '='")
    return text
