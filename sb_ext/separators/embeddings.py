"""Embeddings whose direction alone may count, without a normalised copy of them."""

from typing import NamedTuple

import torch

EPS = 1e-12


class Embeddings(NamedTuple):
    """Vectors ``[B, N, D]`` and, where they count as of unit length, their reciprocal lengths ``[B, N]``, else None.

    Of all that a separator computes the embeddings are the largest by far: what is asked of normalised ones is asked of
    the vectors as they are, and scaled afterwards, where there is one number a bin.

    Example
    -------
    >>> embeddings = Embeddings.of(torch.tensor([[[3.0, 4.0], [0.0, 2.0]]]), unit_norm=True)
    >>> embeddings.products(torch.tensor([[[1.0, 0.0]]])).round(decimals=2), embeddings.means(torch.ones(1, 1, 2))
    (tensor([[[0.6000, 0.0000]]]), tensor([[[0.3000, 0.9000]]]))
    """

    vectors: torch.Tensor
    inverse: torch.Tensor | None = None

    @classmethod
    def of(cls, vectors, unit_norm=False):
        """Embeddings of ``vectors [B, N, D]``."""
        return cls(vectors, vectors.square().sum(-1).clamp_min(EPS).rsqrt() if unit_norm else None)

    def tensor(self):
        """``[B, N, D]``, of unit length where they count as such."""
        return self.vectors if self.inverse is None else self.vectors * self.inverse.unsqueeze(-1)

    def products(self, attractors):
        """With ``attractors [B, C, D]``: ``[B, C, N]``."""
        products = attractors @ self.vectors.mT
        return products if self.inverse is None else products * self.inverse.unsqueeze(1)

    def powers(self):
        """Squared lengths, ``[B, 1, N]``, or 1."""
        return self.vectors.square().sum(-1).unsqueeze(1) if self.inverse is None else 1.0

    def means(self, loads):
        """Means under ``loads [B, C, N]``: ``[B, C, D]``; zero where a source has no load."""
        scaled = loads if self.inverse is None else loads * self.inverse.unsqueeze(1)
        return scaled @ self.vectors / loads.sum(-1, keepdim=True).clamp_min(1e-8)

    def item(self, row):
        """Those of one item of the batch."""
        return Embeddings(*(None if value is None else value[row : row + 1] for value in self))
