"""A small HuBERT trained here: what it writes, that it learns, and that a stopped run goes on as if it had not been."""

import json

import numpy as np
import pytest
import soundfile
import torch

from sb_ext.recorder import read_curve
from sb_ext.speech.pretrain import STATE, Crops, MaskedPrediction, parse, pretrain
from sb_ext.speech.representation import Representation
from sb_ext.speech.small import small_config, untrained

SMALL = ["--hidden", "16", "--channels", "8", "--blocks", "1", "--clusters", "4", "--seconds", "0.5"]


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Two splits of sounds that change every 200 ms between tones of four pitches, at 8 and 16 kHz."""
    root, rng = tmp_path_factory.mktemp("speech"), np.random.default_rng(0)
    for split, rate in (("train-clean", 16000), ("dev-clean", 16000), ("train-other", 8000)):
        for number in range(4):
            pitch = np.repeat(rng.choice([300, 800, 1500, 2500], 10), rate // 5)
            samples = 0.1 * np.sin(2 * np.pi * np.cumsum(pitch) / rate) + 0.001 * rng.normal(size=len(pitch))
            folder = root / split / "19" / "1"
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"19-1-000{number}.flac", samples, rate)
    return root


def start(speech, out, *words):
    return pretrain(parse([str(speech), "--out", str(out), *SMALL, *words]))


def test_learns_and_writes_what_a_representation_loads(speech, tmp_path):
    words = ["--steps", "240", "--save_every", "240", "--learning_rate", "0.01"]
    figures = start(speech, tmp_path, *words)
    assert figures["accuracy"] > figures["chance"] + 0.2
    about = json.loads((tmp_path / "test_summary.json").read_text())
    assert about["stats"] == figures and about["files"] == {"train": 8, "dev": 4} and about["steps"] == 240
    assert [row["steps"] for row in read_curve(str(tmp_path / "curve.csv"))] == ["240"]
    representation = Representation(str(tmp_path))
    assert representation.normalize and representation.model_rate == 16000 and representation.receptive_field == 400
    assert representation(torch.randn(1, 8000)).shape == (1, 24, 16)
    trained = torch.load(tmp_path / STATE)["model"]
    for name, value in representation.speech_model.model.state_dict().items():
        assert torch.equal(value, trained[f"hubert.{name}"]), name


def test_a_stopped_run_goes_on_to_the_same_weights(speech, tmp_path, monkeypatch):
    words = ["--steps", "6", "--save_every", "2"]
    start(speech, tmp_path / "whole", *words)
    backward, calls = torch.Tensor.backward, []

    def until_the_fifth(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return backward(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", until_the_fifth)
        with pytest.raises(KeyboardInterrupt):
            start(speech, tmp_path / "parts", *words)
    assert torch.load(tmp_path / "parts" / STATE)["step"] == 4
    start(speech, tmp_path / "parts", *words)
    one, two = (torch.load(tmp_path / name / STATE) for name in ("whole", "parts"))
    assert all(torch.equal(one["model"][name], value) for name, value in two["model"].items())


def test_another_run_in_the_folder_is_refused(speech, tmp_path):
    start(speech, tmp_path, "--steps", "1")
    with pytest.raises(ValueError, match=r"out: .* seed 1234; set --out"):
        start(speech, tmp_path, "--steps", "1", "--seed", "7")


@pytest.mark.parametrize("rate", [8000, 16000])
def test_labels_line_up_with_the_encoders_frames(speech, rate):
    model = MaskedPrediction(small_config(16, 1, 8), 4)
    waves = Crops(sorted(speech.glob("train*/*/*/*.flac")), 2.0, rate).draw(8, np.random.default_rng(0))
    assert waves.shape == (8, 32000)
    torch.testing.assert_close(waves.var(1, correction=0), torch.ones(8), rtol=1e-3, atol=1e-3)
    model.find_clusters(waves, seed=0)
    labels = model.labels(waves)
    assert labels.shape == model(waves, model.draw_mask(waves, np.random.default_rng(0))).shape[:2]
    # Each tone lasts ten frames: within it nothing changes.
    changes = (labels.diff() != 0).float().mean()
    assert set(labels.unique().tolist()) == {0, 1, 2, 3} and changes < 0.5


def test_speech_of_8_khz_is_heard_as_a_representation_hears_it(speech, tmp_path):
    start(speech, tmp_path, "--steps", "1", "--sample_rate", "8000")
    paths = sorted(speech.glob("train-other/*/*/*.flac"))
    heard = Crops(paths, 2.0, 8000).draw(4, np.random.default_rng(0))
    waves = [soundfile.read(paths[index], dtype="float32")[0] for index in np.random.default_rng(0).integers(4, size=4)]
    representation = Representation(str(tmp_path), sample_rate=8000)
    expected = representation._prepared(torch.tensor(np.stack(waves)))
    torch.testing.assert_close(heard, expected, rtol=1e-4, atol=1e-4)


def test_wrong_input(speech, tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        start(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ValueError, match="no split dev"):
        (tmp_path / "speech").mkdir()
        (tmp_path / "speech" / "train-clean").symlink_to(speech / "train-clean")
        start(tmp_path / "speech", tmp_path / "out")
    for words in (["--steps", "0"], ["--seconds", "0.1"], ["--seconds", "long"]):
        with pytest.raises(SystemExit):
            parse([str(speech), "--out", "x", *words])
        assert words[1] in capsys.readouterr().err


def test_untrained_is_made_once_and_always_the_same(tmp_path, monkeypatch):
    states = []
    for folder in ("one", "two", "two"):
        monkeypatch.setenv("SB_EXT_CORPORA", str(tmp_path / folder))
        before = torch.random.get_rng_state()
        path = untrained(hidden=16, blocks=1, channels=8)
        assert torch.equal(before, torch.random.get_rng_state())
        states.append(Representation(path).speech_model.state_dict())
    assert all(torch.equal(states[0][name], value) for state in states[1:] for name, value in state.items())
    assert len(list((tmp_path / "two" / "speech_models").iterdir())) == 1
