"""A run is continued as what it was, or not at all; a model is loaded into its own shape, or not at all."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from sb_ext.data.recipes import prepare_librimix
from sb_ext.experiment import run

RECIPES = Path(__file__).resolve().parents[1] / "recipes" / "LibriMix" / "hparams"
SCHEDULER = "!new:speechbrain.nnet.schedulers.ReduceLROnPlateau {patience: 3}"


@pytest.fixture(scope="module")
def place(tmp_path_factory, write_librimix):
    """Two data sets, and a run on the first one."""
    root, rng = tmp_path_factory.mktemp("runs"), np.random.default_rng(0)
    for name, seconds in (("data", 0.5), ("other", 0.6)):
        for split in ("train-100", "dev", "test"):
            write_librimix(root / name, split, rng.normal(0, 0.1, (8, 2, int(8000 * seconds))))
    start(root, "pit", "out")
    return root


def start(root, recipe, out, *words):
    standard = {
        "--budget": "tiny", "--num_epochs": "1", "--device": "cpu", "--evaluations": "[]", "--train_split": "train-100",
        "--data_folder": f"{root}/data", "--corpora_folder": f"{root}/cache", "--output_folder": f"{root}/{out}",
    }  # fmt: skip
    more = [word for pair in standard.items() if pair[0] not in words for word in pair]
    return run([str(RECIPES / f"{recipe}.yaml"), "--noprogressbar", *words, *more], prepare_librimix)


def record(folder):
    return [(folder / name).read_text() for name in ("hyperparams.yaml", "config.json", "command.txt")]


@pytest.mark.parametrize("recipe, words, says", [
    ("pit", ["--batch_size", "2"], ["batch_size: 4 there, 2 now"]),
    ("pit", ["--seed", "5"], ["seed: 1234 there, 5 now"]),
    ("pit", ["--learning_rate", "0.1"], ["learning_rate: 0.001 there, 0.1 now"]),
    ("pit", ["--segment_seconds", "0.2"], ["segment_seconds: 0.5 there, 0.2 now"]),
    ("pit", ["--passes_per_epoch", "2"], ["passes_per_epoch: 1 there, 2 now"]),
    ("pit", ["--separator", "{bottleneck: 12}"], ["separator.bottleneck: 8 there, 12 now"]),
    ("pit", ["--loss", "{snr_max: 20}"], ["loss.snr_max: 30 there, 20 now"]),
    ("pit", ["--scheduler", SCHEDULER], ["scheduler: None there, !new:speechbrain"]),
    ("pit", ["--train_fraction", "0.5"], ["train_fraction: 1.0 there, 0.5 now", "train: 8 mixtures", "4 mixtures"]),
    ("pit", ["--data_folder", "ROOT/other"], ["data_folder: ROOT/data there, ROOT/other now", "valid: 8 mixtures"]),
    ("mixit", [], ["objective: !new:sb_ext.objectives.PIT there, !new:sb_ext.objectives.MixIT now", "num_outputs: 2"]),
    ("pit", ["--seed", "5", "--batch_size", "2", "--separator", "{hidden: 12}"],
     ["seed: 1234 there, 5 now", "batch_size: 4 there, 2 now", "separator.hidden: 16 there, 12 now"]),
    ("pit", ["--test_only", "--separator", "{bottleneck: 12}"], ["separator.bottleneck: 8 there, 12 now"]),
])  # fmt: skip
def test_what_another_configuration_trained_is_not_continued(recipe, words, says, place):
    before = record(place / "out")
    with pytest.raises(ValueError, match="^output_folder: .*/out holds a checkpoint of another configuration") as error:
        start(place, recipe, "out", *[word.replace("ROOT", str(place)) for word in words])
    message = str(error.value)
    assert all(one.replace("ROOT", str(place)) in message for one in says)
    assert "set --output_folder to another folder" in message and "\n" not in message
    assert all(message.count(name) <= 1 for name in ("batch_size:", "bottleneck:", "hidden:", "snr_max:"))
    assert record(place / "out") == before


def test_what_does_not_matter_may_change(place):
    """More epochs, other hooks and loaders, the same mixtures elsewhere."""
    shutil.copytree(place / "out", place / "more")
    shutil.move(place / "data", place / "moved")
    words = ["--num_epochs", "2", "--patience", "7", "--valid_batch_size", "2", "--test_batch_size", "2"]
    words += [
        "--data_folder",
        str(place / "moved"),
        "--experiment",
        "more",
        "--evaluations",
        "[!ref '<evaluation[metrics]>']",
    ]
    try:
        start(place, "pit", "more", *words)
    finally:
        shutil.move(place / "moved", place / "data")
    with open(place / "more" / "curve.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


@pytest.mark.parametrize("words", [["--test_only"], ["--debug", "--debug_epochs", "1"]])
def test_what_trains_nothing_leaves_the_record_of_what_did(words, place):
    before = record(place / "out")
    start(place, "pit", "out", *words, "--batch_size", "2", "--data_folder", str(place / "other"))
    assert record(place / "out") == before


def test_a_pretrained_model_of_another_shape_names_the_weights(place):
    words = ["--pretrained", str(place / "out"), "--separator", "{bottleneck: 12}"]
    with pytest.raises(
        ValueError, match=r"^pretrained: the model in .*/out is built in another way.*: \[8, .*\[12, "
    ) as error:
        start(place, "pit", "new", *words)
    assert "\n" not in str(error.value) and "--pretrained" in str(error.value)
