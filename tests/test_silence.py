"""Silent sources, silent mixtures, silent stretches: every figure is finite, or left out and counted."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sb_ext.data.recipes import prepare_librimix
from sb_ext.evaluation.measures import METRICS, measure
from sb_ext.experiment import run
from sb_ext.losses import NegSISDR, NegSNR
from sb_ext.objectives import PIT, MixCycle, MixIT, MixPIT, PITDynamicMixing
from sb_ext.objectives.switch import AfterEpochs

RECIPES = Path(__file__).resolve().parents[1] / "recipes" / "LibriMix" / "hparams"
GUARDED = ["--warmup_epochs", "0", "--pairing", "!new:sb_ext.mixing.SameIndexPairing"]
GUARDED += ["--teacher", "!new:sb_ext.objectives.teacher.AveragedTeacher"]
BARE = ["--evaluations", "[]"]
OBJECTIVES = {
    "pit": PIT, "pit_dm": PITDynamicMixing, "mixpit": MixPIT, "mixit": MixIT,
    "mixcycle": lambda loss: MixCycle(MixPIT(loss), loss, switch=AfterEpochs(0)),
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory, write_librimix):
    """Eight mixtures a split: one with a silent source, one all silent, one with a silent half."""
    root, rng = tmp_path_factory.mktemp("silence"), np.random.default_rng(0)
    for split in ("train-100", "dev", "test"):
        sources = rng.normal(0, 0.1, (8, 2, 8000)) * np.sin(np.arange(8000) / 700)
        sources[1, 1] = sources[2] = sources[3, 1, :4000] = 0
        write_librimix(root / "data", split, sources)
    return root


def start(root, recipe, words):
    words = [*words, "--budget", "tiny", "--noprogressbar", "--device", "cpu", "--train_split", "train-100"]
    words += [
        "--data_folder",
        f"{root}/data",
        "--corpora_folder",
        f"{root}/cache",
        "--output_folder",
        f"{root}/{recipe}",
    ]
    run([str(RECIPES / f"{recipe}.yaml"), *words], prepare_librimix)
    return root / recipe


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def is_finite_or_empty(text):
    return text == "" or math.isfinite(float(text))


@pytest.mark.parametrize(
    "recipe, words", [("pit", BARE), ("pit_dm", BARE), ("mixit", []), ("mixpit", BARE), ("mixcycle", GUARDED)]
)
def test_training_and_testing_give_finite_figures(recipe, words, place):
    """Two of eight mixtures have nothing to be improved; counted, they would drag the mean down by 80 dB each."""
    out = start(place, recipe, words)
    for row in rows(out / "curve.csv"):
        assert all(is_finite_or_empty(text) for text in row.values())
        assert float(row["train_nonfinite"]) == 0 and float(row["valid_left_out"]) == 0.25
        assert abs(float(row["valid_si_snri"])) < 3
    summary = json.loads((out / "test_summary.json").read_text(), parse_constant=pytest.fail)
    assert summary["stats"]["left_out"] == 0.25 and abs(summary["stats"].get("si_snri_oracle", 0)) < 3
    if words == BARE:
        return
    table = rows(out / "test_metrics.csv")
    assert all(is_finite_or_empty(text) for row in table for key, text in row.items() if key != "id")
    known = [float(row["si_snri"]) for row in table if row["si_snri"]]
    assert len(known) == 6 and summary["stats"]["si_snri"] == pytest.approx(np.mean(known), abs=1e-3)
    for metric in METRICS:
        assert (summary["metrics"][metric]["count"], summary["metrics"][metric]["missing"]) == (6, 2)
    if recipe == "mixcycle":
        result = json.loads((out / "self_evaluation.json").read_text(), parse_constant=pytest.fail)
        assert result["unmeasured"] == 1 and abs(result["si_snri"]["mean"]) < 3
        table = rows(out / "self_evaluation.csv")
        assert all(is_finite_or_empty(text) for row in table for key, text in row.items() if key != "id")


@pytest.mark.parametrize("loss", [NegSNR(30), NegSNR(), NegSISDR()], ids=["snr", "unbounded_snr", "sisdr"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_and_gradients_of_silence_are_finite(name, loss, make_batch, tiny_separator):
    batch, separator = make_batch(size=4), tiny_separator(4 if name == "mixit" else 2)
    batch.sources[1, 1] = batch.sources[2] = batch.sources[3] = 0
    batch.mixture = batch.sources.sum(1)
    report = OBJECTIVES[name](loss)(separator, batch, epoch=1)
    assert torch.isfinite(report.loss).all()
    report.loss.mean().backward()
    gradients = [parameter.grad for parameter in separator.parameters() if parameter.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("silent", ["source", "estimate", "both", "constant"])
def test_metrics_of_silence_are_finite_or_missing(metric, silent):
    sources = np.random.default_rng(0).normal(size=(2, 8000))
    estimates = sources + 0.1
    if silent in ("source", "both"):
        sources[1] = 0
    if silent != "source":
        estimates[1] = 0.5 * (silent == "constant")
    values = measure(metric, estimates, sources, 8000)
    assert not np.isinf(values).any() and np.isfinite(values[0])
    assert silent in ("estimate", "constant") or np.isnan(values[1])
