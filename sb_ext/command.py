"""What stands on the command line of a recipe: ``train.py RECIPE.yaml [--budget NAME] [--key value …]``."""

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

import ruamel.yaml
import torch
from speechbrain.utils.run_opts import RunOptions

from sb_ext.recipe_file import load_yaml, merge, what_is_wrong
from sb_ext.values import check_choice, check_values, nearest
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
        For an unknown budget, a value that a key cannot have, a device that is not there, what is not YAML; and
        sb_ext.yaml_keys.UnknownKeyError for a key that the recipe does not have.
    FileNotFoundError
        If there is no such recipe.
    """
    if not argv or {"-h", "--help"} & set(argv):
        raise SystemExit(HELP + (_keys_of(argv) if argv else ""))
    argv, budget = _take(list(argv), "--budget")
    _refuse_misreadings(argv)
    recipe, run_opts, overrides = RunOptions.from_command_line_args(argv)
    if not Path(recipe).is_file():
        raise FileNotFoundError(f"{recipe}: no such recipe; give a YAML file, for example hparams/mixcycle.yaml")
    check_recipe(recipe)
    overrides = _read_overrides(overrides)
    check_overrides(recipe, overrides)
    overrides = merge(_budget(budget, recipe), overrides)
    check_values(merge(load_yaml(recipe), overrides), recipe)
    return Command(recipe, _checked(run_opts, recipe), overrides)


def _read_overrides(text):
    """The overrides as a dict, from SpeechBrain's text of one ``key: value`` a line."""
    if not text:
        return {}
    lines = text.splitlines()
    if not re.match(r"[\w.]+:", lines[0]):
        raise ValueError(f"command line: expected --KEY VALUE after the recipe, received {lines[0]!r}")
    try:
        # ruamel keeps tags: --pairing "!new:sb_ext.mixing.SameIndexPairing"
        return ruamel.yaml.YAML().load(text)
    except ruamel.yaml.error.YAMLError as error:
        # A bracket that stays open is noticed at the end of the text only; the context says where it was opened.
        twice = "duplicate" in what_is_wrong(error)
        mark = getattr(error, "problem_mark" if twice else "context_mark", None)
        line = lines[mark.line] if mark else text
        raise ValueError(
            f"command line: --{line.replace(': ', ' ', 1)}: is not YAML ({what_is_wrong(error)})"
        ) from None


def _checked(run_opts, recipe):
    """SpeechBrain's run options, with numbers in their range and a device that is there."""
    limit, device = run_opts.optimizer_step_limit, run_opts.device
    if limit is not None:
        # SpeechBrain 1.1.2 leaves it a string.
        run_opts = replace(run_opts, optimizer_step_limit=int(limit) if limit.isdecimal() else limit)
    check_values({name: getattr(run_opts, name) for name in run_opts.overridden_args}, recipe)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device: {device!r} is not here ({reason}); set --device to one of {', '.join(there)}"
        ) from None
    return run_opts


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


def _refuse_misreadings(argv):
    """argparse would take ``--max_grad`` for ``--max_grad_norm``, SpeechBrain cut ``lr=0.1`` in two: say so instead."""
    options = {field.name for field in fields(RunOptions)}
    for word in argv:
        name, _, value = word.removeprefix("--").partition("=")
        if "=" in (value if word.startswith("--") else word):
            raise ValueError(f"command line: {word}: a value cannot hold '='; change it, or write it into the recipe")
        if word.startswith("--") and name not in options and any(option.startswith(name) for option in options):
            raise ValueError(f"command line: unknown key --{name}; did you mean --{nearest(name, options)}?")


def _budget(name, recipe):
    """The overrides of a budget, those that this recipe knows."""
    if name is None:
        return {}
    folder = next((parent / BUDGETS for parent in Path(recipe).resolve().parents if (parent / BUDGETS).is_dir()), None)
    known = sorted(path.stem for path in folder.glob("*.yaml")) if folder else []
    check_choice("--budget", name, known)
    return known_part(recipe, load_yaml(folder / f"{name}.yaml"))


def _keys_of(argv):
    recipe = next((word for word in argv if word.endswith((".yaml", ".yml")) and Path(word).is_file()), None)
    if recipe is None:
        return ""
    lines = Path(recipe).read_text(encoding="utf-8").splitlines()
    shown = [f"  --{line}" for line in lines if line[:1].isalpha()]
    return f"\nkeys of {recipe}, with their values:\n" + "\n".join(shown) + "\n"
