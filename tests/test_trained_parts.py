"""Parts of a model that were trained before it: loaded, or refused with what to do."""

import logging
from collections import OrderedDict

import pytest
import torch

from sb_ext.speech.rawnet2 import RawNet2
from sb_ext.trained_parts import TrainedPart

SMALL = dict(num_samples=2700, widths=(4, 8), kernel_size=31, cells=8, num_outputs=6, overlap=500)


def part(source, module=None):
    return TrainedPart(
        "speaker_weights", module or RawNet2(**SMALL), str(source), "python train.py hparams/rawnet2.yaml"
    )


@pytest.mark.parametrize("before", ["", "module."])
def test_a_file_of_weights_is_loaded(before, tmp_path):
    """With the names that torch.nn.DataParallel gives them as well."""
    trained, path = RawNet2(**SMALL), tmp_path / "best.pt"
    torch.save(OrderedDict((before + name, value) for name, value in trained.state_dict().items()), path)
    loaded = part(path)
    loaded.load()
    torch.testing.assert_close(loaded.module.state_dict(), trained.state_dict(), rtol=0, atol=0)


def test_a_part_is_taken_from_a_file_of_the_whole(tmp_path):
    """As a training of the speaker encoder leaves it, with the classifier beside it."""
    trained, path = RawNet2(**SMALL), tmp_path / "separator.ckpt"
    state = {f"encoder.{name}": value for name, value in trained.state_dict().items()}
    torch.save(state | {"head.weight": torch.ones(3)}, path)
    module = RawNet2(**SMALL)
    TrainedPart("speaker_weights", module, str(path), "train", part="encoder").load()
    torch.testing.assert_close(module.state_dict(), trained.state_dict(), rtol=0, atol=0)
    with pytest.raises(ValueError, match="holds no weights of this recipe's model .*Missing key"):
        part(path).load()


def test_random_is_said_so(caplog):
    with caplog.at_level(logging.WARNING):
        part("random").load()
    assert "speaker_weights: random: this part of the model starts untrained" in caplog.text


@pytest.mark.parametrize("content", ["other", "text", "object", "missing", "half", "empty", "list", "nested", "nan"])
def test_what_cannot_be_loaded_names_file_and_remedy(content, tmp_path):
    path = tmp_path / "best.pt"
    if content == "other":
        torch.save(RawNet2(**{**SMALL, "cells": 9}).state_dict(), path)
    elif content == "text":
        path.write_text("no weights")
    elif content == "object":
        torch.save(RawNet2(**SMALL), path)
    elif content == "half":
        torch.save(RawNet2(**SMALL).state_dict(), path)
        path.write_bytes(path.read_bytes()[:5000])
    elif content == "empty":
        path.touch()
    elif content in ("list", "nested"):
        torch.save([1] if content == "list" else {"model": RawNet2(**SMALL).state_dict()}, path)
    elif content == "nan":
        torch.save({"fc1_gru.bias": torch.tensor([0.0, float("nan")])}, path)
    expected = "no model can be loaded" if content == "missing" else "holds no weights of this recipe's model"
    with pytest.raises(
        ValueError, match=f"speaker_weights: .*{expected}.*python train.py hparams/rawnet2.yaml.*random"
    ) as error:
        part(path).load()
    reasons = {"object": "more than tensors", "nan": "fc1_gru.bias is not finite", "list": "names and tensors"}
    assert reasons.get(content, "") in str(error.value) and "weights_only" not in str(error.value)
