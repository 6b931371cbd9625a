"""What a row runs: a recipe with one of its YAML files, or a command of sb_ext."""

import json
import os
from dataclasses import dataclass
from importlib.util import find_spec

from sb_ext.study.checks import StudyError


@dataclass(frozen=True)
class Recipe:
    """``train.py`` of a folder of ``recipes/``, with a file of its ``hparams/``; ``name.yaml`` without the ending."""

    recipe: str
    yaml: str

    tests_apart = True
    """Whether what was trained can be tested by the same words with ``--test_only``."""

    @property
    def configuration(self):
        """What of it a record keeps."""
        return {"recipe": self.recipe, "yaml": self.yaml}

    def folder(self, root):
        """Where it is run."""
        return os.path.join(root, "recipes", self.recipe)

    def check(self, root, where):
        """Raise StudyError where it is not there."""
        path = os.path.join(self.folder(root), "hparams", f"{self.yaml}.yaml")
        if not os.path.isfile(path):
            raise StudyError(f"{where}: no recipe {path}; correct 'recipe' or 'yaml'")

    def words(self, row, values, output):
        """What stands behind ``python``: the row's options are in ``values``, its training goes to ``output``."""
        budget = [] if row.budget is None else ["--budget", row.budget]
        limit = [] if row.steps is None else ["--optimizer_step_limit", str(row.steps)]
        line = ["train.py", f"hparams/{self.yaml}.yaml", *budget, *options(values, row.name)]
        return [*line, "--seed", str(row.seed), "--output_folder", output, *limit, "--noprogressbar"]


@dataclass(frozen=True)
class Module:
    """``python -m NAME FOLDER --out DIR --seed S --steps N``, where FOLDER is the corpus' ``librispeech_folder``."""

    name: str

    tests_apart = False

    @property
    def configuration(self):
        """See Recipe."""
        return {"module": self.name}

    def folder(self, root):
        """See Recipe."""
        return os.fspath(root)

    def check(self, root, where):
        """See Recipe."""
        if not find_spec(self.name):
            raise StudyError(f"{where}: no module {self.name}; correct 'module'")

    def words(self, row, values, output):
        """See Recipe."""
        limit = [] if row.steps is None else ["--steps", str(row.steps)]
        rest = {key: value for key, value in values.items() if key != "librispeech_folder"}
        line = ["-m", self.name, values["librispeech_folder"], *options(rest, row.name)]
        return [*line, "--seed", str(row.seed), "--out", output, *limit]


def options(values, name):
    """``--key value`` for each of ``values``; StudyError, which names the row, for one that cannot be passed so.

    Example
    -------
    >>> options({"batch_size": 4, "part": {"a": None}}, "pit")
    ['--batch_size', '4', '--part', '{a: null}']
    """
    words = []
    for key, value in values.items():
        text = as_yaml(value)
        # SpeechBrain joins the command line with "=", and splits it there again.
        if "=" in text or text.startswith("--"):
            raise StudyError(
                f"{name}: {key}: {text!r} cannot be passed on a recipe's command line; it must hold no '='"
            )
        words += [f"--{key}", text]
    return words


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
