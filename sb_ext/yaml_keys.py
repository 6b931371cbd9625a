"""Finds misspelt keys in a recipe before anything is built.

HyperPyYAML adds an unknown key inside an include, or an unknown override below the top level, without a word.
"""

import inspect
import os
import pydoc
import re

from sb_ext.recipe_file import load_yaml, tag_of
from sb_ext.values import RULES, check_like, nearest

# What every recipe must say, since sb_ext.experiment reads it.
REQUIRED = (
    "output_folder", "seed", "sample_rate", "segment_seconds", "valid_segment_seconds", "passes_per_epoch",
    "batch_size", "valid_batch_size", "test_batch_size", "num_workers", "select_by", "scheduler", "train_logger",
    "separator", "objective", "evaluations", "training", "checkpointer",
)  # fmt: skip
# Above it, a key is taken for a misspelling.
LIKENESS = 0.8


class UnknownKeyError(ValueError):
    """A key that nothing reads."""


def check_overrides(path, overrides):
    """Raise UnknownKeyError if an override names a key that the recipe does not have, at any depth.

    ValueError if it puts another kind of thing in the place of a number, a switch, a block or a class.

    Arguments
    ---------
    path : str
        The recipe's YAML file.
    overrides : dict
        As given on the command line.
    """
    _compare(overrides, load_yaml(path), os.path.dirname(path), f"command line, for {path}", "--")


def check_recipe(path):
    """Raise UnknownKeyError if a file passes a key to an included file, class or function that does not know it.

    Also where a key that every recipe needs is missing, or where one of the recipes' own keys is misspelt.

    Arguments
    ---------
    path : str
        The recipe's YAML file; included files are checked as well.
    """
    tree = load_yaml(path)
    strange = [key for key in tree if key not in RULES and key not in REQUIRED]
    for key in [*REQUIRED, *RULES]:
        near = None if key in tree else nearest(key, strange, LIKENESS)
        if near:
            raise UnknownKeyError(f"{path}: unknown key {near}; did you mean {key}?")
        if key in REQUIRED and key not in tree:
            raise UnknownKeyError(f"{path}: the key {key} is missing; add it, as in hparams/mixcycle.yaml")
    _check_tree(tree, path, "", tree)


def known_part(path, settings):
    """``settings`` without the keys that the recipe does not have, at any depth: a budget serves every recipe."""
    return _known_part(settings, load_yaml(path), os.path.dirname(path))


def _known_part(given, node, folder):
    path = _included(node, folder)
    known, kept = _known(node, folder), {}
    below, base = (load_yaml(path), os.path.dirname(path)) if path else (node, folder)
    for key, value in given.items():
        if known is not None and key not in known:
            continue
        if isinstance(value, dict) and isinstance(below, dict) and key in below:
            value = _known_part(value, below[key], base)
        if value != {}:
            kept[key] = value
    return kept


def _included(node, folder):
    """The path that a node includes, or None."""
    tag = tag_of(node)
    return os.path.join(folder, tag.removeprefix("!include:")) if tag.startswith("!include:") else None


def _parameters(node):
    """The keyword names that the class or function behind a node takes; None where anything goes."""
    kind, _, name = tag_of(node).partition(":")
    if kind not in ("!new", "!name", "!apply") or not name:
        return None
    target = pydoc.locate(name)
    if target is None:
        module = name.rpartition(".")[0]
        near = nearest(name, [f"{module}.{one}" for one in dir(pydoc.locate(module)) if one[0].isupper()])
        hint = f"; did you mean {kind}:{near}?" if near else ""
        raise UnknownKeyError(f"{tag_of(node)}: there is no such class or function{hint}")
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return set(parameters)


def _known(node, folder):
    """The keys that may stand below a node, or None where any may."""
    path = _included(node, folder)
    if path is not None:
        return set(load_yaml(path))
    if tag_of(node):
        return _parameters(node)
    return set(node) if isinstance(node, dict) else None


def _complain(key, known, where, prefix):
    near = nearest(key, known)
    hint = f"did you mean {prefix}{near}?" if near else "it takes no keys"
    raise UnknownKeyError(f"{where}: unknown key {prefix}{key}; {hint} (known: {', '.join(sorted(map(str, known)))})")


def _compare(given, node, folder, where, prefix):
    """Check keys ``given`` as a mapping against the ``node`` that they change."""
    known, path = _known(node, folder), _included(node, folder)
    below, base = (load_yaml(path), os.path.dirname(path)) if path else (node, folder)
    for key, value in given.items():
        if known is not None and key not in known:
            _complain(key, known, where, prefix)
        old = below.get(key) if isinstance(below, dict) else None
        if prefix != "--" or key not in RULES:
            check_like(f"{prefix}{key}", value, old)
        _parameters(value)
        if isinstance(value, dict) and (old is not None or tag_of(value)):
            # A class with values of its own takes the place of the old one, and need not know the old one's keys.
            _compare(value, value if tag_of(value) else old, base, where, f"{prefix}{key}.")


def _check_tree(node, path, prefix, tree):
    """Check what stands at a place of a file, whose name the ``prefix`` is; ``tree`` is the whole file."""
    folder = os.path.dirname(path)
    if isinstance(node, list):
        for place, item in enumerate(node):
            _check_tree(item, path, f"{prefix}{place}.", tree)
        return
    _parameters(node)
    if tag_of(node) in ("!ref", "!copy"):
        _check_references(node, path, prefix, tree)
    included = _included(node, folder)
    if included is not None and not os.path.isfile(included):
        raise FileNotFoundError(f"{os.path.normpath(included)}: no such file; {path} includes it at {prefix[:-1]}")
    if isinstance(node, dict):
        if tag_of(node):
            _compare(node, node, folder, path, prefix)
        for key, value in node.items():
            _check_tree(value, path, f"{prefix}{key}.", tree)
    if included is not None:
        below = load_yaml(included)
        _check_tree(below, included, "", below)


def _check_references(node, path, prefix, tree):
    for name in re.findall(r"<([^<>\[\]]+)", str(node.value)):
        if name not in tree:
            raise UnknownKeyError(
                f"{path}: {prefix[:-1]} refers to the unknown key <{name}>; did you mean <{nearest(name, tree)}>?"
            )
