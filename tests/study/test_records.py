"""What is kept of a training, and the way from a recipe to the table."""

import subprocess
from pathlib import Path

import pytest

from sb_ext.study.__main__ import main
from sb_ext.study.checks import StudyError
from sb_ext.study.commit import current_commit
from sb_ext.study.record import CURVE_POINTS, curve, read_records, write_record

ROOT = Path(__file__).parents[2]


def test_a_commit_is_dirty_only_by_its_code(tmp_path):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "sb_ext").mkdir()
    (tmp_path / "sb_ext" / "a.py").write_text("a = 1\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "a")
    (tmp_path / "notes.txt").write_text("not code\n")
    clean = current_commit(tmp_path)
    assert 7 <= len(clean) <= 12 and "-" not in clean
    (tmp_path / "sb_ext" / "a.py").write_text("a = 2\n")
    assert current_commit(tmp_path) == f"{clean}-dirty"


def test_a_long_curve_is_thinned_between_its_ends(tmp_path):
    (tmp_path / "curve.csv").write_text("steps,valid_si_snri\n" + "".join(f"{k},{k / 10}\n" for k in range(1, 501)))
    thin = curve(tmp_path)
    assert thin["curve_columns"] == ["steps", "valid_si_snri"]
    assert (len(thin["curve"]), thin["curve"][0], thin["curve"][-1]) == (CURVE_POINTS, [1, 0.1], [500, 50.0])


def test_a_broken_record_is_named(tmp_path):
    (tmp_path / "pit-seed0.json").write_text('{"id": "pit-seed0", ')
    with pytest.raises(StudyError, match="pit-seed0.json: no record of a row"):
        read_records(tmp_path)


def test_records_survive_a_round_trip(tmp_path):
    curve = {"curve_columns": ["steps", "valid_si_snri"], "curve": [[1, 2.0], [2, -3.0]]}
    record = {"id": "a-seed0", "figures": {"si_snri": 1.0, "stoi": 0.5, "eer": None}, "note": 'quoted "text"', **curve}
    write_record(record, tmp_path)
    figures = {"si_snri": 1.0, "stoi": 50.0, "eer": None, "last_si_snri": -3.0}
    assert read_records(tmp_path) == {"a-seed0": {**record, "figures": figures}}


@pytest.mark.slow
def test_a_recipe_is_trained_recorded_and_tabled(tmp_path):
    (tmp_path / "rows.yaml").write_text(
        "corpora: {tiny: {about: synthetic speech of a few sentences, corpus: tiny}}\n"
        "rows:\n"
        "    - name: cycle\n"
        "      yaml: mixcycle\n"
        "      corpus: tiny\n"
        "      budget: tiny\n"
        '      overrides: {pairing: "!new:sb_ext.mixing.SameIndexPairing", warmup_epochs: 0}\n'
    )
    (tmp_path / "claims.yaml").write_text(
        "- {claim: It learns, paper: 1 dB, source: Table 0, test: {greater: [cycle, other]}}\n"
    )
    files = ["--rows", str(tmp_path / "rows.yaml"), "--results", str(tmp_path / "results")]
    assert main(["--root", str(ROOT), "run", *files, "--runs", str(tmp_path / "runs"), "--threads", "1"]) == 0
    record = read_records(tmp_path / "results")["cycle-seed0"]
    assert record["steps"] > 0 and record["figures"]["mixtures"] > 0
    assert all(isinstance(record["figures"][name], float) for name in ("si_snri", "self_evaluation", "ground_truth"))
    assert record["curve_columns"][-1] == "train_cycle" and [point[-1] for point in record["curve"]] == [1.0, 1.0]
    out = ["--claims", str(tmp_path / "claims.yaml"), "--out", str(tmp_path / "README.md")]
    assert main(["--root", str(ROOT), "table", *files, *out]) == 0
    assert f"{record['figures']['si_snri']:.2f}" in (tmp_path / "README.md").read_text()
