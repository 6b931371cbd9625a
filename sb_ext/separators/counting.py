"""How many speakers a mixture holds, from its embeddings."""

import torch
from torch import nn

from sb_ext.clustering import KMeans


class CosineCounting(nn.Module):
    """The largest number of clusters that are all apart from one another, and none of them a splinter.

    Embeddings of one speaker lie close together where training has made them compact (SANet), so that a cluster too
    many splits a speaker into two clusters that are alike.

    Arguments
    ---------
    max_sources : int
    threshold : float
        Cosine of two centroids above which they are one speaker's: about a right angle.
    share : float
        Of the weight, the least that a speaker has.
    starts : int
        Of each clustering.

    Example
    -------
    >>> directions = torch.eye(4)[torch.arange(90) % 3] + 0.1 * torch.randn(2, 90, 4)
    >>> CosineCounting()(directions, torch.ones(2, 90)).tolist()
    [3, 3]
    """

    def __init__(self, max_sources=5, threshold=0.05, share=0.02, starts=5):
        super().__init__()
        self.max_sources, self.threshold, self.share = max_sources, threshold, share
        self.kmeans = KMeans(starts=starts, spherical=True).eval()

    def train(self, mode=True):
        """Its clustering never is in training mode."""
        return self

    @torch.no_grad()
    def forward(self, embeddings, weights):
        """``[B, N, D]`` and ``[B, N]`` to ``[B]``, int64, from 1 to ``max_sources``."""
        counts = torch.ones(len(embeddings), dtype=torch.int64, device=embeddings.device)
        points = int((weights > 0).sum(1).min())
        for number in range(2, min(self.max_sources, points) + 1):
            members, centroids = self.kmeans(embeddings, weights, number)
            cosines = (centroids @ centroids.mT).masked_fill(torch.eye(number, device=centroids.device).bool(), -1)
            loads = nn.functional.one_hot(members, number).mT.to(weights) @ weights.unsqueeze(-1)
            smallest = loads.squeeze(-1).amin(1) / weights.sum(1)
            counts[(cosines.amax((1, 2)) < self.threshold) & (smallest > self.share)] = number
        return counts
