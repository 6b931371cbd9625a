"""What a YAML file of the study may say: errors that name file, field, value and remedy."""

import difflib

import yaml


class StudyError(ValueError):
    """Something in a file of the study that cannot be what was meant."""


def read_yaml(path):
    """The contents of a YAML file, a mapping or a list.

    Raises
    ------
    StudyError
        Where it cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.safe_load(file)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; run from the repository's root or give its path") from None
    except yaml.YAMLError as error:
        raise StudyError(f'{path}: {error}; a class is written in quotes: "!new:package.Class"') from None


def require_keys(given, known, where, required=()):
    """Raise StudyError for a key that nothing reads, or one that is missing.

    Example
    -------
    >>> require_keys({"sede": 1}, ["seed", "name"], "rows.yaml: row 1")
    Traceback (most recent call last):
    ...
    sb_ext.study.checks.StudyError: rows.yaml: row 1: unknown key 'sede'; did you mean 'seed'? (known: name, seed)
    """
    if not isinstance(given, dict):
        raise StudyError(f"{where}: expected keys and values, received {given!r}")
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise StudyError(
                f"{where}: unknown key {key!r}; did you mean {near!r}? (known: {', '.join(sorted(known))})"
            )
    missing = [key for key in required if key not in given]
    if missing:
        raise StudyError(f"{where}: {missing[0]!r} is missing")


def require_type(value, kind, where, what):
    """``value``, or StudyError unless it is of ``kind``; a bool is no number.

    Example
    -------
    >>> require_type(3, (int, float), "rows.yaml: defaults: minutes", "a number")
    3
    """
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise StudyError(f"{where}: expected {what}, received {value!r}")
    return value


def one_of(value, known, where):
    """``value``, or StudyError naming the nearest of the ``known``."""
    if value not in known:
        near = difflib.get_close_matches(str(value), list(known), n=1, cutoff=0.0)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise StudyError(f"{where}: no {value!r} here{hint} (known: {', '.join(known) or 'none'})")
    return value
