"""The study's rows: what ``study/rows.yaml`` says, checked and expanded to one row a seed."""

import hashlib
import json
import re
from pathlib import Path

from sb_ext.configuration import flattened
from sb_ext.recipe_file import load_yaml
from sb_ext.study.checks import StudyError, one_of, read_yaml, require_keys, require_type
from sb_ext.study.program import Module, Recipe
from sb_ext.study.row import NEEDS, Corpus, Row
from sb_ext.yaml_keys import known_part

SHARED_KEYS = ("recipe", "corpus", "budget", "steps", "minutes", "overrides", "seeds")
ROW_KEYS = ("name", "label", "yaml", "needs", *SHARED_KEYS)
MODULE_KEYS = ("name", "label", "module", "corpus", "steps", "overrides", "seeds")
SET_BY_STUDY = ("seed", "output_folder")
COUNTS = {"steps": (int, "a whole number above 0"), "minutes": ((int, float), "a number above 0")}


def merge(base, over):
    """``base`` with the values of ``over``, nested dicts key by key.

    Example
    -------
    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def read_rows(path, root="."):
    """The rows of a file, in its order.

    Arguments
    ---------
    path : path
        A YAML file with ``defaults``, ``corpora`` and ``rows``.
    root : path
        The repository's root, below which the budgets lie.

    Returns
    -------
    list of Row

    Raises
    ------
    StudyError
        Naming the row and key that cannot be what was meant.

    Example
    -------
    >>> path = getfixture("tmp_path") / "rows.yaml"
    >>> _ = path.write_text('''
    ... corpora: {tiny: {about: synthetic speech, corpus: tiny}}
    ... rows: [{name: pit-tiny, recipe: LibriMix, yaml: pit, corpus: tiny, seeds: [0, 1]}]
    ... ''')
    >>> [row.id for row in read_rows(path)]
    ['pit-tiny-seed0', 'pit-tiny-seed1']
    """
    file = read_yaml(path)
    require_keys(file, ("defaults", "corpora", "rows"), str(path), required=("corpora", "rows"))
    defaults = file.get("defaults") or {}
    require_keys(defaults, SHARED_KEYS, f"{path}: defaults")
    corpora = _corpora(file["corpora"], f"{path}: corpora")
    expanded = {}
    for place, given in enumerate(require_type(file["rows"], list, f"{path}: rows", "a list"), 1):
        module = isinstance(given, dict) and "module" in given
        keys, what = (MODULE_KEYS, "module") if module else (ROW_KEYS, "yaml")
        require_keys(given, keys, f"{path}: row {place}", required=("name", what))
        where = f"{path}: row {given['name']!r}"
        if given["name"] in expanded:
            raise StudyError(f"{where}: a second row of this name; give each its own")
        general = {"recipe": "LibriMix", "seeds": [0], **({} if module else defaults)}
        overrides = merge(*(_overrides(part, where) for part in (general, given)))
        settings = {**general, **given, "overrides": overrides}
        settings["budget_digest"] = _budget_digest(settings, root, where)
        expanded[given["name"]] = _expand(settings, corpora, expanded, where)
    return [row for rows in expanded.values() for row in rows.values()]


def _budget_digest(settings, root, where):
    """Changes with the values of a budget that the row's recipe knows, and not with those for other recipes."""
    name = settings.get("budget")
    if name is None:
        return ""
    recipes = Path(root, "recipes")
    folder = recipes / "blocks" / "budgets"
    one_of(name, sorted(path.stem for path in folder.glob("*.yaml")), f"{where}: budget (files in {folder})")
    values = load_yaml(folder / f"{name}.yaml")
    recipe = recipes / settings["recipe"] / "hparams" / f"{settings['yaml']}.yaml"
    known = known_part(recipe, values) if recipe.is_file() else values
    return hashlib.sha1(repr(sorted(flattened(known).items())).encode()).hexdigest()[:8]


def _corpora(given, where):
    require_type(given, dict, where, "names with their settings")
    for name, settings in given.items():
        require_type(settings, dict, f"{where}: {name}", "settings, with 'about'")
        if not isinstance(settings.get("about"), str):
            raise StudyError(f"{where}: {name}: 'about' is missing: say in words what this data is, for the tables")
    return {
        name: Corpus(name, settings["about"], {key: value for key, value in settings.items() if key != "about"})
        for name, settings in given.items()
    }


def _overrides(part, where):
    overrides = require_type(part.get("overrides") or {}, dict, f"{where}: overrides", "keys and values")
    for key in SET_BY_STUDY:
        if key in overrides:
            raise StudyError(f"{where}: overrides: {key} is set by the study; take it out (seeds go under 'seeds')")
    return overrides


def _expand(settings, corpora, earlier, where):
    """Seed to Row."""
    require_type(settings["seeds"], list, f"{where}: seeds", "a list of whole numbers")
    for seed in settings["seeds"]:
        require_type(seed, int, f"{where}: seeds", "whole numbers")
    for key, (kind, what) in COUNTS.items():
        value = settings.get(key)
        if value is not None and require_type(value, kind, f"{where}: {key}", what) <= 0:
            raise StudyError(f"{where}: {key}: expected {what}, received {value!r}")
    corpus = corpora[one_of(settings.get("corpus"), corpora, f"{where}: corpus")]
    program = _program(settings, corpus, where)
    needed = _needed(settings, earlier, where)
    return {
        seed: Row(
            name=settings["name"],
            label=settings.get("label", settings["name"]),
            program=program,
            corpus=corpus,
            budget=settings.get("budget"),
            steps=settings.get("steps"),
            minutes=settings.get("minutes"),
            overrides=settings["overrides"],
            seed=seed,
            needs={word: of_seed[seed] for word, of_seed in needed.items()},
            budget_digest=settings["budget_digest"],
        )
        for seed in settings["seeds"]
    }


def _program(settings, corpus, where):
    if "module" not in settings:
        return Recipe(settings["recipe"], settings["yaml"])
    if "librispeech_folder" not in corpus.settings:
        raise StudyError(f"{where}: corpus: {corpus.name!r} has no librispeech_folder, which a module is given")
    return Module(settings["module"])


def _needed(settings, earlier, where):
    """Word to the Row that stands for it, by seed."""
    given = settings.get("needs") or {}
    if isinstance(given, str):
        given = {NEEDS: given}
    require_type(given, dict, f"{where}: needs", "a row, or words with rows")
    text = json.dumps(settings["overrides"])
    for word in given:
        if f"{{{word}}}" not in text:
            raise StudyError(f"{where}: needs: no override says where the folder goes; write it as {{{word}}}")
    unknown = [word for word in re.findall(r"\{(\w+)\}", text) if word not in given]
    if unknown:
        raise StudyError(f"{where}: overrides: {{{unknown[0]}}} stands there and 'needs' names no row for it")
    return {word: _by_seed(name, settings["seeds"], earlier, where) for word, name in given.items()}


def _by_seed(name, seeds, earlier, where):
    """Seed to the row of this name and seed, or to its only one."""
    rows = earlier[one_of(name, earlier, f"{where}: needs (rows above it)")]
    missing = [seed for seed in seeds if seed not in rows]
    if missing and len(rows) > 1:
        raise StudyError(f"{where}: seeds: {name!r} has no seed {missing[0]}, which is needed; add it")
    return {seed: rows.get(seed) or next(iter(rows.values())) for seed in seeds}
