"""Reading and running the study's rows; recipes are stood in for by a script that only writes files."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from sb_ext.recorder import read_curve
from sb_ext.study.__main__ import main
from sb_ext.study.checks import StudyError
from sb_ext.study.command_line import training_folder, words
from sb_ext.study.record import read_records
from sb_ext.study.rows import read_rows
from sb_ext.study.run import plan, run, select
from sb_ext.study.training import Place, RowFailed, train

ROOT = Path(__file__).parents[2]

ROWS = """
defaults: {recipe: Fake, budget: mini, overrides: {num_epochs: 9, part: {a: 1}}}
corpora:
    digits: {about: real speech, librispeech_folder: ../data/Digits}
    tiny: {about: synthetic speech}
rows:
    - {name: pit, yaml: pit, corpus: tiny, seeds: [0, 1], overrides: {part: {b: 2}}}
    - {name: later, yaml: pit, corpus: tiny, needs: pit, overrides: {pretrained: "{needs}/model"}}
    - {name: digits, label: On digits, yaml: pit, corpus: digits, steps: 20}
    - {name: heard, module: fake.pretrain, corpus: digits, steps: 20, overrides: {width: 3}}
    - name: both
      yaml: pit
      corpus: digits
      needs: {start: digits, ears: heard}
      overrides: {pretrained: "{start}", part: {loss: "{ears}/model"}}
      seeds: [0, 9]
"""

# Notes how it was called, trains for two lines of a curve, and tests. DELAY: seconds that it goes on training after.
FAKE = """
import json, os, sys, time
words = sys.argv[1:]
options = {word: words[place + 1] for place, word in enumerate(words[:-1]) if word.startswith("--")}
folder = options["--output_folder"]
with open(os.path.join(folder, "calls.jsonl"), "a") as file:
    file.write(json.dumps(words) + "\\n")
with open(os.path.join(folder, "pid.txt"), "w") as file:
    file.write(str(os.getpid()))
if os.environ.get("FAIL") == options["--seed"]:
    sys.exit("ValueError: batch_size: no such luck")
if "--test_only" not in words:
    with open(os.path.join(folder, "curve.csv"), "w") as file:
        file.write("epoch,steps,seconds,train_cycle,valid_si_snri\\n1,10,30,0.0,1.0\\n2,20,90,1.0,2.5\\n")
    time.sleep(float(os.environ.get("DELAY", 0)))
summary = {"metrics": {"si_snri": {"mean": 2.5, "std": 1.0, "count": 4}}, "stats": {"si_snri_oracle": float("nan")}}
summary |= {"steps": 20, "seconds": 90, "device": "cuda:0", "finished": "2026-01-02 03:04:05"}
with open(os.path.join(folder, "self_evaluation.json"), "w") as file:
    json.dump({"si_snri": {"mean": 2.4}, "swap_gap": 0.5, "plausible": True, "ground_truth": {"mean": 2.6}}, file)
with open(os.path.join(folder, "test_summary.json"), "w") as file:
    json.dump(summary, file)
