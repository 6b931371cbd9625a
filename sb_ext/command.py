"""What stands on the command line of a recipe: ``train.py RECIPE.yaml [--budget NAME] [--key value …]``."""

import difflib
from dataclasses import dataclass, fields, replace
from pathlib import Path

import ruamel.yaml
from speechbrain.utils.run_opts import RunOptions

from sb_ext.recipe_file import merge
from sb_ext.yaml_keys import check_overrides, check_recipe, known_part

BUDGETS = Path("blocks", "budgets")

HELP = """usage: python train.py RECIPE.yaml [--budget NAME] [--KEY VALUE ...] [RUN OPTIONS]

  RECIPE.yaml       a file of hparams/; every key in it can be set as --KEY VALUE,
                    a key inside a block as --BLOCK "{KEY: VALUE}"
  --budget NAME     a small-machine budget in place of the paper's settings: blocks/budgets/NAME.yaml
  run options       SpeechBrain's own: --device, --precision, --debug, --compile_module_keys, --test_only, ...

Without data options a recipe runs on the embedded synthetic corpus. The same command resumes a run that was stopped.
"""


@dataclass
class Command:
    """A parsed command line: the recipe's path, SpeechBrain's run options, the overrides as a dict."""

    recipe: str
    run_opts: RunOptions
    overrides: dict


def parse(argv):
    """Read and check a command line.

    Arguments
    ---------
    argv : list of str
        Without the program's name.

    Returns
    -------
    Command

    Raises
    ------
    SystemExit
        With the usage, for ``--help`` or without a recipe.
    ValueError
        For an unknown budget, and sb_ext.yaml_keys.UnknownKeyError for a key that the recipe does not have.
    FileNotFoundError
        If there is no such recipe.
    """
    if not argv or {"-h", "--help"} & set(argv):
        raise SystemExit(HELP + (_keys_of(argv) if argv else ""))
    argv, budget = _take(list(argv), "--budget")
    _refuse_prefixes(argv)
    recipe, run_opts, overrides = RunOptions.from_command_line_args(argv)
    if not Path(recipe).is_file():
        raise FileNotFoundError(f"{recipe}: no such recipe; give a YAML file, for example hparams/mixcycle.yaml")
    check_recipe(recipe)
    # ruamel keeps tags: --pairing "!new:sb_ext.mixing.SameIndexPairing"
    overrides = ruamel.yaml.YAML().load(overrides) if overrides else {}
    check_overrides(recipe, overrides)
    if run_opts.optimizer_step_limit is not None:
        # SpeechBrain 1.1.2 leaves it a string.
        run_opts = replace(run_opts, optimizer_step_limit=int(run_opts.optimizer_step_limit))
    return Command(recipe, run_opts, merge(_budget(budget, recipe), overrides))


def _take(argv, name):
    """``argv`` without an option and its value, and the value."""
    for place, word in enumerate(argv):
        if word == name:
            if place + 1 == len(argv):
                raise ValueError(f"{name}: expected a value")
            return argv[:place] + argv[place + 2 :], argv[place + 1]
        if word.startswith(name + "="):
            return argv[:place] + argv[place + 1 :], word.partition("=")[2]
    return argv, None


def _refuse_prefixes(argv):
    """argparse would take ``--max_grad`` for ``--max_grad_norm``: say so instead."""
    options = {field.name for field in fields(RunOptions)}
    for word in argv:
        name = word.removeprefix("--").partition("=")[0]
        if word.startswith("--") and name not in options and any(option.startswith(name) for option in options):
            near = difflib.get_close_matches(name, options, n=1, cutoff=0.0)[0]
            raise ValueError(f"command line: unknown key --{name}; did you mean --{near}?")


def _budget(name, recipe):
    """The overrides of a budget, those that this recipe knows."""
    if name is None:
        return {}
    folder = next((parent / BUDGETS for parent in Path(recipe).resolve().parents if (parent / BUDGETS).is_dir()), None)
    known = sorted(path.stem for path in folder.glob("*.yaml")) if folder else []
    if name not in known:
        raise ValueError(f"--budget: expected one of {known}, received {name!r}")
    return known_part(recipe, ruamel.yaml.YAML().load((folder / f"{name}.yaml").read_text(encoding="utf-8")))


def _keys_of(argv):
    recipe = next((word for word in argv if word.endswith((".yaml", ".yml")) and Path(word).is_file()), None)
    if recipe is None:
        return ""
    lines = Path(recipe).read_text(encoding="utf-8").splitlines()
    shown = [f"  --{line}" for line in lines if line[:1].isalpha()]
    return f"\nkeys of {recipe}, with their values:\n" + "\n".join(shown) + "\n"
