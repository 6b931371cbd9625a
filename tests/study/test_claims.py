"""Verdicts and tables on fabricated figures: all numbers in this file are made up."""

from pathlib import Path

import pytest

from sb_ext.study.checks import StudyError
from sb_ext.study.claims import judge, read_claims
from sb_ext.study.program import Recipe
from sb_ext.study.row import Corpus, Row
from sb_ext.study.rows import read_rows
from sb_ext.study.table import page

ROOT = Path(__file__).parents[2]
FOUND = {
    "high": {0: {"si_snri": 8.0, "truth": 8.1}, 1: {"si_snri": 8.2, "truth": 8.4}},
    "near": {0: {"si_snri": 8.0}, 1: {"si_snri": 7.6}},
    "low": {0: {"si_snri": 4.0, "truth": 9.0}, 1: {"si_snri": 4.4, "truth": 9.2}},
    "noisy": {0: {"si_snri": 2.0}, 1: {"si_snri": 9.0}},
    "once": {0: {"si_snri": 6.0, "truth": None}},
    "alike": {0: {"si_snri": 6.05}},
}


def claims(tmp_path, test, **more):
    path = tmp_path / "claims.yaml"
    entry = {"claim": "it is so", "paper": "2 vs 1 dB", "source": "Table I", "test": test, **more}
    path.write_text(repr([entry]))  # Python's literals of this kind are YAML
    return read_claims(path)


@pytest.mark.parametrize(
    ("test", "verdict", "detail"),
    [
        ({"greater": ["high", "low"]}, "reproduced", "+3.90 ± 0.22"),
        ({"greater": ["low", "high"]}, "not reproduced", "-3.90 ± 0.22"),
        ({"greater": ["high", "noisy"]}, "not reproduced", "+2.60 ± 3.50"),
        ({"greater": ["high", "low"], "margin": 3.8}, "not reproduced", "+3.90 ± 0.22, 3.8 needed"),
        ({"greater": ["high", "low"], "margin": 3.5}, "reproduced", "+3.90 ± 0.22, 3.5 needed"),
        ({"greater": ["high", "near", "low"]}, "reproduced", "+0.30 ± 0.22, +3.60 ± 0.28"),
        ({"greater": ["near", "high", "low"]}, "not reproduced", "-0.30 ± 0.22, +3.90 ± 0.22"),
        ({"greater": ["high", "once"]}, "holds (one seed)", "+2.10"),
        ({"greater": ["low", "once"]}, "does not hold (one seed)", "-1.80"),
        ({"greater": ["once", "alike"]}, "too close to tell (one seed)", "-0.05"),
        ({"greater": ["alike", "once", "low"]}, "too close to tell (one seed)", "+0.05, +1.80"),
        ({"greater": ["alike", "once", "high"]}, "does not hold (one seed)", "+0.05, -2.10"),
        ({"within": ["high", "high:truth"], "tolerance": 0.5}, "reproduced", "-0.15 ± 0.05, 0.5 allowed"),
        ({"within": ["high", "high:truth"], "tolerance": 0.18}, "not reproduced", "-0.15 ± 0.05, 0.18 allowed"),
        ({"within": ["low", "low:truth"], "tolerance": 0.5}, "not reproduced", "-4.90 ± 0.10, 0.5 allowed"),
        ({"within": ["once", "near"], "tolerance": 3}, "holds (one seed)", "-1.80, 3 allowed"),
        ({"ratio": ["near", "high"], "at_least": 0.9}, "reproduced", "+0.51 ± 0.22 above 0.9 of it"),
        ({"ratio": ["low", "high"], "at_least": 0.9}, "not reproduced", "-3.09 ± 0.22 above 0.9 of it"),
        ({"greater": ["high", "absent"]}, "not yet run", "no result of absent"),
        ({"greater": ["high", "hihg"]}, "not yet run", "no row hihg"),
        ({"greater": ["high", "once:truth"]}, "not yet run", "once has no truth"),
    ],
)
def test_every_verdict(tmp_path, test, verdict, detail):
    (claim,) = claims(tmp_path, test)
    outcome = judge(claim, FOUND, known={*FOUND, "absent"})
    assert (outcome.verdict, outcome.detail) == (verdict, detail)


