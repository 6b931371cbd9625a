"""Conv-TasNet as a composition against Asteroid's and torchaudio's, weights copied."""

from pathlib import Path

import pytest
import torch
from asteroid.models import ConvTasNet
from hyperpyyaml import load_hyperpyyaml
from torch import nn
from torchaudio.models.conv_tasnet import ConvTasNet as TorchaudioConvTasNet

from sb_ext.filterbanks import LearnedFilterbank
from sb_ext.networks import TemporalConvNet
from sb_ext.separators import Masking

BLOCK = Path(__file__).resolve().parents[2] / "recipes" / "blocks" / "convtasnet.yaml"
SIZES = dict(bottleneck=6, hidden=10, num_layers=3, num_stacks=2)


def ours(num_outputs=2, window=16, seed=1, filters=12, encoder=nn.Identity, **more):
    torch.manual_seed(seed)
    filterbank = LearnedFilterbank(filters, window, window // 2, encoder)
    return Masking(filterbank, TemporalConvNet(filters, num_outputs, **{**SIZES, **more}))


def asteroid(num_outputs=2, window=16, **more):
    torch.manual_seed(0)
    small = dict(n_blocks=3, n_repeats=2, bn_chan=6, hid_chan=10, skip_chan=6, n_filters=12)
    return moved(ConvTasNet(num_outputs, kernel_size=window, stride=window // 2, **{**small, **more}))


def moved(model):
    """Norms and slopes away from their initial values, too."""
    for parameter in model.parameters():
        parameter.data += 0.1 * parameter.data.std(correction=0).clamp_min(0.1) * torch.randn_like(parameter)
    return model


def block(overrides):
    with open(BLOCK, encoding="utf-8") as file:
        return load_hyperpyyaml(file, overrides)["model"]


def assert_equal(model, load, reference, samples, pad=0):
    """Estimates, and gradients of a weighted sum of them, to 1e-4 of the largest."""
    load(reference.state_dict())
    mixture = torch.randn(2, samples)
    expected = reference(mixture.unsqueeze(1))
    estimates = model(nn.functional.pad(mixture, (pad, pad))).sources[..., pad : pad + samples]
    assert estimates.shape == expected.shape
    assert (estimates - expected).abs().max() < 1e-4 * expected.abs().max()
    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    (estimates * weights).sum().backward()
    found = [parameter.grad for parameter in model.parameters()]
    # Gradients have the shapes of weights: the same renaming brings theirs into our order. One part of theirs goes
    # nowhere, the last residual, and has none.
    load({name: weight.grad for name, weight in reference.named_parameters() if weight.grad is not None})
    largest = max(parameter.abs().max() for parameter in model.parameters())
    for mine, (name, wanted) in zip(found, model.named_parameters(), strict=True):
        assert (mine - wanted).abs().max() < 1e-4 * max(wanted.abs().max(), 1e-2 * largest), name


@pytest.mark.parametrize(
    "mine, theirs",
    [
        ({}, {}),
        ({"num_outputs": 3}, {"num_outputs": 3}),
        ({"window": 32}, {"window": 32}),
        ({"skip": 9}, {"skip_chan": 9}),
        ({"kernel_size": 5}, {"conv_kernel_size": 5}),
        ({"activation": nn.ReLU}, {"mask_act": "relu"}),
        ({"encoder": nn.ReLU}, {"encoder_activation": "relu"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("samples", [32, 333])
def test_estimates_and_gradients_equal_asteroid(mine, theirs, samples):
    model = ours(**mine)
    assert_equal(model, model.load_asteroid, asteroid(**theirs), samples)


@pytest.mark.parametrize("activation, name", [(nn.Sigmoid, "sigmoid"), (nn.ReLU, "relu")])
def test_estimates_and_gradients_equal_torchaudio(activation, name):
    """Whose convolutions pad a hop of zeros at both ends."""
    model = ours(activation=activation)
    torch.manual_seed(0)
    reference = moved(TorchaudioConvTasNet(2, 16, 12, 3, 6, 10, 3, 2, name))
    assert_equal(model, model.load_torchaudio, reference, samples=400, pad=8)


@pytest.mark.parametrize(
    "overrides, theirs",
    [
        ("", {}),
        (
            "{filter_size: 32, filter_hop: 16, mask_activation: !name:torch.nn.ReLU }",
            {"kernel_size": 32, "stride": 16, "mask_act": "relu"},
        ),
    ],
)
def test_the_best_configuration_of_the_block_equals_asteroid(overrides, theirs):
    """With straight PReLUs: among so many, rounding decides some signs, which moves the gradients of both by 1e-3."""
    torch.manual_seed(0)
    reference, model = moved(ConvTasNet(2, **theirs)), block(overrides)
    for layer in reference.modules():
        if isinstance(layer, nn.PReLU):
            layer.weight.data.fill_(1.0)
    unused = 512 * 128 + 128  # Asteroid's last residual
    assert sum(one.numel() for one in model.parameters()) == sum(one.numel() for one in reference.parameters()) - unused
    assert_equal(model, model.load_asteroid, reference, samples=1500)


def test_an_estimate_a_repeat_is_the_shorter_network():
    """As Asteroid's with that many repeats, of the same weights."""
    deep, model = asteroid(n_repeats=3), ours(num_stacks=3)
    model.load_asteroid(deep.state_dict())
    mixture = torch.randn(2, 333)
    layers = model(mixture, layers=True).layers
    assert len(layers) == 3
    for repeats, layer in enumerate(layers, start=1):
        shorter = asteroid(n_repeats=repeats)
        shorter.load_state_dict({name: deep.state_dict()[name] for name in shorter.state_dict()})
        torch.testing.assert_close(layer, shorter(mixture.unsqueeze(1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("level", [0.1, 1e3])
def test_estimates_follow_the_mixtures_level(level):
    """What recursion relies on: a rest may come at any level."""
    model, mixture = ours(), torch.randn(2, 333)
    torch.testing.assert_close(model(level * mixture).sources / level, model(mixture).sources, rtol=1e-3, atol=1e-4)


def test_a_model_of_another_size_is_named():
    with pytest.raises(RuntimeError, match="size mismatch for squeeze.weight"):
        ours(bottleneck=7, skip=6).load_asteroid(asteroid().state_dict())
