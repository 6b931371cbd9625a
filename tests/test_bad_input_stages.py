"""What is wrong with a recipe of attractors is said before the first step, be it a first stage's.

A row: the recipe, the command line, and words that the message must hold.
"""

import re
import shlex
from pathlib import Path

import pytest
import torch

from sb_ext.data.recipes import prepare_librimix, prepare_wsj0mix
from sb_ext.experiment import run

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
STANDARD = ["--budget", "tiny", "--noprogressbar", "--device", "cpu", "--evaluations", "[]", "--num_epochs", "1"]
SANET, CONV_DANET, ADANET = "LibriMix/sanet", "LibriMix/conv_danet", "WSJ0Mix/adanet"
TWO_ANCHORS = "--separator '{model: {attractors: {anchors: {num_anchors: 2}}}}'"
LISTED = "--wsj0_folder ROOT --mixing_lists ROOT/lists"

pytestmark = pytest.mark.slow


def start(recipe, folder, line):
    dataset, name = recipe.split("/")
    prepare = prepare_wsj0mix if dataset == "WSJ0Mix" else prepare_librimix
    path = RECIPES / dataset / "hparams" / f"{name}.yaml"
    return run([str(path), *STANDARD, "--output_folder", str(folder), *shlex.split(line)], prepare)


@pytest.fixture(scope="module")
def root(corpora, tmp_path_factory):
    """A first stage, and mixing lists that name files which are not there."""
    root = tmp_path_factory.mktemp("stages")
    start("LibriMix/sanet_encoder", root / "encoder", "")
    (root / "lists").mkdir()
    for split in ("tr", "cv", "tt"):
        (root / f"lists/mix_2_spk_{split}.txt").write_text("wsj0/40n/40na010x.wav 1.5 wsj0/01x/01xo031a.wav -1.5\n")
    return root


@pytest.fixture
def untrained(root, monkeypatch):
    """Whoever takes a step has trained."""

    def step(*_, **__):
        raise AssertionError("training began")

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    return root


BAD = [
    (SANET, "--encoder_folder ROOT/none", "encoder_folder: no model can be loaded from ROOT/none set --encoder_folder"),
    (SANET, "--encoder_folder ROOT/encoder --separator '{body: {num_filters: 12}}'",
     "encoder_folder: ROOT/encoder is built in another way 2 of 2 12 here 8 there"),
    (CONV_DANET, "--encoder_folder ROOT/encoder --separator '{body: {filter_size: 16}}'",
     "encoder_folder: ROOT/encoder is built in another way"),
    (SANET, "--encoder_folder ROOT/encoder --sample_rate 16000", "encoder_folder: ROOT/encoder 8000 sample_rate 16000"),
    # Also where the first stage would be trained first
    (SANET, "--test_sets '[sparse6mix]'", "test_sets: sparse6mix cannot be had speakers leave it out"),
    (SANET, "--test_sets '[3mix]' --inference fixed", "test_sets: 3mix: 2 fixed attractors 3 --inference euclidean"),
    (CONV_DANET, "--test_sets '[]' --num_speakers 3 --inference fixed", "num_speakers: 2 fixed --fixed_sources"),
    (SANET, "--curriculum '{1: 0.2, 2: -1}'", "curriculum: epochs with seconds above 0 -1 --curriculum"),
    (SANET, "--batch_size 500", "batch_size: 500 12 training mixtures"),
    (ADANET, f"{TWO_ANCHORS} --num_speakers 3", "num_speakers: 3 as many anchors, 2 ask for fewer"),
    (ADANET, f"{TWO_ANCHORS} --test_sets '[3mix]'", "test_sets: 3mix: 3 sources as many anchors num_anchors"),
    (ADANET, LISTED, "2 files ROOT/lists/mix_2_spk_tr.txt missing 40na010x.wav wsj0_folder"),
    (ADANET, f"{LISTED} --num_speakers 3", "mixing_lists: ROOT/lists mix_3_spk_tr.txt found mix_2_spk_tr.txt"),
    (ADANET, "--wsj0_folder ROOT", "wsj0_folder: --mixing_lists"),
]  # fmt: skip


@pytest.mark.parametrize("row", BAD, ids=lambda row: f"{row[0]} {row[1]}".replace("ROOT/", ""))
def test_is_said_before_the_first_step(row, untrained, tmp_path):
    recipe, line, says = row
    with pytest.raises((ValueError, OSError)) as error:
        start(recipe, tmp_path / "out", line.replace("ROOT", str(untrained)))
    message = re.sub(r"\s+", " ", str(error.value))
    assert not [word for word in says.replace("ROOT", str(untrained)).split() if word not in message], message


@pytest.mark.parametrize("recipe, line", [(SANET, "--encoder_folder ROOT/encoder"), (CONV_DANET, ""), (ADANET, "")])
def test_with_nothing_wrong_training_begins(recipe, line, untrained, tmp_path):
    with pytest.raises(AssertionError, match="training began"):
        start(recipe, tmp_path / "out", line.replace("ROOT", str(untrained)))
