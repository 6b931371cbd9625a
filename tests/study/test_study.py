"""Running the study's rows; recipes are stood in for by a script that only writes files."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sb_ext.recorder import read_curve
from sb_ext.study.__main__ import main
from sb_ext.study.command_line import training_folder
from sb_ext.study.record import read_records
from sb_ext.study.run import plan, run
from sb_ext.study.training import Place, RowFailed, train

ROOT = Path(__file__).parents[2]


def calls(row, place):
    path = Path(place.root, training_folder(row, place.runs), "calls.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_only_what_has_no_record_of_its_configuration_is_run(rows, place):
    train(rows[0], place)
    records = {"pit-seed0": {"fingerprint": rows[0].fingerprint}, "pit-seed1": {"fingerprint": "of old"}}
    todo, notices = plan(rows, records, place, again=False)
    assert [row.id for row in todo] == ["later-seed0"]
    assert "pit-seed1: its configuration has changed" in notices[0]
    assert "digits-seed0: skipped, the corpus 'digits' is not here: ../data/Digits" in notices[1]
    assert [row.id for row in plan(rows, records, place, again=True)[0]] == ["pit-seed1", "later-seed0"]


def test_what_a_row_starts_from_is_trained_again_where_it_was_trained_elsewhere(rows, place, tmp_path):
    """A record says what came out, and not where the weights are."""
    run(rows[:1], place, tmp_path / "json")
    recorded = (tmp_path / "json" / "pit-seed0.json").read_text()
    elsewhere = Place(place.root, "another/machine")
    assert plan(rows[:1], read_records(tmp_path / "json"), elsewhere, again=False) == ([], [])
    assert run([rows[0], rows[2]], elsewhere, tmp_path / "json") == 0
    assert [len(calls(row, elsewhere)) for row in (rows[0], rows[2])] == [1, 1]
    assert (tmp_path / "json" / "pit-seed0.json").read_text() == recorded
    assert run([rows[0], rows[2]], elsewhere, tmp_path / "json") == 0
    assert [len(calls(row, elsewhere)) for row in (rows[0], rows[2])] == [1, 1]


def test_a_failed_row_stops_no_other_and_is_run_again(rows, place, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAIL", "1")
    assert run(rows[:3], place, tmp_path / "json", workers=2) == 1
    assert "pit-seed1: FAILED" in (out := capsys.readouterr().out)
    assert "ValueError: batch_size: no such luck" in out
    assert sorted(read_records(tmp_path / "json")) == ["later-seed0", "pit-seed0"]

    monkeypatch.delenv("FAIL")
    place = Place(place.root, place.runs)
    assert run(rows[:3], place, tmp_path / "json") == 0
    assert [len(calls(row, place)) for row in rows[:3]] == [1, 2, 1]


def test_a_record_is_small_and_says_what_was_run(rows, place, tmp_path):
    run(rows[:1], place, tmp_path / "json")
    text = (tmp_path / "json" / "pit-seed0.json").read_text()
    record = json.loads(text)
    assert str(tmp_path) not in text and "NaN" not in text
    assert (record["steps"], record["minutes"], record["machine"]["device"]) == (20, 1.5, "cuda")
    assert (record["date"], record["commit"], record["fingerprint"]) == ("2026-01-02", "unknown", rows[0].fingerprint)
    assert (
        record["figures"] | {"si_snri": 2.5, "mixtures": 4, "si_snri_oracle": None, "pesq": None} == record["figures"]
    )
    expected = {"si_snri": 2.5, "si_snri_std": 1.0, "mixtures": 4, "si_snri_oracle": None, "pesq": None}
    expected |= {"self_evaluation": 2.4, "swap_gap": 0.5, "plausible": True, "ground_truth": 2.6}
    assert {name: record["figures"][name] for name in expected} == expected
    assert record["curve_columns"] == ["steps", "valid_si_snri", "train_cycle"]
    assert record["curve"] == [[10, 1.0, 0.0], [20, 2.5, 1.0]]
    assert record["command"].startswith("cd recipes/Fake && python train.py hparams/pit.yaml --budget mini")


def test_a_finished_training_without_a_record_is_only_collected(rows, place, tmp_path):
    train(rows[0], place)
    assert run(rows[:1], place, tmp_path / "json") == 0
    assert len(calls(rows[0], place)) == 1 and "pit-seed0" in read_records(tmp_path / "json")


def test_training_ends_when_its_minutes_are_over_and_is_tested(rows_with, place, monkeypatch):
    row = rows_with("seeds: [0, 1]", "seeds: [0], minutes: 1.5")[0]
    monkeypatch.setenv("DELAY", "60")
    monkeypatch.setattr("sb_ext.study.training.GRACE", 0.1)
    train(row, place)
    assert [line[-1] for line in calls(row, place)] == ["--noprogressbar", "--test_only"]


def test_training_that_was_killed_after_its_last_step_is_only_tested(rows, place):
    folder = Path(place.root, training_folder(rows[3], place.runs))
    folder.mkdir(parents=True)
    (folder / "curve.csv").write_text("epoch,steps,seconds\n1,10,30\n2,20,60\n")
    train(rows[3], place)
    assert [line[-1] for line in calls(rows[3], place)] == ["--test_only"]


def test_a_row_that_needs_another_says_when_that_was_never_trained_here(rows, place):
    with pytest.raises(RowFailed, match="needs the training folder of pit-seed0, which is not on this machine"):
        train(rows[2], place)


def test_a_killed_study_leaves_a_training_that_no_second_one_disturbs(rows, place, monkeypatch):
    """The study alone is killed, its training lives on: training beside it would spoil both."""
    monkeypatch.setenv("DELAY", "60")
    study = start(place)
    try:
        wait_for_curve(rows[0], place)
        study.send_signal(signal.SIGKILL)
        study.wait()
        with pytest.raises(RowFailed, match="another process is training there"):
            train(rows[0], place)
    finally:
        end_training(rows[0], place)


def test_a_study_that_is_asked_to_end_ends_its_trainings_and_goes_on_later(rows, place, monkeypatch):
    monkeypatch.setenv("DELAY", "60")
    study = start(place)
    wait_for_curve(rows[0], place)
    study.send_signal(signal.SIGTERM)
    assert study.wait(30) == 130
    monkeypatch.delenv("DELAY")
    assert main(["--root", place.root, "run", "--only", "pit-seed0"]) == 0
    assert len(calls(rows[0], place)) == 2
    assert "pit-seed0" in read_records(Path(place.root, "study", "results"))


def start(place):
    line = [sys.executable, "-m", "sb_ext.study", "--root", place.root, "run", "--only", "pit-seed0"]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_curve(row, place):
    path = Path(place.root, training_folder(row, place.runs), "curve.csv")
    for _ in range(600):
        if len(read_curve(str(path))) == 2:
            return
        time.sleep(0.1)
    raise TimeoutError(f"{path} was not written")


def end_training(row, place):
    """End the training that a killed study has left behind."""
    folder = Path(place.root, training_folder(row, place.runs))
    if (folder / "pid.txt").exists():
        os.kill(int((folder / "pid.txt").read_text()), signal.SIGTERM)


def test_the_command_line_reports_what_is_wrong(rows, place, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--root", place.root, "run", "--only", "nothing"])
    assert caught.value.code == 2 and "--only nothing: no such row" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--root", place.root, "run", "--only", "heard"])
    assert "row 'heard': no module fake_pretrain; correct 'module'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--root", place.root, "table", "--claims", "no.yaml"])
    assert "no.yaml: no such file" in capsys.readouterr().err
