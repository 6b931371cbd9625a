"""Speaker encoders behind one interface: gradients, freezing, sample rates, SpeechBrain's stand-ins."""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from sb_ext.speech.embeddings import SpeakerEmbedding
from sb_ext.speech.rawnet2 import RawNet2

SMALL = dict(num_samples=2700, widths=(4, 8), kernel_size=31, cells=8, num_outputs=6, overlap=500)
BANDS = {"ecapa_tdnn": "{embedding_size: 10, num_bands: 20, width: 16}", "xvector": "{embedding_size: 10, width: 8}"}


def embedding(**more):
    torch.manual_seed(0)
    return SpeakerEmbedding(RawNet2(**SMALL), **{"sample_rate": 16000, **more})


def stand_in(name, recipes_folder):
    with open(recipes_folder / "blocks" / f"{name}.yaml") as file:
        return load_hyperpyyaml(file, BANDS[name])


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_where_gradients_go_and_what_stays(gradient, frozen):
    model, estimates = embedding(gradient=gradient, frozen=frozen).train(), torch.randn(2, 2, 3000, requires_grad=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = model(estimates)
    assert result.requires_grad == (gradient or not frozen)
    if result.requires_grad:
        result.square().sum().backward()
    assert (estimates.grad is not None and bool(estimates.grad.any())) == gradient
    assert any(one.grad is not None for one in model.parameters()) == (not frozen)
    kept = all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert kept == frozen, "batch statistics move only where the encoder is trained"


def test_every_estimate_is_embedded_on_its_own():
    model, estimates = embedding().eval(), torch.randn(2, 3, 3000)
    for row in range(2):
        expected = model.encoder(estimates[row])
        torch.testing.assert_close(model(estimates)[row], expected, atol=1e-5, rtol=1e-4)


def test_estimates_at_another_rate_are_resampled():
    """A tone at 8 kHz is the same tone at 16 kHz."""
    slow, fast = embedding(sample_rate=8000).eval(), embedding().eval()
    tone = [torch.sin(2 * torch.pi * 440 * torch.arange(rate // 2) / rate)[None, None] for rate in (8000, 16000)]
    other = torch.sin(2 * torch.pi * 880 * torch.arange(8000) / 16000)[None, None]
    near, far = (slow(tone[0]) - fast(tone[1])).norm(), (fast(other) - fast(tone[1])).norm()
    assert near < 0.1 * far


@pytest.mark.parametrize("rate", [4000, 16000.0])
def test_a_rate_that_encoders_do_not_take_is_named(rate):
    with pytest.raises(ValueError, match=f"sample_rate: .* received {rate}; set --sample_rate 16000"):
        embedding(sample_rate=rate)


@pytest.mark.parametrize("name", ["ecapa_tdnn", "xvector"])
@pytest.mark.parametrize("length", [50, 8000, 20000])
def test_speechbrains_encoders_stand_in(name, length, recipes_folder):
    encoder = stand_in(name, recipes_folder)["encoder"].eval()
    wave = torch.randn(3, length)
    embeddings = SpeakerEmbedding(encoder, 16000)(wave[:, None])
    assert embeddings.shape == (3, 1, 10) and embeddings.isfinite().all()
    if length == 20000:
        features = encoder.features(wave)
        expected = encoder.network(features - features.mean(1, keepdim=True))
        torch.testing.assert_close(embeddings, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["ecapa_tdnn", "xvector"])
def test_published_weights_are_the_networks_alone(name, recipes_folder):
    one, two = (stand_in(name, recipes_folder)["encoder"] for _ in range(2))
    two.load_state_dict(one.network.state_dict())
    torch.testing.assert_close(two.network.state_dict(), one.network.state_dict())
    two.load_state_dict(one.state_dict())
    with pytest.raises(RuntimeError, match="nonsense"):
        two.load_state_dict({"nonsense": torch.zeros(1)})