def test_two_figures_of_one_training_are_compared_seed_by_seed(tmp_path):
    """Both move by 4 dB from seed to seed; their difference moves by nothing."""
    found = {"a": {0: {"si_snri": 2.0, "truth": 2.1}, 1: {"si_snri": 6.0, "truth": 6.1}}}
    (claim,) = claims(tmp_path, {"within": ["a", "a:truth"], "tolerance": 0.5})
    assert judge(claim, found).detail == "-0.10 ± 0.00, 0.5 allowed"


@pytest.mark.parametrize(
    ("test", "more", "message"),
    [
        ({"greter": ["a", "b"]}, {}, "expected one of greater, within, ratio, received none"),
        ({"greater": ["a", "b"], "within": ["a", "b"]}, {}, "received greater, within"),
        ({"greater": ["a", "b"], "margn": 1}, {}, "unknown key 'margn'; did you mean 'margin'"),
        ({"within": ["a", "b"]}, {}, "'tolerance' is missing"),
        ({"within": ["a", "b", "c"], "tolerance": 1}, {}, "expected two figures, received 3"),
        ({"greater": ["a"]}, {}, "expected two figures, received 1"),
        ({"greater": ["a-{corpus}", "b"]}, {}, "the claim names no 'corpora'"),
        ({"ratio": ["a", "b"], "at_least": "most"}, {}, "at_least: expected a number, received 'most'"),
        ({"greater": ["a", "b"]}, {"papers": 1}, "unknown key 'papers'; did you mean 'paper'"),
    ],
)
def test_a_claim_that_cannot_be_tested_is_refused(tmp_path, test, more, message):
    with pytest.raises(StudyError) as caught:
        claims(tmp_path, test, **more)
    assert "claim 1" in str(caught.value) and message in str(caught.value)


def fabricated(tmp_path):
    """Two methods on one corpus, three records, one of them of an older configuration."""
    corpus = Corpus("digits", "Real speech, six speakers.", {})
    rows = [
        Row(name, label, Recipe("LibriMix", "pit"), corpus, None, 9, None, {}, seed)
        for name, label in (("a-digits", "A | a"), ("b-digits", "B"))
        for seed in (0, 1)
    ]
    figures = {"self_evaluation": 4.4, "ground_truth": 4.6, "plausible": True}
    records = {
        row.id: {
            "fingerprint": row.fingerprint,
            "figures": {"si_snri": 4.0 + row.seed, **figures},
            "steps": 1000,
            "minutes": 2.0 + row.seed,
            "machine": {"device": "cuda" if row.seed else "cpu"},
        }
        for row in rows[:3]
    }
    records["b-digits-seed0"]["fingerprint"] = "of old"
    records["gone-seed0"] = {"fingerprint": "x"}
    return rows, records, claims(tmp_path, {"greater": ["a-{corpus}", "b-{corpus}"]}, corpora=["digits"])


def test_the_page_shows_claims_rows_and_what_was_left_out(tmp_path):
    text = page(*fabricated(tmp_path))
    line = "| A \\| a | a-digits | 2 of 2 | 4.50 ± 0.50 | 4.40 ± 0.00 | 4.60 ± 0.00 | 2 of 2 | 1,000 | 2.5 |"
    ours = "A \\| a 4.50 ± 0.50 (2 seeds); B – | not yet run: no result of b-digits |"
    assert f"{line} cpu, cuda |" in text
    assert f"| it is so | 2 vs 1 dB (Table I) | digits | {ours}" in text
    assert "| B | b-digits | 0 of 2 | not yet run |" in text
    assert "### digits\n\nReal speech, six speakers." in text
    assert "- gone-seed0: no row of this name and seed\n- b-digits-seed0: the row's configuration has changed" in text
    assert text == page(*fabricated(tmp_path)) and "## How to add a row" in text


def test_our_own_rows_and_claims_are_in_order():
    rows = read_rows(ROOT / "study" / "rows.yaml", ROOT)
    for row in rows:
        row.program.check(ROOT, row.name)
    named = {row for claim in read_claims(ROOT / "study" / "claims.yaml") for row, _ in claim.operands}
    assert named <= {row.name for row in rows}
