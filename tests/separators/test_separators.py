"""Masking separators against plain reimplementations, and what holds for every mixture."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sb_ext.filterbanks import Stft
from sb_ext.networks import TemporalConvNet
from sb_ext.separators import IdealRatioMask, SpectralMasking
from sb_ext.separators.masking import LogMagnitude

WINDOW, HOP = 64, 16


def separator(num_outputs=2, **more):
    torch.manual_seed(0)
    network = TemporalConvNet(WINDOW // 2 + 1, num_outputs, 8, 16, num_layers=2, num_stacks=2)
    return SpectralMasking(Stft(WINDOW, HOP), network, **more)


def numpy_stft(wave):
    padded = np.pad(wave, WINDOW // 2, mode="reflect")
    window = np.hanning(WINDOW + 1)[:-1]
    starts = range(0, len(wave) + 1, HOP)
    return np.stack([np.fft.rfft(window * padded[start : start + WINDOW]) for start in starts], 1)


def numpy_istft(spectrum, length):
    window, frames = np.hanning(WINDOW + 1)[:-1], spectrum.shape[1]
    total, weight = np.zeros(WINDOW + HOP * frames), np.zeros(WINDOW + HOP * frames)
    for place in range(frames):
        here = slice(place * HOP, place * HOP + WINDOW)
        total[here] += window * np.fft.irfft(spectrum[:, place], WINDOW)
        weight[here] += window**2
    here = slice(WINDOW // 2, WINDOW // 2 + length)
    return total[here] / weight[here]


@pytest.mark.parametrize("num_outputs", [2, 3])
@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 1500))
@example(length=1)
@example(length=33)
def test_estimates_add_up_to_the_mixture(num_outputs, length):
    mixture = torch.randn(2, length, generator=torch.Generator().manual_seed(length))
    sources = separator(num_outputs)(mixture).sources
    assert sources.shape == (2, num_outputs, length)
    torch.testing.assert_close(sources.sum(1), mixture, atol=1e-4, rtol=0)


def test_the_model_is_the_papers():
    """STFT magnitude, mask network, masks divided by their sum, mixture phase (MixCycle, Fig. 1)."""
    model, mixture = separator(), torch.randn(1, 1000)
    spectrum = numpy_stft(mixture[0].double().numpy())
    (masks,) = model.network(torch.from_numpy(np.abs(spectrum)).float()[None])
    masks = masks[0].detach().double().numpy()
    masks /= masks.sum(0)
    expected = np.stack([numpy_istft(mask * spectrum, 1000) for mask in masks])
    np.testing.assert_allclose(model(mixture).sources[0].detach().numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("features", [None, LogMagnitude()])
def test_silence_gives_silence(features):
    mixture = torch.zeros(2, 700)
    mixture[1] = torch.randn(700)
    model = separator(features=features)
    sources = model(mixture).sources
    assert sources[0].eq(0).all() and sources.isfinite().all()
    sources.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_masks_that_are_all_zero_give_finite_estimates():
    model = separator()
    model.network.head[2] = torch.nn.ReLU()
    model.network.head[1].weight.data.zero_()
    model.network.head[1].bias.data.fill_(-1)
    assert model(torch.randn(1, 500)).sources.eq(0).all()


def test_items_do_not_depend_on_their_batch():
    model, mixture = separator(), torch.randn(4, 900)
    alone = torch.cat([model(item[None]).sources for item in mixture])
    torch.testing.assert_close(model(mixture).sources, alone, atol=1e-5, rtol=1e-4)


def test_log_magnitude_gives_the_same_masks_at_every_level():
    model, mixture = separator(features=LogMagnitude()), torch.randn(1, 900)
    torch.testing.assert_close(model(20 * mixture).sources / 20, model(mixture).sources, atol=1e-4, rtol=1e-4)


def test_layers_are_estimates_of_every_stack_and_end_with_the_sources():
    model, mixture = separator(), torch.randn(2, 900)
    separation = model(mixture, layers=True)
    assert len(separation.layers) == 2 and separation.layers[-1].equal(separation.sources)
    assert separation.sources.equal(model(mixture).sources) and model(mixture).layers == ()
    for layer in separation.layers:
        torch.testing.assert_close(layer.sum(1), mixture, atol=1e-4, rtol=0)


def test_another_number_of_sources_is_refused():
    assert separator(3)(torch.randn(1, 300), num_sources=3).sources.shape == (1, 3, 300)
    with pytest.raises(ValueError, match="num_sources: this model was built for 2 outputs, received 3"):
        separator(2)(torch.randn(1, 300), num_sources=3)


def test_a_network_for_other_bins_is_refused():
    with pytest.raises(ValueError, match="network.num_inputs: the filterbank gives 33 bins, received 9"):
        SpectralMasking(Stft(WINDOW, HOP), TemporalConvNet(9, 2, 4, 4, num_layers=1, num_stacks=1))


@pytest.mark.parametrize("count", [2, 3])
def test_ideal_ratio_mask_equals_numpy(count):
    sources = np.random.default_rng(0).standard_normal((count, 1100))
    noise = 0.1 * np.random.default_rng(1).standard_normal(1100)
    mixture = sources.sum(0) + noise
    magnitudes = np.abs(np.stack([numpy_stft(source) for source in sources]))
    spectrum = numpy_stft(mixture)
    expected = np.stack([numpy_istft(one / magnitudes.sum(0) * spectrum, 1100) for one in magnitudes])
    ours = IdealRatioMask(Stft(WINDOW, HOP))(
        torch.from_numpy(mixture).float()[None], oracle=torch.from_numpy(sources).float()[None]
    )
    np.testing.assert_allclose(ours.sources[0].numpy(), expected, atol=1e-4)


def test_ideal_ratio_mask_of_a_silent_source_is_silence():
    sources = torch.randn(1, 2, 900)
    sources[:, 1] = 0
    estimates = IdealRatioMask(Stft(WINDOW, HOP))(sources.sum(1), oracle=sources).sources
    torch.testing.assert_close(estimates, sources, atol=1e-4, rtol=0)


def test_ideal_ratio_mask_without_sources_says_what_it_needs():
    with pytest.raises(ValueError, match="oracle: .*true sources"):
        IdealRatioMask(Stft(WINDOW, HOP))(torch.randn(1, 900))
