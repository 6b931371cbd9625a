"""Soft k-means: memberships that carry gradient (Isik et al. 2016)."""

from torch import nn

from sb_ext.clustering import EPS, KMeans


class SoftKMeans(nn.Module):
    """Clusters with memberships ``softmax(-alpha |v - c|^2)``, unrolled in training (Isik et al. 2016, eq. 4 and 5).

    Every iteration carries gradient and takes its share of memory. It starts from the clusters of a hard k-means.

    Arguments
    ---------
    iterations : int
    scale : float
        Alpha.
    start : KMeans, optional

    Example
    -------
    >>> import torch
    >>> points = torch.tensor([[[0.0, 0.1], [0.0, -0.1], [5.0, 5.1], [5.0, 4.9]]])
    >>> memberships, centroids = SoftKMeans()(points, num_clusters=2)
    >>> memberships.shape, sorted(centroids[0].round().tolist())
    (torch.Size([1, 2, 4]), [[0.0, 0.0], [5.0, 5.0]])
    """

    by_direction = False

    def __init__(self, iterations=5, scale=5.0, start=None):
        super().__init__()
        self.iterations, self.scale = iterations, scale
        self.start = KMeans(iterations=5) if start is None else start

    def forward(self, embeddings, weights=None, num_clusters=2):
        """As KMeans's, with memberships ``[B, K, N]`` in place of assignments."""
        if weights is None:
            weights = embeddings.new_ones(embeddings.shape[:2])
        centroids = self.start(embeddings.detach(), weights, num_clusters)[1]
        for _ in range(self.iterations):
            scores = centroids @ embeddings.mT - centroids.square().sum(-1, keepdim=True) / 2
            memberships = (2 * self.scale * scores).softmax(1)
            loads = memberships * weights.unsqueeze(1)
            centroids = loads @ embeddings / loads.sum(-1, keepdim=True).clamp_min(EPS)
        return memberships, centroids
