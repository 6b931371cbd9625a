"""One row of the study: what is trained, on what, for how long."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import PurePath

from sb_ext.study.program import Module, Recipe

NEEDS = "needs"
"""In braces, the word that stands in an override for the training folder of the row that is needed."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Data to train and test on: ``about`` says in a table what it is, ``settings`` are overrides of a recipe."""

    name: str
    about: str
    settings: dict


@dataclass(frozen=True, eq=False)
class Row:
    """One training: a program on a corpus, from a seed, within ``steps`` or ``minutes`` (or None).

    ``program`` is a Recipe or a Module of program.py. ``needs`` has the Rows whose trained models this one starts from,
    by the words that stand for them in the overrides. ``budget_digest`` changes with the values in the budget's file.
    """

    name: str
    label: str
    program: Recipe | Module
    corpus: Corpus
    budget: str | None
    steps: int | None
    minutes: float | None
    overrides: dict
    seed: int
    needs: dict = field(default_factory=dict)
    budget_digest: str = ""

    @property
    def id(self):
        """The name of the row's results."""
        return f"{self.name}-seed{self.seed}"

    @property
    def configuration(self):
        """Everything that the row's figures depend on, but for the code."""
        return {
            **self.program.configuration,
            "corpus": self.corpus.name,
            "budget": self.budget,
            "steps": self.steps,
            "minutes": self.minutes,
            "overrides": self.overrides,
            "seed": self.seed,
        }

    @property
    def fingerprint(self):
        """Eight characters that change with the configuration, and not with where a corpus lies."""
        # Another machine may keep the corpus elsewhere, and it is still the same corpus.
        data = {key: PurePath(value).name if is_folder(key) else value for key, value in self.corpus.settings.items()}
        needs = {word: row.fingerprint for word, row in self.needs.items()}
        # As it was when a row could need one other only.
        needs = needs.get(NEEDS) if needs.keys() <= {NEEDS} else needs
        text = json.dumps([self.configuration, data, needs, self.budget_digest], sort_keys=True)
        return hashlib.sha1(text.encode()).hexdigest()[:8]


def is_folder(key):
    """Whether an override is a path, in the study's files relative to the repository's root."""
    return key.endswith("_folder")
