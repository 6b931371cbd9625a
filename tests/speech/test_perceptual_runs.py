"""Perceptual losses in whole runs: what a checkpoint holds, resuming, other recipes, and bad input before training."""

from pathlib import Path

import pytest
import torch

from sb_ext.data.recipes import prepare_librimix
from sb_ext.experiment import run

HPARAMS = Path(__file__).resolve().parents[2] / "recipes" / "LibriMix" / "hparams"

pytestmark = pytest.mark.slow


def train(name, folder, *words):
    options = ["--budget", "tiny", "--noprogressbar", "--device", "cpu", "--evaluations", "[]"]
    return run([str(HPARAMS / f"{name}.yaml"), *options, "--output_folder", str(folder), *words], prepare_librimix)


def saved(folder, part, epoch=2):
    named = f"epoch: {epoch}\n"
    path = next(path for path in Path(folder, "save").glob("CKPT*") if named in (path / "CKPT.yaml").read_text())
    return torch.load(path / f"{part}.ckpt")


def test_a_stopped_run_goes_on_to_the_same_weights(corpora, checkpoint, tmp_path):
    """And neither optimiser nor checkpoint has heard of the speech model, which stays as it was."""
    words = ["--speech_model", checkpoint("wavlm"), "--num_epochs"]
    brain = train("negative_distance_weighted_sum", tmp_path / "whole", *words, "2")
    train("negative_distance_weighted_sum", tmp_path / "parts", *words, "1")
    train("negative_distance_weighted_sum", tmp_path / "parts", *words, "2")
    whole, parts = (saved(tmp_path / name, "separator") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)
    assert not saved(tmp_path / "whole", "objective")
    (group,) = brain.optimizer.param_groups
    assert {id(one) for one in group["params"]} == {id(one) for one in brain.modules.separator.parameters()}
    speech_model = brain.hparams.objective.auxiliary.representation.speech_model
    fresh = type(speech_model)(checkpoint("wavlm")).state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in speech_model.state_dict().items())
    columns = (tmp_path / "whole" / "curve.csv").read_text().splitlines()[0].split(",")
    assert {"train_perceptual", "train_positive_distance", "train_negative_distance"} < set(columns)


def test_any_recipe_takes_it_from_the_command_line(corpora, checkpoint, tmp_path):
    """DPTNet with sample dropout and layer-wise optimisation at 8 kHz, the speech model at 16 kHz."""
    inner = f"!new:sb_ext.speech.representation.Representation {{source: {checkpoint()}, sample_rate: 8000}}"
    outer = f"{{representation: {inner}, integration: !new:sb_ext.losses.perceptual.Triplet }}"
    auxiliary = f"{{auxiliary: !new:sb_ext.losses.perceptual.PerceptualLoss {outer}}}"
    train("dptnet_dsd_lo", tmp_path, "--num_epochs", "1", "--objective", auxiliary)
    row = (tmp_path / "curve.csv").read_text()
    assert "train_perceptual" in row and "nan" not in row


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--speech_model", "./nowhere"], "speech_model: ./nowhere"),
        (["--segment_seconds", "0.005"], "segment_seconds: 80 samples 400"),
        (["--representation", "{precision: half}"], "precision: fp16 'half'"),
        (["--representation", "{precison: fp16}"], "precison precision"),
        (["--representation", "{layer: 9}"], "layer: 0 to 3 9"),
        (["--positive_weight", "-1"], "WeightedSum: -1"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_bad_input_is_said_before_training(corpora, tmp_path, monkeypatch, words, expected):
    def step(*_, **__):
        raise AssertionError("training began")

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        train("negative_distance_weighted_sum", tmp_path, *words)
    assert all(word in str(error.value) for word in expected.split()), str(error.value)
