"""Every recipe's file with every budget: spelt right, loads from anywhere."""

import os
from dataclasses import fields
from pathlib import Path

import pytest
import ruamel.yaml
from speechbrain.utils.run_opts import RunOptions

from sb_ext.command import parse
from sb_ext.experiment import load_hparams
from sb_ext.recipe_file import load_yaml
from sb_ext.yaml_keys import check_recipe, known_part

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
YAMLS = sorted(RECIPES.glob("*/hparams/*.yaml"))
BUDGETS = sorted((RECIPES / "blocks" / "budgets").glob("*.yaml"))
IRM = str(RECIPES / "LibriMix" / "hparams" / "irm.yaml")


def name_of(path):
    return f"{path.parents[1].name}/{path.stem}"


def load(*argv):
    """The hyperparameters that a command line gives."""
    return load_hparams(parse([str(word) for word in argv]))


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda path: path.stem)
def test_irm_takes_the_part_of_a_budget_that_it_knows(budget):
    overrides = parse([IRM, "--budget", budget.stem]).overrides
    assert "warmup_epochs" not in overrides and "separator" not in overrides
    assert overrides["segment_seconds"] == ruamel.yaml.YAML().load(budget)["segment_seconds"]
    load(IRM, "--budget", budget.stem)


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda path: path.stem)
def test_every_key_of_a_budget_is_known_to_some_recipe(budget):
    """A misspelt key in a budget would be ignored without a word by every recipe."""

    def keys(tree, prefix=""):
        for key, value in tree.items():
            yield from keys(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]

    settings = ruamel.yaml.YAML().load(budget)
    known = {key for recipe in YAMLS for key in keys(known_part(str(recipe), settings))}
    assert known == set(keys(settings))


@pytest.mark.parametrize("recipe", YAMLS, ids=name_of)
def test_every_recipe_is_spelt_right_and_loads(recipe):
    check_recipe(str(recipe))
    # What the paper takes from a hub is not at hand in a test.
    offline = ["--speech_model", "!apply:sb_ext.speech.small.untrained"] if "speech_model" in load_yaml(recipe) else []
    for words in (offline, ["--budget", "tiny"], ["--budget", "mini"]):
        assert "model" in load(recipe, *words)["separator"]


@pytest.mark.parametrize("recipe", YAMLS, ids=name_of)
def test_no_key_of_a_recipe_is_mistaken_for_a_run_option(recipe):
    options = {field.name for field in fields(RunOptions)}
    for key in load_yaml(recipe):
        assert not any(option.startswith(key) and option != key for option in options), key


@pytest.mark.parametrize("recipe", YAMLS, ids=name_of)
def test_recipes_load_from_any_folder(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load(recipe, "--budget", "tiny")
    monkeypatch.chdir(recipe.parents[1])
    load(os.path.join("hparams", recipe.name), "--budget", "tiny")


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda path: path.stem)
def test_the_recipe_that_starts_from_a_model_has_no_warm_up_under_any_budget(budget):
    realm = RECIPES / "REAL-M" / "hparams" / "mixcycle.yaml"
    assert load(realm, "--budget", budget.stem)["objective"].switch.is_over(1)
