"""From waveforms to features and back."""

import torch
from torch import nn


class Stft(nn.Module):
    """Short-time Fourier transform and its inverse, Hann window.

    Arguments
    ---------
    window_size, hop_size : int
        In samples; F = window_size // 2 + 1 bins.

    Raises
    ------
    ValueError
        If windows do not overlap: a Hann window begins with zero, which could not be undone.

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
        if not 0 < hop_size < window_size:
            raise ValueError(f"hop_size: expected 1 to window_size - 1, {window_size - 1}, received {hop_size}")
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
        flat, window = spectrum.reshape(-1, *spectrum.shape[-2:]), self.window.float()
        # The synthesis runs over all frames and is cut afterwards, so that a length below half a window works too.
        reach = self.hop_size * (spectrum.shape[-1] - 1)
        whole = max(length, reach)
        if whole < reach + self.hop_size and self.window_size % self.hop_size == 0:
            wave = self._synthesis(flat, window, whole)
        else:
            wave = torch.istft(flat, self.window_size, self.hop_size, window=window, length=whole)
        return wave.reshape(*spectrum.shape[:-2], -1)[..., :length]

    def _synthesis(self, spectrum, window, length):
        """torch.istft of ``[N, F, L]``, whose overlap-add is slow where it is compiled: one addition a sample there."""
        frames = torch.fft.irfft(spectrum.mT, self.window_size) * window
        power = window.square().expand(1, spectrum.shape[-1], -1)
        inside = slice(self.window_size // 2, self.window_size // 2 + length)
        return self._overlapped(frames)[:, inside] / self._overlapped(power)[:, inside]

    def _overlapped(self, frames):
        """Frames ``[N, L, window]``, each ``hop_size`` later than the one before, as their sum ``[N, T]``."""
        parts = frames.unflatten(-1, (-1, self.hop_size)).unbind(-2)
        behind = len(parts) - 1
        return sum(nn.functional.pad(part, (0, 0, k, behind - k)) for k, part in enumerate(parts)).flatten(1)


class LearnedFilterbank(nn.Module):
    """A convolution and a transposed convolution: TasNet's encoder and decoder (Luo and Mesgarani 2018).

    Whole windows only: up to ``hop_size - 1`` last samples are not seen, and come back as zeros. Both convolutions run
    in single precision, since a waveform in bf16 would keep no more than its first 50 dB.

    Arguments
    ---------
    num_filters : int
        F.
    window_size, hop_size : int
        In samples.
    activation : type of nn.Module
        After the first convolution; ``nn.Identity`` in Conv-TasNet (Luo and Mesgarani 2019).

    Raises
    ------
    ValueError
        If windows leave samples out.

    Example
    -------
    >>> filterbank = LearnedFilterbank(64, 16, 8)
    >>> code = filterbank.encode(torch.randn(2, 1000))
    >>> code.shape, filterbank.decode(code, 1000).shape
    (torch.Size([2, 64, 124]), torch.Size([2, 1000]))
    """

    def __init__(self, num_filters=64, window_size=16, hop_size=8, activation=nn.ReLU):
        super().__init__()
        if not 0 < hop_size <= window_size:
            raise ValueError(f"hop_size: expected 1 to window_size, {window_size}, received {hop_size}")
        self.num_bins, self.window_size = num_filters, window_size
        self.activation = activation()
        self.encoder = nn.Conv1d(1, num_filters, window_size, hop_size, bias=False)
        self.decoder = nn.ConvTranspose1d(num_filters, 1, window_size, hop_size, bias=False)
        for layer in (self.encoder, self.decoder):
            nn.init.xavier_normal_(layer.weight)

    def encode(self, wave):
        """Waveforms ``[..., T]`` to features ``[..., F, L]``, L = (max(T, window) - window) // hop + 1."""
        flat = wave.reshape(-1, 1, wave.shape[-1]).float()
        flat = nn.functional.pad(flat, (0, max(0, self.window_size - wave.shape[-1])))
        with torch.autocast(wave.device.type, enabled=False):
            code = self.activation(self.encoder(flat))
        return code.reshape(*wave.shape[:-1], *code.shape[1:])

    def decode(self, code, length):
        """Features ``[..., F, L]`` to waveforms ``[..., length]``."""
        flat = code.reshape(-1, *code.shape[-2:]).float()
        with torch.autocast(code.device.type, enabled=False):
            wave = self.decoder(flat)
        return nn.functional.pad(wave, (0, length - wave.shape[-1])).reshape(*code.shape[:-2], length)
