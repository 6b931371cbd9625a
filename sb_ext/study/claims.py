"""The paper's claims: how each is tested on the study's figures, and what came out.

A claim's ``test`` holds one of three statements about figures. A figure is written ``row`` or ``row:figure``; without
a figure's name it is ``si_snri``. Each seed of a row counts once.

=======================================  ====================================================================
``greater: [a, b, c]``                   a above b and b above c, each by more than ``margin`` (dB; 0)
``within: [a, b]``, ``tolerance: 0.5``   a and b differ by less than the tolerance (dB)
``ratio: [a, b]``, ``at_least: 0.9``     a is more than that share of b
=======================================  ====================================================================

With ``corpora: [x, y]`` a claim is tested once a corpus, ``{corpus}`` in a row's name standing for it.
"""

from dataclasses import dataclass

from sb_ext.study.checks import StudyError, read_yaml, require_keys, require_type
from sb_ext.study.statistics import Estimate, combined

CORPUS = "{corpus}"
FIGURE = "si_snri"
TESTS = {"greater": ("margin", 0.0), "within": ("tolerance", None), "ratio": ("at_least", None)}

REPRODUCED, NOT_REPRODUCED, NOT_RUN = "reproduced", "not reproduced", "not yet run"
HOLDS, DOES_NOT_HOLD, LEVEL = "holds (one seed)", "does not hold (one seed)", "too close to tell (one seed)"
CLOSE = 0.1


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper with its printed figure, and the test of it.

    ``operands`` are (row, figure) pairs, ``test`` one of TESTS, ``limit`` its margin, tolerance or share.
    """

    text: str
    paper: str
    source: str
    corpus: str | None
    test: str
    operands: tuple
    limit: float


@dataclass(frozen=True)
class Outcome:
    """A claim's verdict, why, and the figures that it rests on: (row, figure) to Estimate, or None."""

    claim: Claim
    verdict: str
    detail: str
    figures: dict


def read_claims(path):
    """The claims of a YAML file, one for each corpus that it names.

    Raises
    ------
    StudyError
        Naming the claim and key that cannot be what was meant.
    """
    given = require_type(read_yaml(path), list, str(path), "a list of claims")
    return [claim for place, entry in enumerate(given, 1) for claim in _claims(entry, f"{path}: claim {place}")]


def _claims(entry, where):
    required = ("claim", "paper", "source", "test")
    require_keys(entry, (*required, "corpora"), where, required)
    corpora = require_type(entry.get("corpora", [None]), list, f"{where}: corpora", "a list of names")
    test = require_type(entry["test"], dict, f"{where}: test", "a test")
    names = [name for name in TESTS if name in test]
    if len(names) != 1:
        raise StudyError(f"{where}: test: expected one of {', '.join(TESTS)}, received {', '.join(names) or 'none'}")
    name = names[0]
    key, default = TESTS[name]
    require_keys(test, (name, key), f"{where}: test", (name,) if default is not None else (name, key))
    limit = require_type(test.get(key, default), (int, float), f"{where}: test: {key}", "a number")
    figures = require_type(test[name], list, f"{where}: test: {name}", "a list of figures")
    if len(figures) < 2 or (len(figures) > 2 and name != "greater"):
        raise StudyError(f"{where}: test: {name}: expected two figures, received {len(figures)}")
    for corpus in corpora:
        operands = tuple(_operand(figure, corpus, f"{where}: test: {name}") for figure in figures)
        yield Claim(entry["claim"], str(entry["paper"]), entry["source"], corpus, name, operands, limit)


def _operand(text, corpus, where):
    require_type(text, str, where, "a row's name")
    if CORPUS in text and corpus is None:
        raise StudyError(f"{where}: {text!r}: {CORPUS} stands there and the claim names no 'corpora'")
    row, _, figure = text.replace(CORPUS, str(corpus)).partition(":")
    return row, figure or FIGURE


def judge(claim, found, known=()):
    """Test a claim.

    Arguments
    ---------
    claim : Claim
    found : dict
        Row name to {seed: figures}, from by_name.
    known : collection of str
        The names of the study's rows, to say where a claim names another.

    Returns
    -------
    Outcome
        ``reproduced`` only where everything that the claim says is exceeded by more than its standard error; with one
        seed of a row, which has none, ``holds (one seed)`` only where it is exceeded by more than CLOSE.

    Example
    -------
    >>> claim = Claim("a beats b", "2 vs 1 dB", "Table I", None, "greater", (("a", "si_snri"), ("b", "si_snri")), 0.0)
    >>> found = {"a": {0: {"si_snri": 4.0}, 1: {"si_snri": 4.2}}, "b": {0: {"si_snri": 3.0}, 1: {"si_snri": 3.2}}}
    >>> judge(claim, found).verdict, judge(claim, found).detail
    ('reproduced', '+1.00 ± 0.14')
    """
    values = {operand: _values(operand, found) for operand in claim.operands}
    figures = {operand: Estimate.of(seeds.values()) if seeds else None for operand, seeds in values.items()}
    reasons = dict.fromkeys(_reason(*operand, found, known) for operand, seeds in values.items() if not seeds)
    if reasons:
        return Outcome(claim, NOT_RUN, ", ".join(reasons), figures)
    checks = [
        _check(claim, _difference(first, second, values, _factor(claim)))
        for first, second in zip(claim.operands, claim.operands[1:], strict=False)
    ]
    detail = ", ".join(text for _, _, text in checks)
    if any(error is None for _, error, _ in checks):
        least = min(excess for excess, _, _ in checks)
        verdict = HOLDS if least > CLOSE else DOES_NOT_HOLD if least < -CLOSE else LEVEL
        return Outcome(claim, verdict, detail, figures)
    holds = all(excess > error for excess, error, _ in checks)
    return Outcome(claim, REPRODUCED if holds else NOT_REPRODUCED, detail, figures)


def _values(operand, found):
    """Seed to value of one figure."""
    row, figure = operand
    return {seed: known[figure] for seed, known in found.get(row, {}).items() if known.get(figure) is not None}


def _reason(row, figure, found, known):
    if row in found:
        return f"{row} has no {figure}"
    return f"no result of {row}" if row in known else f"no row {row}"


def _factor(claim):
    return claim.limit if claim.test == "ratio" else 1.0


def _difference(first, second, values, factor):
    """``first - factor * second`` over seeds, as an Estimate."""
    if first[0] == second[0]:
        # Two figures of one training go up and down together: compare them seed by seed.
        shared = [(values[first][seed], values[second][seed]) for seed in values[first] if seed in values[second]]
        if shared:
            return Estimate.of([a - factor * b for a, b in shared])
    a, b = Estimate.of(values[first].values()), Estimate.of(values[second].values())
    error = combined(a.error, None if b.error is None else abs(factor) * b.error)
    return Estimate(a.mean - factor * b.mean, error, min(a.count, b.count))


def _check(claim, difference):
    """By how much the claim is exceeded, the standard error of that, and the difference in words."""
    sign = "" if difference.mean < 0 else "+"
    text = f"{sign}{difference.plain}"
    if claim.test == "within":
        return claim.limit - abs(difference.mean), difference.error, f"{text}, {claim.limit:g} allowed"
    if claim.test == "ratio":
        return difference.mean, difference.error, f"{text} above {claim.limit:g} of it"
    needed = f", {claim.limit:g} needed" if claim.limit else ""
    return difference.mean - claim.limit, difference.error, text + needed
