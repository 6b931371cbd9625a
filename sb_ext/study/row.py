"""One row of the study: what is trained, on what, for how long."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePath

NEEDS = "{needs}"
"""Stands in an override for the training folder of the row that is needed."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Data to train and test on: ``about`` says in a table what it is, ``settings`` are overrides of a recipe."""

    name: str
    about: str
    settings: dict


@dataclass(frozen=True, eq=False)
class Row:
    """One training: a recipe with a YAML file, on a corpus, from a seed, within ``steps`` or ``minutes`` (or None).

    ``needs`` is the Row whose trained model this one starts from, or None. ``budget_digest`` changes with the values in
    the budget's file.
    """

    name: str
    label: str
    recipe: str
    yaml: str
    corpus: Corpus
    budget: str | None
    steps: int | None
    minutes: float | None
    overrides: dict
    seed: int
    needs: "Row | None" = None
    budget_digest: str = ""

    @property
    def id(self):
        """The name of the row's results."""
        return f"{self.name}-seed{self.seed}"

    @property
    def configuration(self):
        """Everything that the row's figures depend on, but for the code."""
        return {
            "recipe": self.recipe,
            "yaml": self.yaml,
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
        needs = self.needs and self.needs.fingerprint
        text = json.dumps([self.configuration, data, needs, self.budget_digest], sort_keys=True)
        return hashlib.sha1(text.encode()).hexdigest()[:8]


def is_folder(key):
    """Whether an override is a path, in the study's files relative to the repository's root."""
    return key.endswith("_folder")