"""


@pytest.fixture
def rows(tmp_path):
    """The rows of ROWS, in a repository with one pretended recipe."""
    root = tmp_path / "repository"
    (root / "recipes" / "Fake" / "hparams").mkdir(parents=True)
    (root / "recipes" / "Fake" / "hparams" / "pit.yaml").write_text("seed: 1\nbatch_size: 4\nloss: null\n")
    (root / "recipes" / "Fake" / "train.py").write_text(FAKE)
    (root / "study").mkdir()
    (root / "recipes" / "blocks" / "budgets").mkdir(parents=True)
    (root / "recipes" / "blocks" / "budgets" / "mini.yaml").write_text("batch_size: 8\nloss: !new:a.B  # why\n")
    return write_rows(root, ROWS)


def write_rows(root, text):
    path = root / "study" / "rows.yaml"
    path.write_text(textwrap.dedent(text))
    return read_rows(path, root)


@pytest.fixture
def place(rows, tmp_path):
    return Place(str(tmp_path / "repository"), "results/study")


def calls(row, place):
    path = Path(place.root, training_folder(row, place.runs), "calls.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_rows_are_expanded_over_seeds_with_merged_overrides(rows):
    assert [row.id for row in rows] == [
        "pit-seed0",
        "pit-seed1",
        "later-seed0",
        "digits-seed0",
        "heard-seed0",
        "both-seed0",
        "both-seed9",
    ]
    assert rows[0].overrides == {"num_epochs": 9, "part": {"a": 1, "b": 2}}
    assert (rows[0].label, rows[3].label, rows[3].steps, rows[2].needs) == ("pit", "On digits", 20, {"needs": rows[0]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("budget: mini", "buget: mini"), "defaults: unknown key 'buget'; did you mean 'budget'"),
        (("label: On digits", "lable: On digits"), "row 3: unknown key 'lable'; did you mean 'label'"),
        (("name: later", "name: pit"), "row 'pit': a second row of this name"),
        (("corpus: digits", "corpus: digit"), "row 'digits': corpus: no 'digit' here; did you mean 'digits'"),
        (("needs: pit", "needs: pitt"), "no 'pitt' here; did you mean 'pit'"),
        (("needs: pit,", ""), "{needs} stands there and 'needs' names no row for it"),
        (("start: digits, ", ""), "row 'both': overrides: {start} stands there and 'needs' names no row for it"),
        (("module: fake.pretrain, ", ""), "row 'heard': give it either 'yaml', a recipe's file, or 'module'"),
        (("needs: {start: digits, ears: heard}", "needs: 3"), "needs: expected a row, or words with rows, received 3"),
        (("{needs}/model", "model"), "no override says where the folder goes"),
        (("seeds: [0, 1]", "seeds: [1, 2]"), "row 'later': seeds: 'pit' has no seed 0"),
        (("seeds: [0, 1]", "seeds: two"), "row 'pit': seeds: expected a list of whole numbers, received 'two'"),
        (("steps: 20", "steps: -1"), "row 'digits': steps: expected a whole number above 0, received -1"),
        (("steps: 20", "minutes: soon"), "row 'digits': minutes: expected a number above 0, received 'soon'"),
        (("num_epochs: 9", "seed: 9"), "overrides: seed is set by the study"),
        (("budget: mini", "budget: minni"), "no 'minni' here; did you mean 'mini'"),
        (("about: synthetic speech", "corpus: tiny"), "tiny: 'about' is missing"),
        (('"{needs}/model"', "!new:a.B"), 'a class is written in quotes: "!new:package.Class"'),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(rows, tmp_path, change, message):
    text = ROWS.replace(*change)
    assert text != ROWS
    with pytest.raises(StudyError) as caught:
        write_rows(tmp_path / "repository", text)
    assert message in str(caught.value)


def test_the_fingerprint_follows_the_configuration_and_not_the_place_of_a_corpus(rows, tmp_path):
    def fingerprints(*change):
        return [row.fingerprint for row in write_rows(tmp_path / "repository", ROWS.replace(*change))]

    before = [row.fingerprint for row in rows]
    assert fingerprints("../data/Digits", "/elsewhere/Digits") == before
    assert fingerprints("../data/Digits", "../data/Letters")[3] != before[3]
    assert fingerprints("steps: 20", "steps: 30")[:3] == before[:3]
    assert fingerprints("steps: 20", "steps: 30")[3] != before[3]
    assert fingerprints("b: 2", "b: 3")[2] != before[2], "the model that it starts from is another one"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("# new\nloss: !new:a.B\n", False),
        ("batch_size: 8\nloss: !new:a.C\n", False),
        ("batch_size: 8 # new\nloss: !new:a.B\n", True),
        ("batch_size: 8\nloss: !new:a.B\nof_another_recipe: 1\n", True),
    ],
)
def test_the_fingerprint_follows_the_values_of_the_budget(rows, tmp_path, text, same):
    (tmp_path / "repository" / "recipes" / "blocks" / "budgets" / "mini.yaml").write_text(text)
    again = write_rows(tmp_path / "repository", ROWS)
    assert (again[0].fingerprint == rows[0].fingerprint) is same


def test_the_command_line_holds_paths_as_seen_from_the_recipe(rows, place):
    line = words(rows[2], place.root, place.runs)
    assert line[:6] == ["train.py", "hparams/pit.yaml", "--budget", "mini", "--num_epochs", "9"]
    assert line[line.index("--part") + 1] == "{a: 1}"
    folder = f"../../results/study/pit-seed0-{rows[0].fingerprint}"
    assert line[line.index("--pretrained") + 1] == f"{folder}/model"
    line = words(rows[3], place.root, "/elsewhere")
    assert line[line.index("--librispeech_folder") + 1] == "../../../data/Digits"
    assert line[-3:] == ["--optimizer_step_limit", "20", "--noprogressbar"]


def test_a_value_that_the_command_line_would_split_is_refused(rows, place):
    rows[0].overrides["name"] = "a=b"
    with pytest.raises(StudyError, match="must hold no '='"):
        words(rows[0], place.root, place.runs)


def test_rows_are_chosen_by_pattern_with_what_they_need(rows):
    assert [row.id for row in select(rows, ["later"])] == ["pit-seed0", "later-seed0"]
    assert [row.id for row in select(rows, ["*-seed1"])] == ["pit-seed1"]
    assert [row.id for row in select(rows, ["both-seed9"])] == ["digits-seed0", "heard-seed0", "both-seed9"]
    with pytest.raises(StudyError, match="--only p.t: no such row"):
        select(rows, ["p.t"])


def test_a_row_starts_from_several_others_and_a_module_takes_a_recipes_place(rows, place):
    heard, both = rows[4], rows[6]
    folders = [os.path.join("results", "study", f"{row.id}-{row.fingerprint}") for row in (rows[3], heard)]
    assert words(heard, place.root, "results/study") == [
        *("-m", "fake.pretrain", "../data/Digits", "--width", "3", "--seed", "0", "--out", folders[1], "--steps", "20")
    ]
    line = words(both, place.root, "results/study")
    options = dict(zip(line[2:-1:2], line[3:-1:2], strict=True))
    assert options["--pretrained"] == os.path.join("../..", folders[0])
    assert options["--part"] == f'{{a: 1, loss: "../../{folders[1]}/model"}}'
    assert options["--librispeech_folder"] == "../../../data/Digits"


def test_only_what_has_no_record_of_its_configuration_is_run(rows, place):
    records = {"pit-seed0": {"fingerprint": rows[0].fingerprint}, "pit-seed1": {"fingerprint": "of old"}}
    todo, notices = plan(rows, records, place.root, again=False)
    assert [row.id for row in todo] == ["later-seed0"]
    assert "pit-seed1: its configuration has changed" in notices[0]
    assert "digits-seed0: skipped, the corpus 'digits' is not here: ../data/Digits" in notices[1]
    assert [row.id for row in plan(rows, records, place.root, again=True)[0]] == ["pit-seed1", "later-seed0"]


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


def test_training_ends_when_its_minutes_are_over_and_is_tested(rows, place, tmp_path, monkeypatch):
    row = write_rows(tmp_path / "repository", ROWS.replace("seeds: [0, 1]", "seeds: [0], minutes: 1.5"))[0]
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
        main(["--root", place.root, "table", "--claims", "no.yaml"])
    assert "no.yaml: no such file" in capsys.readouterr().err
