"""Every recipe trains, stops, resumes and reports, on the tiny embedded corpus."""

import csv
import itertools
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from speechbrain.utils.checkpoints import Checkpointer
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from sb_ext.brain import SeparationBrain
from sb_ext.data.recipes import prepare_librimix
from sb_ext.experiment import run

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
YAMLS = sorted(RECIPES.glob("*/hparams/*.yaml"))
ALONE = {path.parents[1]: path for path in reversed(YAMLS)}.values()
METHODS = ["mixit", "mixpit", "mixcycle", "pit"]
# Self-evaluation, STOI and PESQ cost more than all the rest of a tiny run.
BARE = ("--evaluations", "[]")

pytestmark = pytest.mark.slow


def train(name, folder, *words, seed=None):
    """Run a LibriMix recipe in this process."""
    if seed is not None:
        torch.manual_seed(seed)
    recipe = name if isinstance(name, Path) else RECIPES / "LibriMix" / "hparams" / f"{name}.yaml"
    options = ["--budget", "tiny", "--noprogressbar", "--device", "cpu", "--output_folder", str(folder)]
    return run([str(recipe), *options, *map(str, words)], prepare_librimix)


def checkpoints(folder):
    """The checkpoints of a run by epoch: folder and meta data."""
    found = {}
    for path in Path(folder, "save").glob("CKPT*"):
        meta = yaml.safe_load((path / "CKPT.yaml").read_text())
        if "epoch" in meta:
            found[meta["epoch"]] = (path, meta)
    return found


def weights(folder, epoch=2, part="separator"):
    return torch.load(checkpoints(folder)[epoch][0] / f"{part}.ckpt", map_location="cpu")


def curve(folder):
    with open(Path(folder, "curve.csv"), newline="") as file:
        return list(csv.DictReader(file))


def assert_equal_weights(one, two):
    assert one.keys() == two.keys() and one
    for name in one:
        assert torch.equal(one[name], two[name]), name


@pytest.mark.parametrize("recipe", YAMLS, ids=lambda path: f"{path.parents[1].name}/{path.stem}")
def test_every_recipe_trains_and_reports(recipe, corpora, tmp_path, monkeypatch):
    """As a user starts it: its folder's train.py, from that folder; one of each folder in a process of its own."""
    text = recipe.read_text()
    command = ["train.py", f"hparams/{recipe.name}", "--budget", "tiny", "--noprogressbar", "--device", "cpu"]
    command += ["--output_folder", str(tmp_path / "out"), *(["--test_sets", "[3mix]"] if "test_sets:" in text else [])]
    monkeypatch.chdir(recipe.parents[1])
    if recipe in ALONE:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    else:
        monkeypatch.setattr(sys, "argv", command)
        runpy.run_path("train.py", run_name="__main__")
    summary = json.loads((tmp_path / "out" / "test_summary.json").read_text())
    assert summary["stats"] or summary["metrics"]
    for name in ("config.json", "command.txt", "hyperparams.yaml", "train.py", "log.txt"):
        assert (tmp_path / "out" / name).is_file(), name
    assert "train.py" in (tmp_path / "out" / "command.txt").read_text()
    if recipe.stem == "irm":
        assert summary["metrics"]["si_snri"]["mean"] > 8
        return
    assert [row["epoch"] for row in curve(tmp_path / "out")] == ["1", "2"]
    assert summary["steps"] >= 2 and checkpoints(tmp_path / "out")
    if "test_sets:" in text:
        assert (tmp_path / "out" / "test_sets" / "3mix" / "test_summary.json").is_file()
    if "first_stage:" in text:
        assert (tmp_path / "out" / "encoder" / "model" / "separator.ckpt").is_file()
    if "evaluation[examples]" in text:
        assert list((tmp_path / "out" / "audio").glob("*/mixture.wav"))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("words", [["--num_speakers", "3"], ["--mixture_type", "mix_both", "--num_outputs", "3"]])
def test_three_speakers_and_noise(name, words, corpora, tmp_path):
    brain = train(name, tmp_path, *words, *BARE)
    three = "3" in words[:2]
    sources = {"mixit": 6 if three else 3}.get(name, 3)
    assert brain.modules.separator.network.num_outputs == sources
    assert [float(row["train_nonfinite"]) for row in curve(tmp_path)] == [0.0, 0.0]
    description = json.loads((tmp_path / "config.json").read_text())["data_description"]
    assert ("3 speakers" in description) == three and ("mix_both" in description) != three


@pytest.mark.parametrize("name", ["mixcycle", "pit_dm", "mixit"])
def test_a_resumed_run_equals_an_uninterrupted_one(name, corpora, tmp_path):
    train(name, tmp_path / "whole", *BARE, seed=0)
    train(name, tmp_path / "parts", *BARE, "--num_epochs", 1, seed=0)
    train(name, tmp_path / "parts", *BARE, seed=99)
    for part in ("separator", "objective"):
        one, two = weights(tmp_path / "whole", part=part), weights(tmp_path / "parts", part=part)
        assert part == "objective" and not one and not two or assert_equal_weights(one, two) is None
    whole, parts = curve(tmp_path / "whole"), curve(tmp_path / "parts")
    assert [row["epoch"] for row in parts] == ["1", "2"] and [row["steps"] for row in parts] == ["3", "6"]
    for one, two in zip(whole, parts, strict=True):
        for key in ("steps", "train_loss", "valid_si_snri"):
            assert one[key] == two[key], key
    summaries = [json.loads((tmp_path / run / "test_summary.json").read_text()) for run in ("whole", "parts")]
    assert summaries[0]["stats"]["si_snri"] == summaries[1]["stats"]["si_snri"]


