"""Finds misspelt keys in a recipe before anything is built.

HyperPyYAML adds an unknown key inside an include, or an unknown override below the top level, without a word.
"""

import difflib
import inspect
import os
import pydoc

import ruamel.yaml

from sb_ext.recipe_file import tag_of


class UnknownKeyError(ValueError):
    """A key that nothing reads."""


def check_overrides(path, overrides):
    """Raise UnknownKeyError if an override names a key that the recipe does not have, at any depth.

    Arguments
    ---------
    path : str
        The recipe's YAML file.
    overrides : dict
        As given on the command line.
    """
    _compare(overrides, _load(path), os.path.dirname(path), f"command line, for {path}", "--")


def check_recipe(path):
    """Raise UnknownKeyError if a file passes a key to an included file, class or function that does not know it.

    Arguments
    ---------
    path : str
        The recipe's YAML file; included files are checked as well.
    """
    _check_tree(_load(path), path, "")


def known_part(path, settings):
    """``settings`` without the keys that the recipe does not have, at any depth: a budget serves every recipe."""
    return _known_part(settings, _load(path), os.path.dirname(path))


def _known_part(given, node, folder):
    path = _included(node, folder)
    known, kept = _known(node, folder), {}
    below, base = (_load(path), os.path.dirname(path)) if path else (node, folder)
    for key, value in given.items():
        if known is not None and key not in known:
            continue
        if isinstance(value, dict) and isinstance(below, dict) and key in below:
            value = _known_part(value, below[key], base)
        if value != {}:
            kept[key] = value
    return kept


def _load(path):
    with open(path, encoding="utf-8") as file:
        return ruamel.yaml.YAML().load(file)


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
        raise UnknownKeyError(f"{tag_of(node)}: there is no such class or function")
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
        return set(_load(path))
    if tag_of(node):
        return _parameters(node)
    return set(node) if isinstance(node, dict) else None


def _complain(key, known, where, prefix):
    near = difflib.get_close_matches(str(key), [str(name) for name in known], n=1, cutoff=0.0)
    hint = f"did you mean {prefix}{near[0]}?" if near else "it takes no keys"
    raise UnknownKeyError(f"{where}: unknown key {prefix}{key}; {hint} (known: {', '.join(sorted(map(str, known)))})")


def _compare(given, node, folder, where, prefix):
    """Check keys ``given`` as a mapping against the ``node`` that they change."""
    known = _known(node, folder)
    for key, value in given.items():
        if known is not None and key not in known:
            _complain(key, known, where, prefix)
        if not isinstance(value, dict):
            continue
        path = _included(node, folder)
        below, base = (_load(path), os.path.dirname(path)) if path else (node, folder)
        if isinstance(below, dict) and key in below:
            _compare(value, below[key], base, where, f"{prefix}{key}.")


def _check_tree(node, path, prefix):
    folder = os.path.dirname(path)
    if isinstance(node, list):
        for place, item in enumerate(node):
            _check_tree(item, path, f"{prefix}{place}.")
        return
    included = _included(node, folder)
    if isinstance(node, dict):
        if tag_of(node):
            _compare(node, node, folder, path, prefix)
        for key, value in node.items():
            _check_tree(value, path, f"{prefix}{key}.")
    if included is not None:
        _check_tree(_load(included), included, "")
