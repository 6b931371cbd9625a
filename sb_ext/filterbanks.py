"""From waveforms to features and back."""

import torch
from torch import nn


class Stft(nn.Module):
    """Short-time Fourier transform and its inverse, Hann window.

    Arguments
    ---------
    window_size, hop_size : int
        In samples; F = window_size // 2 + 1 bins.

    Example
    -------
    >>> stft = Stft(512, 128)
    >>> wave = torch.randn(2, 1000)
    >>> spectrum = stft.encode(wave)
    >>> spectrum.shape, torch.allclose(stft.decode(spectrum, 1000), wave, atol=1e-5)
    (torch.Size([2, 257, 8]), True)
    """

    def __init__(self, window_size=512, hop_size=128):
        super().__init__()
        self.window_size, self.hop_size = window_size, hop_size
        self.register_buffer("window", torch.hann_window(window_size), persistent=False)

    @property
    def num_bins(self):
        """F."""
        return self.window_size // 2 + 1

    def encode(self, wave):
        """Waveforms ``[..., T]`` to complex spectra ``[..., F, L]``, L = T // hop + 1."""
        short = self.window_size // 2 + 1 - wave.shape[-1]
        if short > 0:
            # Reflection at the borders needs more than half a window; silence behind the end changes nothing else.
            wave = nn.functional.pad(wave, (0, short))
        flat = wave.reshape(-1, wave.shape[-1])
        spectrum = torch.stft(
            flat.float(), self.window_size, self.hop_size, window=self.window.float(), return_complex=True
        )
        return spectrum.reshape(*wave.shape[:-1], *spectrum.shape[-2:])

    def decode(self, spectrum, length):
        """Complex spectra ``[..., F, L]`` to waveforms ``[..., length]``."""
        flat = spectrum.reshape(-1, *spectrum.shape[-2:])
        # The synthesis runs over all frames and is cut afterwards, so that a length below half a window works too.
        reach = self.hop_size * (spectrum.shape[-1] - 1)
        wave = torch.istft(flat, self.window_size, self.hop_size, window=self.window.float(), length=max(length, reach))
        return wave.reshape(*spectrum.shape[:-2], -1)[..., :length]