def test_a_run_that_was_killed_inside_an_epoch_goes_on_where_it_was(corpora, tmp_path, monkeypatch):
    words = [*BARE, "--ckpt_interval_steps", 1]
    train("mixcycle", tmp_path / "whole", *words, seed=0)
    ended = SeparationBrain.on_fit_batch_end

    def killed(self, *arguments):
        if (self.epoch, self.step) == (2, 3):
            raise KeyboardInterrupt
        return ended(self, *arguments)

    monkeypatch.setattr(SeparationBrain, "on_fit_batch_end", killed)
    with pytest.raises(KeyboardInterrupt):
        train("mixcycle", tmp_path / "parts", *words, seed=0)
    monkeypatch.undo()
    train("mixcycle", tmp_path / "parts", *words, seed=99)
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert [(row["epoch"], row["steps"]) for row in curve(tmp_path / "parts")] == [("1", "3"), ("2", "6")]


def test_a_run_that_was_killed_between_curve_and_checkpoint_has_no_row_twice(corpora, tmp_path, monkeypatch):
    train("mixpit", tmp_path / "whole", *BARE, seed=0)
    save = Checkpointer.save_and_keep_only

    def killed(self, meta=None, **more):
        if meta["epoch"] == 2:
            raise KeyboardInterrupt
        return save(self, meta=meta, **more)

    monkeypatch.setattr(Checkpointer, "save_and_keep_only", killed)
    with pytest.raises(KeyboardInterrupt):
        train("mixpit", tmp_path / "parts", *BARE, seed=0)
    monkeypatch.undo()
    assert len(curve(tmp_path / "parts")) == 2
    train("mixpit", tmp_path / "parts", *BARE, seed=99)
    assert [(row["epoch"], row["steps"]) for row in curve(tmp_path / "parts")] == [("1", "3"), ("2", "6")]
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def edited(place, name, old, new, folder="LibriMix/hparams"):
    """A copy of the recipes in which some text of one file is another; gives that file."""
    shutil.copytree(RECIPES, place / "recipes")
    file = place / "recipes" / folder / f"{name}.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    return file


def test_an_averaged_teacher_is_resumed(corpora, tmp_path):
    teacher = "teacher: !new:sb_ext.objectives.teacher."
    averaged = f"{teacher}AveragedTeacher\n    decay: 0.7\n#"
    recipe = edited(tmp_path, "mixcycle", f"{teacher}CurrentTeacher", averaged)
    words = [*BARE, "--warmup_epochs", 0]
    train(recipe, tmp_path / "whole", *words, seed=0)
    train(recipe, tmp_path / "parts", *words, "--num_epochs", 1, seed=0)
    train(recipe, tmp_path / "parts", *words, seed=99)
    for part in ("separator", "objective"):
        assert_equal_weights(weights(tmp_path / "whole", part=part), weights(tmp_path / "parts", part=part))
    assert "teacher.average.network.squeeze.weight" in weights(tmp_path / "parts", part="objective")


def test_the_same_command_gives_the_same_model(corpora, tmp_path):
    """The seed decides the initial weights as well, whatever was drawn before."""
    train("pit", tmp_path / "one", *BARE, "--num_epochs", 1, seed=0)
    train("pit", tmp_path / "two", *BARE, "--num_epochs", 1, seed=1)
    train("pit", tmp_path / "three", *BARE, "--num_epochs", 1, "--seed", 5, seed=1)
    assert_equal_weights(weights(tmp_path / "one", 1), weights(tmp_path / "two", 1))
    one, three = weights(tmp_path / "one", 1), weights(tmp_path / "three", 1)
    assert any(not torch.equal(one[name], three[name]) for name in one)


def test_a_finished_run_is_tested_again_without_training(corpora, tmp_path):
    train("pit", tmp_path, *BARE, seed=0)
    before, rows = weights(tmp_path), curve(tmp_path)
    (tmp_path / "test_summary.json").unlink()
    train("pit", tmp_path, *BARE, seed=1)
    assert_equal_weights(before, weights(tmp_path))
    assert curve(tmp_path) == rows
    assert json.loads((tmp_path / "test_summary.json").read_text())["steps"] == int(rows[-1]["steps"]) == 6


