"""A row as the command line of its recipe."""

import json
import os
import shlex

from sb_ext.study.checks import StudyError
from sb_ext.study.row import is_folder

RUNS = os.path.join("results", "study")
"""Where training folders lie, below the repository's root."""


def training_folder(row, runs):
    """The row's output folder. A changed configuration has another one, so that nothing is resumed by mistake."""
    return os.path.join(runs, f"{row.id}-{row.fingerprint}")


def recipe_folder(row, root):
    """Where the row's ``train.py`` lies; of a module, the root."""
    return os.fspath(root) if row.module else os.path.join(root, "recipes", row.recipe)


def words(row, root, runs):
    """What stands behind ``python``, from within the folder of :func:`recipe_folder`.

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
    runs, here = os.path.join(root, runs), recipe_folder(row, root)
    output = os.path.relpath(training_folder(row, runs), here)
    needed = {f"{{{word}}}": os.path.relpath(training_folder(one, runs), here) for word, one in row.needs.items()}
    given = {key: _placed(value, needed) for key, value in {**row.corpus.settings, **row.overrides}.items()}
    for key, value in given.items():
        if is_folder(key) and isinstance(value, str) and not any(folder in value for folder in needed.values()):
            given[key] = os.path.relpath(os.path.join(root, value), here)
    seed, steps = str(row.seed), [] if row.steps is None else [str(row.steps)]
    if row.module:
        line = ["-m", row.module, given.pop("librispeech_folder"), *_options(row, given)]
        return [*line, "--seed", seed, "--out", output, *(["--steps", *steps] if steps else [])]
    line = ["train.py", f"hparams/{row.yaml}.yaml"]
    line += ["--budget", row.budget] if row.budget is not None else []
    line += [*_options(row, given), "--seed", seed, "--output_folder", output]
    return [*line, *(["--optimizer_step_limit", *steps] if steps else []), "--noprogressbar"]


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
    line = f"python {shlex.join(words(row, root, RUNS))}"
    return line if row.module else f"cd recipes/{row.recipe} && {line}"


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


def _options(row, given):
    return [
        word for key, value in given.items() for word in (f"--{key}", _checked(as_yaml(value), f"{row.name}: {key}"))
    ]


def _checked(text, where):
    # SpeechBrain joins the command line with "=", and splits it there again.
    if "=" in text or text.startswith("--"):
        raise StudyError(f"{where}: {text!r} cannot be passed on a recipe's command line; it must hold no '='")
    return text
