"""The STFT gives back what it was given, at every length, and equals a plain NumPy one."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sb_ext.filterbanks import Stft


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


def test_the_window_is_not_part_of_a_checkpoint_and_follows_the_module():
    stft = Stft(64, 16)
    assert not stft.state_dict()
    assert "window" in dict(stft.named_buffers())
