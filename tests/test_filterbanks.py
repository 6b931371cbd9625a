"""The STFT gives back what it was given, at every length; it and the learned filterbank equal plain NumPy ones."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sb_ext.filterbanks import LearnedFilterbank, Stft


@pytest.mark.parametrize("window, hop", [(512, 128), (64, 16), (256, 64), (64, 32), (63, 21)])
@settings(max_examples=40, deadline=None)
@given(length=st.integers(1, 2500))
@example(length=1)
@example(length=2)
@example(length=255)
@example(length=256)
@example(length=257)
@example(length=511)
def test_decode_undoes_encode_at_every_length(window, hop, length):
    wave = torch.randn(2, 3, length, generator=torch.Generator().manual_seed(length))
    stft = Stft(window, hop)
    spectrum = stft.encode(wave)
    assert spectrum.shape[:3] == (2, 3, stft.num_bins)
    decoded = stft.decode(spectrum, length)
    assert decoded.shape == wave.shape
    torch.testing.assert_close(decoded, wave, atol=2e-4, rtol=0)


def test_encode_equals_numpy():
    wave = np.random.default_rng(0).standard_normal(1003)
    padded = np.pad(wave, 32, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    frames = [np.fft.rfft(window * padded[start : start + 64]) for start in range(0, len(wave) + 1, 16)]
    spectrum = Stft(64, 16).encode(torch.from_numpy(wave).float())
    np.testing.assert_allclose(spectrum.numpy(), np.stack(frames, 1), atol=1e-4)


@pytest.mark.parametrize("window, hop", [(512, 128), (64, 32), (63, 21)])
@pytest.mark.parametrize("frames", [2, 9, 40])
def test_decode_of_any_spectrum_equals_torch_istft(window, hop, frames):
    """Masked spectra are no waveform's."""
    torch.manual_seed(0)
    stft, spectrum = Stft(window, hop), torch.randn(3, window // 2 + 1, frames, dtype=torch.complex64)
    inputs = [spectrum.clone().requires_grad_() for _ in range(2)]
    length = hop * (frames - 1) + hop // 2
    expected = torch.istft(inputs[0], window, hop, window=stft.window, length=length)
    found = stft.decode(inputs[1], length)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    weights = torch.randn_like(found)
    for wave in (expected, found):
        (wave * weights).sum().backward()
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:The length of signal is shorter")
def test_behind_the_last_frame_there_is_silence():
    stft, wave = Stft(64, 16), torch.randn(1, 320)
    decoded = stft.decode(stft.encode(wave), 500)
    torch.testing.assert_close(decoded[:, :320], wave, atol=1e-5, rtol=0)
    assert decoded.shape == (1, 500) and not decoded[:, 352:].any()


@pytest.mark.parametrize("filterbank, hop", [(Stft, 64), (Stft, 0), (lambda *sizes: LearnedFilterbank(6, *sizes), 65)])
def test_windows_that_leave_samples_out_are_named(filterbank, hop):
    with pytest.raises(ValueError, match=f"hop_size: expected 1 to window_size.*received {hop}"):
        filterbank(64, hop)


def test_the_window_is_not_part_of_a_checkpoint_and_follows_the_module():
    stft = Stft(64, 16)
    assert not stft.state_dict()
    assert "window" in dict(stft.named_buffers())


@pytest.mark.parametrize("window, hop", [(16, 8), (5, 2), (4, 4)])
@pytest.mark.parametrize("length", [1, 4, 16, 23, 24, 100])
def test_the_learned_filterbank_equals_numpy(window, hop, length):
    torch.manual_seed(0)
    filterbank, wave = LearnedFilterbank(6, window, hop), torch.randn(2, 3, length)
    filters, synthesis = (weight[:, 0].double().detach().numpy() for weight in filterbank.parameters())
    padded = np.pad(wave.double().numpy(), [(0, 0), (0, 0), (0, max(0, window - length))])
    starts = range(0, padded.shape[-1] - window + 1, hop)
    frames = [np.maximum(padded[..., start : start + window] @ filters.T, 0) for start in starts]
    code = filterbank.encode(wave)
    np.testing.assert_allclose(code.detach().numpy(), np.stack(frames, -1), atol=1e-5)
    expected = np.zeros(padded.shape)
    for start, frame in zip(starts, frames, strict=True):
        expected[..., start : start + window] += frame @ synthesis
    np.testing.assert_allclose(filterbank.decode(code, length).detach().numpy(), expected[..., :length], atol=1e-5)


def test_the_learned_filterbank_keeps_single_precision():
    filterbank, wave = LearnedFilterbank(6), torch.randn(2, 200)
    expected = filterbank.decode(filterbank.encode(wave), 200)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(filterbank.decode(filterbank.encode(wave), 200), expected)