def test_the_test_figures_are_those_of_the_best_checkpoint(corpora, tmp_path):
    """Recomputed with torchmetrics from the saved weights and the store's own audio."""
    metrics = "{metrics: {metrics: [si_snr], workers: 1}}"
    brain = train("pit", tmp_path, "--num_epochs", 3, "--evaluation", metrics, seed=0)
    figures = {int(row["epoch"]): float(row["valid_si_snri"]) for row in curve(tmp_path)}
    best = max(figures, key=figures.get)
    found = checkpoints(tmp_path)
    assert set(found) == {best, 3} and found[best][1]["si_snri"] == pytest.approx(figures[best])
    model = brain.modules.separator
    model.load_state_dict(weights(tmp_path, best))

    def si_sdr(estimate, target):
        return scale_invariant_signal_distortion_ratio(estimate, target, zero_mean=True).mean().item()

    with open(tmp_path / "test_metrics.csv", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    store, values = prepare_librimix(vars(brain.hparams))["test"], []
    for place in range(len(store)):
        mixture, sources = map(torch.from_numpy, store.read(place))
        with torch.no_grad():
            estimates = model(mixture[None]).sources[0]
        ways = itertools.permutations(range(len(sources)))
        after = max(si_sdr(estimates[list(way)].double(), sources.double()) for way in ways)
        before = si_sdr(mixture.expand_as(sources).double(), sources.double())
        values.append(after - before)
        assert float(rows[store.ids[place]]["si_snri"]) == pytest.approx(after - before, abs=1e-3)
    summary = json.loads((tmp_path / "test_summary.json").read_text())
    expected = pytest.approx(sum(values) / len(values), abs=1e-3)
    assert summary["metrics"]["si_snri"]["mean"] == expected and summary["stats"]["si_snri"] == expected


def test_a_scheduler_changes_the_learning_rate_and_is_resumed(corpora, tmp_path):
    """SpeechBrain's ReduceLROnPlateau: the only one that is called with optimizers, epoch and loss."""
    scheduler = "!new:speechbrain.nnet.schedulers.ReduceLROnPlateau"
    scheduler += " {patience: 0, factor: 0.5, dont_halve_until_epoch: 0}"
    recipe, words = "pit", [*BARE, "--learning_rate", 0.05, "--scheduler", scheduler]
    train(recipe, tmp_path / "whole", *words, "--num_epochs", 4, seed=0)
    rates, rate, best = [], 0.05, float("-inf")
    for row in curve(tmp_path / "whole"):
        rates.append((float(row["train_learning_rate"]), rate))
        figure = float(row["valid_si_snri"])
        rate, best = (rate, figure) if figure >= best else (rate / 2, best)
    assert [seen for seen, _ in rates] == pytest.approx([expected for _, expected in rates])
    train(recipe, tmp_path / "parts", *words, "--num_epochs", 2, seed=0)
    train(recipe, tmp_path / "parts", *words, "--num_epochs", 4, seed=99)
    assert_equal_weights(weights(tmp_path / "whole", 4), weights(tmp_path / "parts", 4))


def test_a_run_option_beats_the_budget(corpora, tmp_path):
    brain = train("pit", tmp_path, *BARE, "--num_epochs", 1, "--max_grad_norm", 3)
    assert brain.max_grad_norm == 3


def test_too_large_a_batch_says_what_to_do(corpora, tmp_path):
    with pytest.raises(ValueError, match="batch_size: 500 is more than the .* training mixtures; set --batch_size"):
        train("pit", tmp_path, "--batch_size", 500)


def test_an_unknown_selection_figure_names_the_known_ones(corpora, tmp_path):
    with pytest.raises(ValueError, match=r"select_by: validation gives .*'si_snri'.* and no 'si_snr_i'"):
        train("pit", tmp_path, *BARE, "--select_by", "si_snr_i")


def test_a_debug_run_ends_early(corpora, tmp_path):
    brain = train("mixpit", tmp_path, *BARE, "--debug", "--debug_batches", 1, "--debug_epochs", 1)
    assert brain.optimizer_step == 1


def test_a_trained_model_is_tested_elsewhere_and_fine_tuned(corpora, tmp_path):
    """``--pretrained`` with ``--test_only`` measures the trained weights; without, training starts from them."""
    train("pit", tmp_path / "trained", *BARE, "--num_epochs", 1)
    tested = train("mixpit", tmp_path / "tested", *BARE, "--pretrained", tmp_path / "trained", "--test_only")
    assert_equal_weights(weights(tmp_path / "trained", 1), tested.modules.separator.state_dict())
    assert (tmp_path / "tested" / "test_summary.json").is_file()
    words = ["--pretrained", tmp_path / "trained" / "model", "--learning_rate", 0.0, "--num_epochs", 1]
    train("mixpit", tmp_path / "tuned", *BARE, *words)
    assert_equal_weights(weights(tmp_path / "trained", 1), weights(tmp_path / "tuned", 1))


def test_a_pretrained_model_of_another_shape_is_named(corpora, tmp_path):
    train("pit", tmp_path / "trained", *BARE, "--num_epochs", 1)
    words = ["--pretrained", tmp_path / "trained", "--separator", "{bottleneck: 12}"]
    with pytest.raises(ValueError, match="pretrained: the model in .* is built in another way"):
        train("pit", tmp_path / "other", *BARE, *words)
