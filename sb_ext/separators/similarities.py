"""How alike embeddings and attractors are, and the masks that follow."""

import torch
from torch import nn


class Similarity(nn.Module):
    """Masks are the softmax over the sources; a subclass says in ``forward`` how alike bins and attractors are."""

    def masks(self, similarities):
        """``[B, C, N]`` to ``[B, C, N]``, summing to one over the sources."""
        return similarities.softmax(1)

    def forward(self, embeddings, attractors):
        """Embeddings of ``[B, N, D]`` and attractors ``[B, C, D]`` to ``[B, C, N]``."""
        raise NotImplementedError


class DotProduct(Similarity):
    """``v a`` (DANet, eq. 2; spherical k-means DANet, eq. 5b).

    Example
    -------
    >>> from sb_ext.separators.embeddings import Embeddings
    >>> DotProduct()(Embeddings(torch.eye(2)[None]), torch.tensor([[[3.0, 1.0]]])).tolist()
    [[[3.0, 1.0]]]
    """

    def forward(self, embeddings, attractors):
        """See Similarity."""
        return embeddings.products(attractors)


class Cosine(Similarity):
    """``v a / |a|`` for embeddings of unit length, sharpened by ``scale`` before the softmax (SANet, eq. 3 and 4).

    Arguments
    ---------
    scale : float
        Alpha.
    """

    def __init__(self, scale=10.0):
        super().__init__()
        self.scale = scale

    def forward(self, embeddings, attractors):
        """See Similarity."""
        return embeddings.products(nn.functional.normalize(attractors, dim=-1))

    def masks(self, similarities):
        """See Similarity."""
        return (self.scale * similarities).softmax(1)


class NegativeDistance(Similarity):
    """``-|v - c|`` (Euclidean k-means DANet, eq. 5a).

    Example
    -------
    >>> from sb_ext.separators.embeddings import Embeddings
    >>> NegativeDistance()(Embeddings(torch.zeros(1, 1, 2)), torch.tensor([[[3.0, 4.0]]])).round(decimals=3).tolist()
    [[[-5.0]]]
    """

    def forward(self, embeddings, attractors):
        """See Similarity."""
        return -squared_distances(embeddings, attractors).clamp_min(1e-8).sqrt()


class NegativeSquare(Similarity):
    """``-alpha |v - c|^2``: soft clustering's (DPCL++; Isik et al. 2016, eq. 4).

    Arguments
    ---------
    scale : float
        Alpha; 5 in the paper.
    """

    def __init__(self, scale=5.0):
        super().__init__()
        self.scale = scale

    def forward(self, embeddings, attractors):
        """See Similarity."""
        return -self.scale * squared_distances(embeddings, attractors)


class Nearest(NegativeDistance):
    """Binary masks: each bin goes to its nearest attractor (DPCL)."""

    def masks(self, similarities):
        """See Similarity."""
        return torch.zeros_like(similarities).scatter_(1, similarities.argmax(1, keepdim=True), 1.0)


def squared_distances(embeddings, attractors):
    """``|v - c|^2`` of Embeddings of ``[B, N, D]`` and of ``[B, C, D]``: ``[B, C, N]``."""
    return attractors.square().sum(-1, keepdim=True) - 2 * embeddings.products(attractors) + embeddings.powers()
