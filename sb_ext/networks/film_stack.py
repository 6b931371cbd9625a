"""Wavesplit's separation stack (Zeghidour and Grangier 2021): dilated convolutions, each modulated by FiLM."""

import torch
from torch import nn

from sb_ext.networks.fused import PReLUNorm
from sb_ext.networks.tcn import NORM_EPS


class FilmGenerator(nn.Module):
    """A scale and a shift for each channel of each layer, from speaker embeddings (FiLM; Perez et al. 2018).

    Source c is told its own embedding and the mean of the others': what it is, and what it is not. So the order of the
    sources carries no meaning, and any number of them will do.

    Arguments
    ---------
    embedding_size : int
        D.
    hidden : int
    num_layers, channels : int
        Of the stack.

    Example
    -------
    >>> FilmGenerator(6, 8, num_layers=4, channels=5)(torch.randn(2, 3, 6)).shape
    torch.Size([6, 4, 2, 5, 1])
    """

    def __init__(self, embedding_size, hidden, num_layers, channels):
        super().__init__()
        self.sizes = (num_layers, 2, channels, 1)
        # Encoders differ in the level of their embeddings.
        self.norm = nn.LayerNorm(embedding_size, elementwise_affine=False)
        self.layers = nn.Sequential(
            nn.Linear(2 * embedding_size, hidden), nn.PReLU(), nn.Linear(hidden, num_layers * 2 * channels)
        )

    def forward(self, embeddings):
        """``[B, C, D]`` to ``[B C, layers, 2, channels, 1]``."""
        own = self.norm(embeddings)
        others = (own.sum(1, keepdim=True) - own) / max(1, own.shape[1] - 1)
        return self.layers(torch.cat([own, others], -1).flatten(0, 1)).unflatten(-1, self.sizes)


class FilmLayer(nn.Module):
    """``r + norm(prelu(scale * conv(r) + shift))``, the convolution dilated."""

    def __init__(self, channels, kernel_size, dilation, causal):
        super().__init__()
        reach = dilation * (kernel_size - 1)
        self.padding = (reach, 0) if causal else (reach // 2, reach - reach // 2)
        self.conv = nn.Conv1d(channels, channels, kernel_size, dilation=dilation)
        self.bend = PReLUNorm(channels, NORM_EPS)

    def forward(self, features, film):
        """``features [N, H, L]``, ``film [N, 2, H, 1]``: scale less one, and shift."""
        scale, shift = film.unbind(1)
        hidden = self.conv(nn.functional.pad(features, self.padding))
        return features + self.bend(torch.addcmul(hidden + shift, hidden, scale))


class FilmStack(nn.Module):
    """A mixture's features and its speakers' embeddings to one map of features a speaker.

    Arguments
    ---------
    num_inputs : int
        F.
    embedding_size : int
        D.
    channels, kernel_size : int
        Of the convolutions.
    num_layers, num_groups : int
        Layers of a group, in which the dilation doubles from 1; Wavesplit has 4 groups of 10.
    hidden : int
        Of the FiLM generator.
    causal : bool
        Whether convolutions look back only; norms are over all frames in any case. Sun et al. say so of Wavesplit's
        stack, Wavesplit does not.
    activation : type of nn.Module
        Of the result: sigmoid for masks.

    Example
    -------
    >>> stack = FilmStack(16, embedding_size=6, channels=8, num_layers=3, num_groups=2, hidden=8)
    >>> stack(torch.rand(2, 16, 50), torch.randn(2, 3, 6)).shape
    torch.Size([2, 3, 16, 50])
    """

    def __init__(
        self, num_inputs, embedding_size, channels=512, kernel_size=3, num_layers=10, num_groups=4, hidden=512,
        causal=False, activation=nn.Sigmoid,
    ):  # fmt: skip
        super().__init__()
        self.num_inputs, self.embedding_size = num_inputs, embedding_size
        depth = num_layers * num_groups
        self.squeeze = nn.Sequential(nn.GroupNorm(1, num_inputs, eps=NORM_EPS), nn.Conv1d(num_inputs, channels, 1))
        self.generator = FilmGenerator(embedding_size, hidden, depth, channels)
        self.layers = nn.ModuleList(
            FilmLayer(channels, kernel_size, 2 ** (place % num_layers), causal) for place in range(depth)
        )
        self.head = nn.Sequential(nn.PReLU(), nn.Conv1d(channels, num_inputs, 1), activation())

    def forward(self, features, embeddings):
        """``features [B, F, L]`` and ``embeddings [B, C, D]`` to ``[B, C, F, L]``."""
        count, films = embeddings.shape[1], self.generator(embeddings)
        hidden = self.squeeze(features).repeat_interleave(count, 0)
        for place, layer in enumerate(self.layers):
            hidden = layer(hidden, films[:, place])
        return self.head(hidden).unflatten(0, (-1, count))
