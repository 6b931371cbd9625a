"""Masking of learned features against Asteroid's DPTNet, weights copied."""

import pytest
import torch
from asteroid.models import DPTNet

from sb_ext.filterbanks import LearnedFilterbank
from sb_ext.networks import DualPathTransformer, TemporalConvNet
from sb_ext.separators import Masking

SIZES = dict(num_blocks=2, num_heads=2, cells=6, chunk_size=10, chunk_hop=5)


def theirs(num_outputs=2):
    torch.manual_seed(0)
    return DPTNet(num_outputs, n_heads=2, ff_hid=6, chunk_size=10, n_repeats=2, n_filters=8)


def ours(num_outputs=2, seed=1, **more):
    torch.manual_seed(seed)
    return Masking(LearnedFilterbank(8), DualPathTransformer(8, num_outputs, **SIZES, **more))


@pytest.mark.parametrize("num_outputs", [2, 3])
@pytest.mark.parametrize("samples", [16, 17, 50, 999, 1000])
def test_estimates_and_gradients_equal_asteroid(samples, num_outputs):
    """One frame, less than a chunk, odd lengths."""
    reference, model = theirs(num_outputs), ours(num_outputs)
    model.load_asteroid(reference.state_dict())
    mixture, weights = torch.randn(2, samples), torch.randn(2, num_outputs, samples)
    expected, estimates = reference(mixture.unsqueeze(1)), model(mixture).sources
    assert estimates.shape == expected.shape == weights.shape
    assert (estimates - expected).abs().max() < 1e-4 * expected.abs().max()
    (expected * weights).sum().backward()
    (estimates * weights).sum().backward()
    for mine, other in zip(model.filterbank.parameters(), (reference.encoder, reference.decoder), strict=True):
        wanted = other.filterbank._filters.grad
        assert (mine.grad - wanted).abs().max() < 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("samples", [1, 15])
def test_less_than_one_window(samples):
    mixture = torch.randn(2, samples)
    estimates = ours()(mixture).sources
    padded = ours()(torch.nn.functional.pad(mixture, (0, 16 - samples))).sources
    torch.testing.assert_close(estimates, padded[..., :samples])


@pytest.mark.parametrize("network", [DualPathTransformer(8, 2, **SIZES), TemporalConvNet(8, 2, 4, 6, 3, 2, 2)])
def test_one_estimate_a_block_through_the_same_decoder(network):
    model, mixture = Masking(LearnedFilterbank(8), network), torch.randn(3, 500)
    separation = model(mixture, layers=True)
    assert [layer.shape for layer in separation.layers] == [(3, 2, 500)] * 2
    assert separation.layers[-1].equal(separation.sources) and model(mixture).layers == ()
    torch.testing.assert_close(separation.sources, model(mixture).sources)
    code = model.filterbank.encode(mixture)
    masked = network(code, layers=True)[0] * code.unsqueeze(1)
    torch.testing.assert_close(separation.layers[0], model.filterbank.decode(masked, 500))


def test_silence_gives_silence_and_finite_gradients():
    mixture = torch.zeros(2, 700)
    mixture[1] = torch.randn(700)
    model = ours()
    sources = model(mixture).sources
    assert sources[0].eq(0).all() and sources.isfinite().all()
    sources.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_another_number_of_sources_is_refused():
    with pytest.raises(ValueError, match="num_sources: this model was built for 3 outputs, received 2"):
        ours(3)(torch.randn(1, 300), num_sources=2)


def test_a_network_for_other_features_is_refused():
    with pytest.raises(ValueError, match="network.num_inputs: the filterbank gives 16 bins, received 8"):
        Masking(LearnedFilterbank(16), DualPathTransformer(8, 2, **SIZES))
