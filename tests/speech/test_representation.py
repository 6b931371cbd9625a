"""A frozen speech model beside transformers' own classes used by hand."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModel

from sb_ext.speech.cache import PATIENCE
from sb_ext.speech.representation import Representation

KINDS = ["wav2vec2", "hubert", "wavlm"]


def waves(count=3, samples=1600, seed=0):
    return 0.05 * torch.randn(count, samples, generator=torch.Generator().manual_seed(seed)) + 0.01


def by_hand(folder, signals, **options):
    """transformers, fed by its own feature extractor."""
    extractor, model = AutoFeatureExtractor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    inputs = extractor(list(signals.numpy()), sampling_rate=extractor.sampling_rate, return_tensors="pt").input_values
    with torch.no_grad():
        return model(inputs, **options)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("stable", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_transformers(checkpoint, kind, stable, normalize):
    folder = checkpoint(kind, stable, normalize)
    # The second is so quiet that what is added to the variance shows.
    signals = waves() * torch.tensor([[1.0], [1e-3], [10.0]])
    expected = by_hand(folder, signals).last_hidden_state
    torch.testing.assert_close(Representation(folder)(signals), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stable", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_layers(checkpoint, kind, stable):
    """Blocks behind the layer are gone, and it gives what it gave."""
    folder, signals = checkpoint(kind, stable), waves()
    out = by_hand(folder, signals, output_hidden_states=True)
    for layer in (0, 1, 2, 3):
        representation = Representation(folder, layer=layer)
        torch.testing.assert_close(representation(signals), out.hidden_states[layer], rtol=1e-4, atol=1e-5)
        assert len(representation.speech_model.model.encoder.layers) == layer
    weights = [0.5, 0.0, -1.0, 2.0]
    mixed = sum(weight * hidden for weight, hidden in zip(weights, out.hidden_states, strict=True))
    torch.testing.assert_close(Representation(folder, layer=weights)(signals), mixed, rtol=1e-4, atol=1e-5)


def test_scale_multiplies(checkpoint):
    one, three = (Representation(checkpoint(), scale=scale)(waves()) for scale in (1.0, 3.0))
    torch.testing.assert_close(three, 3 * one)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_estimate_learns(checkpoint, kind):
    """Gradients reach the waveform; the weights stay, in evaluation mode, in no optimiser and in no checkpoint."""
    representation = Representation(checkpoint(kind))
    module = torch.nn.ModuleDict({"objective": representation, "separator": torch.nn.Linear(2, 2)}).train()
    before = {name: value.clone() for name, value in representation.speech_model.state_dict().items()}
    signals = waves().requires_grad_()
    representation(signals).square().mean().backward()
    assert signals.grad.abs().amax(1).min() > 0 and signals.grad.isfinite().all()
    assert list(module.state_dict()) == ["separator.weight", "separator.bias"]
    assert len(list(module.parameters())) == 2 and not list(representation.modules())[1:]
    speech_model = representation.speech_model
    assert not any(part.training for part in speech_model.modules())
    assert not any(value.requires_grad or value.grad is not None for value in speech_model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in speech_model.state_dict().items())
    module.to(torch.float64)
    assert {value.dtype for value in speech_model.parameters()} == {torch.float64}
    assert not representation.of_targets(signals.double()).requires_grad


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("normalize", [True, False])
def test_gradient_in_double_precision(checkpoint, rate, normalize):
    representation = Representation(checkpoint(stable=True, normalize=normalize), rate).double()
    signals = waves(2, 200 * rate // 8000).double().requires_grad_()
    torch.autograd.gradcheck(lambda x: representation(x).square().mean((1, 2)), signals, fast_mode=True)


def test_resamples_inside(checkpoint):
    """A tone at 8 kHz is represented as the same tone at 16 kHz."""
    tones = [0.1 * torch.sin(2 * torch.pi * 440 * torch.arange(rate // 4) / rate)[None] for rate in (8000, 16000)]
    low = Representation(checkpoint(), 8000)(tones[0])
    high = Representation(checkpoint(), 16000)(tones[1])
    other = Representation(checkpoint(), 16000)(tones[0])
    assert low.shape == high.shape != other.shape
    assert (low - high)[:, 4:-4].square().mean() < 1e-3 * high[:, 4:-4].var()


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("fp16", 0.01)])
def test_half_precision(checkpoint, precision, tolerance):
    """Close to full precision both ways, also where a mean over a long segment makes gradients vanish in fp16."""
    gradients, values = [], []
    for chosen in ("fp32", precision):
        representation = Representation(checkpoint("wav2vec2", True), precision=chosen)
        assert representation(waves()).dtype == torch.float32
        signals = waves().requires_grad_()
        values.append(representation(signals))
        (1e-9 * values[-1] * torch.linspace(-1, 1, values[-1].shape[-1]).sin()).sum().backward()
        gradients.append(signals.grad)
    for full, half in (values, gradients):
        assert (half - full).norm() < tolerance * full.norm()
    sizes = {value.element_size() for value in representation.speech_model.parameters()}
    assert sizes == {2}


def test_autocast_does_not_reach_in(checkpoint):
    representation, signals = Representation(checkpoint()), waves()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(representation(signals), representation(signals.clone()))
        inside = representation(signals)
    assert torch.equal(inside, representation(signals))


# --- The cache ---


def test_cache_finds_the_same_samples_only(checkpoint, tmp_path, monkeypatch):
    representation = Representation(checkpoint(), cache_folder=str(tmp_path))
    calls, plain = [], Representation(checkpoint())
    forward = representation.forward
    monkeypatch.setattr(representation, "forward", lambda signals: calls.append(len(signals)) or forward(signals))
    first, shifted = waves(4), waves(4).roll(1, -1)
    for batch, computed in ((first, 4), (first.flip(0), 0), (torch.cat([first[:2], shifted[:1]]), 1), (shifted, 3)):
        calls.clear()
        found = representation.of_targets(batch)
        torch.testing.assert_close(found, plain(batch), rtol=1e-4, atol=1e-5)
        assert sum(calls) == computed
    calls.clear()
    other = Representation(checkpoint(), layer=1, cache_folder=str(tmp_path))
    torch.testing.assert_close(other.of_targets(first), Representation(checkpoint(), layer=1)(first))
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize(
    "file, key, value", [("config.json", "num_attention_heads", 4), ("preprocessor_config.json", "sampling_rate", 8000)]
)
def test_cache_tells_settings_apart_that_the_weights_do_not_show(checkpoint, tmp_path, file, key, value):
    shutil.copytree(checkpoint(), tmp_path / "other")
    settings = json.loads((tmp_path / "other" / file).read_text())
    (tmp_path / "other" / file).write_text(json.dumps(settings | {key: value}))
    for folder in (checkpoint(), tmp_path / "other", shutil.copytree(checkpoint(), tmp_path / "same")):
        Representation(str(folder), cache_folder=str(tmp_path / "cache")).of_targets(waves())
    assert len(os.listdir(tmp_path / "cache")) == 2


def test_a_file_that_was_cut_short_is_written_again(checkpoint, tmp_path):
    representation, signals = Representation(checkpoint(), cache_folder=str(tmp_path)), waves()
    expected = representation.of_targets(signals)
    for path, size in zip(tmp_path.glob("*/*/*.npy"), (0, 50, 130), strict=False):
        path.write_bytes(path.read_bytes()[:size])
    torch.testing.assert_close(representation.of_targets(signals), expected)
    assert all(np.load(path).ndim == 2 for path in tmp_path.glob("*/*/*.npy"))


def test_cache_stops_when_full_and_says_when_in_vain(checkpoint, tmp_path, caplog):
    representation = Representation(checkpoint(), cache_folder=str(tmp_path))
    representation.cache.room = 3 * representation(waves(1)).nbytes + 1
    representation.of_targets(waves(5))
    assert len(list(tmp_path.glob("*/*/*.npy"))) == 3
    caplog.clear()
    representation.cache.asked = PATIENCE - 1
    representation.of_targets(waves(1, seed=9))
    assert "none of 1000 targets came back" in caplog.text
    representation.of_targets(waves(1, seed=10))
    assert len(caplog.records) == 1


# --- What may be wrong ---


def spoilt(folder, tmp_path, spoil):
    copy = shutil.copytree(folder, tmp_path / "spoilt")
    spoil(copy)
    return str(copy)


def remove(name):
    return lambda folder: os.unlink(folder / name)


def rewrite(name="config.json", **changes):
    def spoil(folder):
        config = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(config | changes))

    return spoil


def not_finite(folder):
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    state["encoder.layers.1.layer_norm.weight"][0] = float("nan")
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def without_weights(folder):
    """One tensor is missing from the file: transformers would draw it at random."""
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    save_file({name: value for name, value in state.items() if "layers.1.attention.k_proj" not in name},
              folder / "model.safetensors", {"format": "pt"})  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (remove("preprocessor_config.json"), "preprocessor_config.json"),
        (remove("config.json"), "config.json"),
        (remove("model.safetensors"), "weights *.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"text"), "loaded pretrain"),
        (rewrite(hidden_size=32), "loaded"),
        (rewrite(num_hidden_layers=4), "loaded 16 weights encoder.layers.3"),
        (rewrite(num_hidden_layers=2), "loaded num_hidden_layers encoder.layers.2"),
        (not_finite, "not finite damaged"),
        (rewrite("preprocessor_config.json", sampling_rate=0), "sampling_rate whole 0"),
        (rewrite("preprocessor_config.json", sampling_rate="16000"), "sampling_rate whole '16000'"),
        (rewrite("preprocessor_config.json", do_normalize="false"), "do_normalize True 'false'"),
        (rewrite("preprocessor_config.json", feature_extractor_type="WhisperFeatureExtractor"), "WhisperFeature"),
        (without_weights, "loaded 2 weights layers.1.attention.k_proj"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "bert waveforms"),
        (lambda folder: (folder / "config.json").write_text("{"), "loaded"),
    ],
)
def test_wrong_checkpoints(checkpoint, tmp_path, spoil, words):
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        Representation(spoilt(checkpoint(), tmp_path, spoil))
    assert all(word in str(error.value) for word in ["speech_model:", "spoilt", *words.split()]), str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": "./nowhere"}, "speech_model: ./nowhere folder"),
        ({"source": "nobody/nothing"}, "speech_model: nobody/nothing pretrain"),
        ({"precision": "half"}, "precision: fp16 'half'"),
        ({"sample_rate": 11127}, "sample_rate: 16000 11127"),
        ({"sample_rate": 0}, "sample_rate: 16000 0"),
        ({"layer": 4}, "layer: 3 -1 4"),
        ({"layer": "last"}, "layer: 'last'"),
        ({"layer": True}, "layer: True"),
        ({"layer": [1.0, 2.0]}, "layer: 4 3 2"),
        ({"layer": [0.0, 0, 0, 0]}, "layer: zero"),
        ({"layer": ["a", 1, 1, 1]}, "layer: 'a'"),
        ({"scale": 0}, "scale: 0"),
        ({"segment_seconds": 0.001}, "segment_seconds: 16 40"),
        ({"segment_seconds": 0.001, "sample_rate": 8000}, "segment_seconds: 8 20"),
        ({"cache_folder": "/dev/null/cache"}, "cache_folder: /dev/null/cache"),
    ],
)
def test_wrong_settings(checkpoint, monkeypatch, options, words):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        Representation(**{"source": checkpoint(), **options})
    assert all(word in str(error.value) for word in words.split()), str(error.value)


def test_signals_shorter_than_the_receptive_field(checkpoint):
    representation = Representation(checkpoint())
    needed = representation.receptive_field
    assert representation(waves(1, needed)).shape[1] == 1
    with pytest.raises(ValueError, match=f"{needed - 1} samples .* {needed} samples"):
        representation(waves(1, needed - 1))


def test_silence_is_represented(checkpoint):
    """Zeros and their gradient stay finite."""
    signals = torch.zeros(2, 800, requires_grad=True)
    vectors = Representation(checkpoint())(signals)
    vectors.sum().backward()
    assert np.isfinite(vectors.detach().numpy()).all() and signals.grad.isfinite().all()
