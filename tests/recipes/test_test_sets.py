"""One model on several test sets, and training on several numbers of speakers, on the tiny embedded corpus."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sb_ext import experiment
from sb_ext.data.recipes import prepare_librimix, prepare_wsj0mix
from sb_ext.evaluation.report import write_report
from sb_ext.evaluation.results import find_runs, read_run
from sb_ext.experiment import run
from sb_ext.recorder import read_curve
from sb_ext.study.record import figures

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
QUICK = ("--evaluation", "{metrics: {metrics: [si_snr, sdr]}, num_examples: 0}")

pytestmark = pytest.mark.slow


@pytest.fixture
def recipe(tmp_path):
    """Makes a copy of a LibriMix recipe with more keys: ``recipe("irm", test_sets="[2mix]")``."""

    def make(name, **keys):
        shutil.copytree(RECIPES, tmp_path / "recipes", dirs_exist_ok=True)
        path = tmp_path / "recipes" / "LibriMix" / "hparams" / f"{name}.yaml"
        given = [line for line in path.read_text().splitlines() if line.partition(":")[0] not in keys]
        path.write_text("\n".join([*(f"{key}: {value}" for key, value in keys.items()), *given]) + "\n")
        return path

    return make


def start(path, folder, *words, prepare=prepare_librimix):
    options = ["--budget", "tiny", "--noprogressbar", "--device", "cpu", "--output_folder", str(folder)]
    return run([str(path), *options, *map(str, words)], prepare)


def summary(folder, name=""):
    place = Path(folder, "test_sets", name) if name else Path(folder)
    return json.loads((place / "test_summary.json").read_text())


def test_one_model_on_many_sets_in_one_table(recipe, corpora, tmp_path):
    names = ["sparse5mix_1", "3mix", "2mix", "sparse3mix"]
    path = recipe("irm", test_sets=f"[{', '.join(names)}]", sparse_folder="null")
    start(path, tmp_path / "out", *QUICK)
    with open(tmp_path / "out/test_sets/sparse3mix/test_metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 and {row["id"].split("/")[0] for row in rows} == {
        f"sparse_3_{overlap}" for overlap in ("0", "0.2", "0.4", "0.6", "0.8", "1")
    }
    for metric in ("si_snri", "sdri"):
        assert summary(tmp_path / "out", "2mix")["metrics"][metric] == summary(tmp_path / "out")["metrics"][metric]
    assert [found.name for found in find_runs([tmp_path])] == ["out"]
    found = read_run(tmp_path / "out")
    assert list(found.test_sets) == names
    markdown, page = write_report([tmp_path / "out"], tmp_path / "report")
    table = markdown.read_text().partition("## Test sets")[2].split("##")[0]
    lines = [line.split(" | ") for line in table.splitlines() if line.startswith("| irm")]
    assert [line[1] for line in lines] == names and [line[-1].strip("| ") for line in lines] == ["1", "4", "4", "6"]
    scores = summary(tmp_path / "out", "3mix")["metrics"]["si_snri"]
    assert lines[1][2] == f"{scores['mean']:.2f} ± {scores['sem']:.2f}" in page.read_text()
    assert figures(tmp_path / "out")["test_sets"]["3mix"]["si_snri"]["count"] == 4
    assert "stand-ins" in found.data


def test_a_test_that_was_killed_is_done_again(recipe, corpora, tmp_path, monkeypatch):
    """Training, then the second of three sets: with the best checkpoint, as in a run that was not killed."""
    path = recipe("pit", test_sets="[2mix, sparse2mix, sparse2mix_0]")
    start(path, tmp_path / "whole", *QUICK)
    apart = experiment.measured_apart

    def killed(brain, name):
        if name == "sparse2mix":
            raise KeyboardInterrupt
        return apart(brain, name)

    monkeypatch.setattr(experiment, "measured_apart", killed)
    with pytest.raises(KeyboardInterrupt):
        start(path, tmp_path / "parts", *QUICK)
    monkeypatch.undo()
    assert not (tmp_path / "parts/test_sets/sparse2mix").exists()
    start(path, tmp_path / "parts", *QUICK)
    assert summary(tmp_path / "whole", "2mix")["metrics"] == {
        name: summary(tmp_path / "whole")["metrics"][name] for name in ("si_snr", "si_snri", "sdr", "sdri")
    }
    for name in ("", "2mix", "sparse2mix", "sparse2mix_0"):
        assert summary(tmp_path / "whole", name)["metrics"] == summary(tmp_path / "parts", name)["metrics"]
    # What is measured beside may change between a run and its continuation.
    shutil.rmtree(tmp_path / "parts/test_sets")
    start(recipe("pit", test_sets="[2mix]"), tmp_path / "parts", *QUICK)
    assert os.listdir(tmp_path / "parts/test_sets") == ["2mix"]


BAD = {
    "test_sets: 3mix has mixtures of 3, this recipe's separator gives a fixed number of sources, 2": "[2mix, 3mix]",
    "test_sets: expected names such as 2mix, sparse3mix or sparse3mix_0.2, received 'spars3mix'": "[spars3mix]",
    "test_sets: expected a list of names such as": "2mix",
    "test_sets: sparse6mix cannot be had: .*speakers.* or leave it out of --test_sets": "[sparse6mix]",
    "test_sets: 9mix cannot be had: num_speakers: the embedded corpus mixes 2 to 5, received 9": "[9mix]",
}


@pytest.mark.parametrize("message", BAD)
def test_a_set_that_cannot_be_is_named_before_training(recipe, corpora, tmp_path, message):
    with pytest.raises((ValueError, SystemExit), match=message):
        start(recipe("pit", test_sets=BAD[message]), tmp_path / "out", *QUICK)
    assert not (tmp_path / "out/curve.csv").exists()


@pytest.mark.parametrize("name", ["pit", "mixit"])
def test_a_fixed_number_of_outputs_takes_one_number_of_speakers(corpora, tmp_path, name):
    with pytest.raises(ValueError, match=r"num_speakers: .* fixed number of sources, received \[2, 3\]; set --num_"):
        start(RECIPES / "LibriMix/hparams" / f"{name}.yaml", tmp_path, "--num_speakers", "[2, 3]")


def weights(folder):
    return torch.load(folder / "model" / "separator.ckpt", map_location="cpu")


def test_two_and_three_speakers_in_one_training_and_resumed(recipe, corpora, tmp_path):
    path, words = recipe("danet", test_sets="[]"), ["--num_speakers", "[2, 3]", "--evaluations", "[]"]
    start(path, tmp_path / "whole", *words)
    start(path, tmp_path / "parts", *words, "--num_epochs", 1)
    start(path, tmp_path / "parts", *words)
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    rows = read_curve(tmp_path / "whole/curve.csv")
    # 12 mixtures of two and 8 of three speakers, in batches of 4
    assert [row["steps"] for row in rows] == ["5", "10"]
    assert "2 and 3 speakers" in json.loads((tmp_path / "whole/config.json").read_text())["data_description"]


def test_wsj0mix_trains_as_a_user_starts_it(recipe, corpora, tmp_path):
    """Its stand-in, with a recipe of LibriMix's in its folder."""
    path = recipe("irm", test_sets="[2mix, 3mix]", wsj0_folder="null", mixing_lists="null")
    done = subprocess.run(
        [sys.executable, tmp_path / "recipes/WSJ0Mix/train.py", path, "--budget", "tiny", "--noprogressbar",
         "--device", "cpu", "--output_folder", tmp_path / "out", *QUICK],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert summary(tmp_path / "out", "3mix")["metrics"]["si_snri"]["count"] == 4
    assert "stand-in for WSJ0-mix made of embedded corpus 'tiny'" in done.stderr + done.stdout
    with pytest.raises(ValueError, match="data_folder: received with wsj0_folder; give --data_folder alone"):
        start(path, tmp_path, "--data_folder", "x", "--wsj0_folder", "y", prepare=prepare_wsj0mix)
