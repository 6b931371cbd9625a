"""RawNet2 against the public code's arithmetic, written out once more, and what holds for every length."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speechbrain.nnet.CNN import SincConv as SpeechBrainSincConv
from torch.nn import functional as F

from sb_ext.speech.rawnet2 import RawNet2, SincConv

SMALL = dict(num_samples=2700, widths=(4, 8), kernel_size=31, cells=8, num_outputs=6, overlap=500)


def small(preactivate=True, **more):
    torch.manual_seed(0)
    model = RawNet2(**SMALL, preactivate=preactivate, **more)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and "hz_" not in name:
            tensor.uniform_(0.5, 1.5) if "running_var" in name else tensor.add_(0.1 * torch.randn_like(tensor))
    return model.eval()


def public(state, x, first_version, rate=16000):
    """The public code's forward pass in evaluation, from its own names: fixed-length, peak-normalised input."""

    def norm(name, x):
        mean, var, weight, bias = (state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return (x - mean[:, None]) / (var[:, None] + 1e-5).sqrt() * weight[:, None] + bias[:, None]

    def conv(name, x, padding=0):
        return F.conv1d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    def lrelu(x):
        return torch.where(x > 0, x, 0.3 * x)

    x = state["ln.gamma"] * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + state["ln.beta"]
    size, low = 31, 50 + state["first_conv.low_hz_"].abs()
    high = (low + 50 + state["first_conv.band_hz_"].abs()).clamp(50, rate / 2)
    t = torch.arange(-(size - 1) / 2, 0, dtype=x.dtype) / rate
    window = 0.54 - 0.46 * torch.cos(2 * math.pi * torch.linspace(0, size / 2 - 1, size // 2, dtype=x.dtype) / size)
    left = (torch.sin(2 * math.pi * high * t) - torch.sin(2 * math.pi * low * t)) / (math.pi * t) * window
    filters = torch.cat([left, 2 * (high - low), left.flip(1)], 1) / (2 * (high - low))
    x = lrelu(norm("first_bn", F.max_pool1d(F.conv1d(x[:, None], filters[:, None]).abs(), 3)))
    for place in range(6):
        block = f"block{place}.0"
        entry = x if first_version or place == 0 else lrelu(norm(f"{block}.bn1", x))
        out = conv(f"{block}.conv2", lrelu(norm(f"{block}.bn2", conv(f"{block}.conv1", entry, 1))), 1)
        skip = conv(f"{block}.conv_downsample", x) if f"{block}.conv_downsample.weight" in state else x
        x = F.max_pool1d(out + skip, 3)
        gate = f"fc_attention{place}.0" if first_version else f"{block}.frm.fc"
        y = torch.sigmoid(x.mean(-1) @ state[f"{gate}.weight"].T + state[f"{gate}.bias"])[..., None]
        x = x * y + y
    x, hidden = lrelu(norm("bn_before_gru", x)), torch.zeros(len(x), state["gru.weight_hh_l0"].shape[1]).to(x)
    for frame in x.unbind(-1):
        r, z, n = (frame @ state["gru.weight_ih_l0"].T + state["gru.bias_ih_l0"]).chunk(3, 1)
        hr, hz, hn = (hidden @ state["gru.weight_hh_l0"].T + state["gru.bias_hh_l0"]).chunk(3, 1)
        z = torch.sigmoid(z + hz)
        hidden = (1 - z) * torch.tanh(n + torch.sigmoid(r + hr) * hn) + z * hidden
    return hidden @ state["fc1_gru.weight"].T + state["fc1_gru.bias"]


def public_state(model, first_version):
    """The weights of a small model under the public code's names, with what it has besides."""
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    state |= {"fc2_gru.weight": torch.randn(5, 6), "fc2_gru.bias": torch.randn(5)}
    if first_version:
        for name in [name for name in state if ".frm.fc." in name]:
            place, kind = name[5], name.rpartition(".")[2]
            state[f"fc_attention{place}.0.{kind}"] = state.pop(name)
        for place in range(1, 6):
            width = state[f"block{place}.0.conv1.weight"].shape[1]
            for kind in ("weight", "bias", "running_mean", "running_var"):
                state[f"block{place}.0.bn1.{kind}"] = torch.rand(width)
            state[f"block{place}.0.bn1.num_batches_tracked"] = torch.tensor(3)
    return state


@pytest.mark.parametrize("first_version", [True, False])
def test_output_and_gradients_are_the_public_codes(first_version):
    model = small(preactivate=not first_version)
    state = public_state(model, first_version)
    other = RawNet2(**SMALL, preactivate=not first_version).eval()
    other.load_state_dict(state)
    wave = torch.randn(3, 2700)
    wave = (wave / wave.abs().amax(1, keepdim=True)).requires_grad_()
    double = {name: value.double() for name, value in state.items()}
    expected = public(double, wave.double(), first_version)
    torch.testing.assert_close(other(wave).double(), expected, atol=2e-5, rtol=1e-4)
    ours, theirs = (torch.autograd.grad(out.square().sum(), wave)[0] for out in (other.embed(wave), expected))
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-2)


def test_the_sinc_filters_are_speechbrains():
    ours = SincConv(20, 51, 16000)
    theirs = SpeechBrainSincConv(20, 51, input_shape=(1, 400, 1), sample_rate=16000, min_low_hz=50, min_band_hz=50)
    theirs.device = torch.device("cpu")
    theirs.low_hz_.data, theirs.band_hz_.data = ours.low_hz_.data.clone(), ours.band_hz_.data.clone()
    torch.testing.assert_close(ours.filters(), theirs._get_sinc_filters(), atol=1e-5, rtol=1e-4)


def test_the_published_shapes():
    """Those of rawnet2_best_weights.pt, as its model file in the public repository builds them."""
    with torch.device("meta"):
        model = RawNet2(preactivate=False)
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    assert shapes["ln.gamma"] == [59049] and shapes["first_conv.low_hz_"] == [128, 1]
    assert shapes["block2.0.conv_downsample.weight"] == [256, 128, 1] and "block1.0.bn1.weight" not in shapes
    assert shapes["gru.weight_hh_l0"] == [3072, 1024] and shapes["fc1_gru.weight"] == [1024, 1024]
    assert [name for name in shapes if "downsample" in name and "weight" in name] == ["block2.0.conv_downsample.weight"]


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 12000))
def test_any_length_as_in_the_public_code(length):
    """Shorter input is repeated, of longer one windows are averaged (its TA_Dataset_VoxCeleb2)."""
    model, wave = small(), torch.randn(1, length, generator=torch.Generator().manual_seed(length))
    x, size, overlap = (wave / wave.abs().max()).numpy(), 2700, 500
    if length < size:
        pieces = [np.tile(x, (1, int(size / length) + 1))[:, :size]]
    else:
        step = size - overlap
        count = int((length - overlap) / step) + 1
        pieces = [x[:, i * step : i * step + size] for i in range(count - 1)] + [x[:, -size:]]
    with torch.no_grad():
        expected = torch.stack([model.embed(torch.from_numpy(piece.copy())) for piece in pieces]).mean(0)
        torch.testing.assert_close(model(wave), expected, atol=1e-4, rtol=1e-4)


def test_training_takes_a_random_piece():
    model, wave = small().train(), torch.arange(9000.0)[None]
    starts = {float(model.pieces(wave)[0][0, 0]) for _ in range(8)}
    assert len(starts) > 4 and max(starts) <= 9000 - 2700


def test_loudness_does_not_matter_and_silence_stays_finite():
    model, wave = small(), torch.randn(2, 3000)
    torch.testing.assert_close(model(1e-4 * wave), model(wave), atol=1e-4, rtol=1e-3)
    silence = torch.zeros(1, 3000, requires_grad=True)
    model(silence).sum().backward()
    assert silence.grad.isfinite().all() and all(one.grad.isfinite().all() for one in model.parameters())


def test_weights_of_the_first_version_are_refused_by_the_second():
    with pytest.raises(ValueError, match="preactivate: .* set preactivate: False"):
        small().load_state_dict(public_state(small(preactivate=False), first_version=True))


@pytest.mark.parametrize("key, value", [("kernel_size", 30), ("num_samples", 2200), ("overlap", 2700), ("widths", [4])])
def test_what_cannot_be_is_named(key, value):
    with pytest.raises(ValueError, match=f"^{key}: "):
        RawNet2(**{**SMALL, key: value})
