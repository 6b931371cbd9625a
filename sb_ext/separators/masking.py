"""Masking of the mixture: of learned features (TasNet), or of the spectrum with masks that add up to one (MixCycle)."""

import torch
from torch import nn

from sb_ext.contracts import Separation, Separator

# Sigmoid masks cannot all be zero; this guards activations that can.
EPS = 1e-8


class Magnitude(nn.Module):
    """The network's input as in the paper: the magnitude itself."""

    def forward(self, magnitude):
        """``[B, F, L]`` to ``[B, F, L]``."""
        return magnitude


class LogMagnitude(nn.Module):
    """The network's input as a logarithm with a floor, which shows quiet bins to the network.

    Arguments
    ---------
    floor : float
        Added to the magnitude of a signal of unit level before the logarithm.

    Example
    -------
    >>> bool(torch.isfinite(LogMagnitude()(torch.zeros(1, 2, 3))).all())
    True
    """

    def __init__(self, floor=1e-3):
        super().__init__()
        self.floor = floor

    def forward(self, magnitude):
        """``[B, F, L]`` to ``[B, F, L]``; independent of the item's level."""
        level = magnitude.square().mean((1, 2), keepdim=True).sqrt()
        return torch.log(magnitude / (level + EPS) + self.floor)


class Masking(Separator):
    """Encoder, mask network, decoder: the mixture's features times a mask a source (TasNet, Luo and Mesgarani 2018).

    Arguments
    ---------
    filterbank : sb_ext.filterbanks.LearnedFilterbank or alike
    network : nn.Module
        ``[B, F, L]`` and ``layers`` to a tuple of masks ``[B, E, F, L]``.

    Example
    -------
    >>> from sb_ext.filterbanks import LearnedFilterbank
    >>> from sb_ext.networks import TemporalConvNet
    >>> network = TemporalConvNet(32, 2, 8, 16, num_layers=1, num_stacks=3)
    >>> separation = Masking(LearnedFilterbank(32), network)(torch.randn(3, 500), layers=True)
    >>> separation.sources.shape, len(separation.layers)
    (torch.Size([3, 2, 500]), 3)
    """

    def __init__(self, filterbank, network):
        super().__init__()
        if network.num_inputs != filterbank.num_bins:
            raise ValueError(
                f"network.num_inputs: the filterbank gives {filterbank.num_bins} bins, received {network.num_inputs}"
            )
        self.filterbank, self.network = filterbank, network

    def forward(self, mixture, *, oracle=None, num_sources=None, layers=False):
        """See Separator. The number of sources is the network's; another ``num_sources`` raises ValueError."""
        if num_sources not in (None, self.network.num_outputs):
            raise ValueError(
                f"num_sources: this model was built for {self.network.num_outputs} outputs, received {num_sources}"
            )
        code, length = self.filterbank.encode(mixture), mixture.shape[-1]
        masks = self.masks(code, layers)
        estimates = tuple(self.filterbank.decode(mask * code.unsqueeze(1), length) for mask in masks)
        return Separation(estimates[-1], estimates if layers else ())

    def masks(self, code, layers=False):
        """Masks for ``code [B, F, L]``: a tuple of ``[B, E, F, L]``."""
        return self.network(code, layers=layers)

    def load_asteroid(self, state):
        """Take the weights of an Asteroid model of the same kind, such as ``asteroid.models.DPTNet`` or ``ConvTasNet``.

        Arguments
        ---------
        state : dict
            Its ``state_dict()``; of a checkpoint of ``serialize()``, the entry ``state_dict``.
        """
        for part in ("encoder", "decoder"):
            getattr(self.filterbank, part).load_state_dict({"weight": state[f"{part}.filterbank._filters"]})
        scope = "masker."
        self.network.load_asteroid({k.removeprefix(scope): v for k, v in state.items() if k.startswith(scope)})

    def load_torchaudio(self, state):
        """Take the weights of ``torchaudio.models.ConvTasNet``, whose input has a hop of zeros more at both ends.

        Arguments
        ---------
        state : dict
            Its ``state_dict()``.
        """
        for part in ("encoder", "decoder"):
            getattr(self.filterbank, part).load_state_dict({"weight": state[f"{part}.weight"]})
        scope = "mask_generator."
        self.network.load_torchaudio({k.removeprefix(scope): v for k, v in state.items() if k.startswith(scope)})


class SpectralMasking(Masking):
    """Magnitude spectrum, mask network, masks divided by their sum, mixture phase: the estimates sum to the mixture.

    Arguments
    ---------
    filterbank : sb_ext.filterbanks.Stft
    network : nn.Module
        ``[B, F, L]`` and ``layers`` to a tuple of non-negative masks ``[B, E, F, L]``.
    features : nn.Module, optional
        Between magnitude and network; the plain magnitude by default.

    Example
    -------
    >>> from sb_ext.filterbanks import Stft
    >>> from sb_ext.networks import TemporalConvNet
    >>> separator = SpectralMasking(Stft(64, 32), TemporalConvNet(33, 2, 8, 16, num_layers=1, num_stacks=1))
    >>> mixture = torch.randn(3, 500)
    >>> sources = separator(mixture).sources
    >>> sources.shape, torch.allclose(sources.sum(1), mixture, atol=1e-5)
    (torch.Size([3, 2, 500]), True)
    """

    def __init__(self, filterbank, network, features=None):
        super().__init__(filterbank, network)
        self.features = Magnitude() if features is None else features

    def masks(self, code, layers=False):
        """Masks that add up to one, for the spectrum ``code [B, F, L]``: a tuple of ``[B, E, F, L]``."""
        # The sum in single precision: in bf16 the masks would add up to one only to two decimal places.
        masks = (mask.float() for mask in self.network(self.features(code.abs()), layers=layers))
        return tuple(mask / (mask.sum(1, keepdim=True) + EPS) for mask in masks)
