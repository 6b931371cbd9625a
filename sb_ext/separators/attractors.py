"""Where attractors come from: the true sources, clustering, anchors, or the mean of what was seen in training.

Each is called with Embeddings of ``[B, N, D]``, ``weights [B, N]``, the ideal masks ``[B, C, N]`` or None, and the
number of sources, and gives ``[B, C, D]``.
"""

import itertools

import torch
from torch import nn

from sb_ext.assignment import best_permutation, reorder


def dominance(ideal):
    """One for the source that is loudest in a bin, else zero: ``[B, C, N]`` to ``[B, C, N]``.

    Example
    -------
    >>> dominance(torch.tensor([[[0.2, 0.7], [0.8, 0.3]]])).tolist()
    [[[0.0, 1.0], [1.0, 0.0]]]
    """
    return torch.zeros_like(ideal).scatter_(1, ideal.argmax(1, keepdim=True), 1.0)


class AttractorChoice(nn.Module):
    """A way to find attractors."""

    clusters = False
    """Whether they are centres of clusters, for which bins may weigh otherwise."""
    most = None
    """The largest number of sources, where there is one."""

    def check_count(self, num_sources):
        """Raise ValueError for a number of sources that it cannot give; most can give any."""

    def forward(self, embeddings, weights, ideal, num_sources):
        """See the file."""
        raise NotImplementedError


class IdealAttractors(AttractorChoice):
    """Weighted means of each source's embeddings (DANet, eq. 1; SANet, eq. 2), in the order of the sources.

    Arguments
    ---------
    dominant : bool
        Whether a bin belongs to its loudest source alone, as in DANet; else to each by its share, as in SANet.
    """

    def __init__(self, dominant=False):
        super().__init__()
        self.dominant = dominant

    def forward(self, embeddings, weights, ideal, num_sources):
        """See AttractorChoice; raises ValueError without ``ideal``."""
        if ideal is None:
            raise ValueError("oracle: ideal attractors need the true sources; set --inference to another choice")
        return embeddings.means((dominance(ideal) if self.dominant else ideal) * weights.unsqueeze(1))


class KMeansAttractors(AttractorChoice):
    """Centroids of the clusters that the embeddings form.

    Where fewer bins count than there are sources, as of a click in silence, all bins count alike.

    Arguments
    ---------
    kmeans : sb_ext.clustering.KMeans or sb_ext.soft_clustering.SoftKMeans
    """

    clusters = True

    def __init__(self, kmeans):
        super().__init__()
        self.kmeans = kmeans

    def forward(self, embeddings, weights, ideal, num_sources):
        """See AttractorChoice."""
        points = embeddings.vectors if self.kmeans.by_direction else embeddings.tensor()
        enough = (weights > 0).sum(1, keepdim=True) >= num_sources
        weights = torch.where(enough, weights, 1.0)
        return self.kmeans(points, weights, num_sources)[1]


class AnchorAttractors(AttractorChoice):
    """Each set of anchors gives a set of attractors, and the set whose attractors are least alike is taken (ADANet).

    Which one that is carries no gradient, so that all others are looked at without.

    Arguments
    ---------
    num_anchors : int
        N; 6 in ADANet.
    num_dims : int
        D.

    Example
    -------
    >>> from sb_ext.separators.embeddings import Embeddings
    >>> AnchorAttractors(4, 3)(Embeddings(torch.randn(2, 50, 3)), torch.ones(2, 50), None, 2).shape
    torch.Size([2, 2, 3])
    """

    def __init__(self, num_anchors=6, num_dims=20):
        super().__init__()
        self.anchors = nn.Parameter(torch.randn(num_anchors, num_dims))
        self.most = num_anchors

    def check_count(self, num_sources):
        """Raise ValueError for more sources than anchors."""
        if num_sources > len(self.anchors):
            raise ValueError(
                f"num_sources: {num_sources} sources need as many anchors, this model has {len(self.anchors)}; "
                "ask for fewer, raise num_anchors, or set --inference to euclidean or spherical"
            )

    def forward(self, embeddings, weights, ideal, num_sources):
        """See AttractorChoice; raises ValueError for more sources than anchors."""
        self.check_count(num_sources)
        subsets = list(itertools.combinations(range(len(self.anchors)), num_sources))
        with torch.no_grad():
            scores = embeddings.products(self._as(embeddings.vectors, self.anchors))
            likeness = [_likeness(_gather(embeddings, weights, scores[:, list(subset)])) for subset in subsets]
            chosen = torch.tensor(subsets, device=weights.device)[torch.stack(likeness).argmin(0)]
        return _gather(embeddings, weights, embeddings.products(self._as(embeddings.vectors, self.anchors[chosen])))

    @staticmethod
    def _as(vectors, anchors):
        return anchors.to(vectors.dtype).expand(len(vectors), -1, -1)


def _gather(embeddings, weights, scores):
    """Attractors from the bins that ``scores [B, C, N]`` give to each anchor of a set."""
    return embeddings.means(scores.softmax(1) * weights.unsqueeze(1))


def _likeness(attractors):
    """The largest product of two attractors of a set ``[B, C, D]``: ``[B]``."""
    products = attractors @ attractors.mT
    first, second = torch.triu_indices(attractors.shape[1], attractors.shape[1], 1)
    return products[:, first, second].amax(-1) if len(first) else products[:, 0, 0]


class FixedAttractors(AttractorChoice):
    """The mean of the attractors that training met, each in the order that is nearest to the mean so far.

    Arguments
    ---------
    num_sources, num_dims : int
        C and D.
    decay : float
        How much of the mean each batch leaves.
    """

    def __init__(self, num_sources=2, num_dims=20, decay=0.999):
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.zeros(num_sources, num_dims))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def observe(self, attractors):
        """Take in the attractors ``[B, C, D]`` of a training batch, unless they are of another number of sources."""
        if attractors.shape[1] != len(self.mean):
            return
        attractors = attractors.to(self.mean)
        if not self.seen:
            self.mean.copy_(attractors[0])
        distances = torch.cdist(attractors, self.mean.expand_as(attractors))
        met = reorder(attractors, best_permutation(distances)).mean(0)
        self.seen += 1
        # A plain mean at first.
        self.mean.lerp_(met, max(1 - self.decay, 1 / int(self.seen)))

    def check_count(self, num_sources):
        """Raise ValueError for another number of sources than the mean is kept of."""
        if num_sources != len(self.mean):
            raise ValueError(
                f"num_sources: {len(self.mean)} fixed attractors are kept, {num_sources} were asked for; "
                "set --inference to euclidean or spherical, or --fixed_sources before training"
            )

    def forward(self, embeddings, weights, ideal, num_sources):
        """See AttractorChoice; raises ValueError for a number of sources that training did not have."""
        self.check_count(num_sources)
        if not self.seen:
            raise ValueError(
                "num_sources: training has met no fixed attractors; set --inference to euclidean or spherical"
            )
        return self.mean.to(embeddings.vectors.dtype).expand(len(weights), -1, -1)
