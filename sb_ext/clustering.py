"""k-means, Euclidean and spherical, weighted, batched, and unrolled in training at the price of one iteration.

With hard assignments the centroids of one iteration depend on those of the iteration before through the assignments
alone, which carry no gradient. So all iterations but the last update run without gradient: loss and gradient are those
of full unrolling, and memory does not grow with the number of iterations.
"""

import torch
from torch import nn

EPS = 1e-12


class RandomPoints:
    """Start from random points, the heavier the likelier, none of them twice."""

    def __call__(self, points, weights, num_clusters, draws):
        """Points ``[B, N, D]`` and weights ``[B, N]`` to centroids ``[B, S, K, D]``.

        ``draws [B, S, K]``, uniform between 0 and 1, is all that is random.
        """
        chances, chosen = _for_each_start(weights, draws), []
        for draw in draws.unbind(-1):
            chosen.append(_drawn(chances, draw))
            chances = chances.scatter(2, chosen[-1].unsqueeze(2), 0.0)
        return _pick(points, torch.stack(chosen, 2))


class KMeansPlusPlus:
    """Start from points that are far from one another (Arthur and Vassilvitskii 2007)."""

    def __call__(self, points, weights, num_clusters, draws):
        """As RandomPoints's."""
        chances, nearest, centroids = _for_each_start(weights, draws), None, []
        for draw in draws.unbind(-1):
            centroids.append(_pick(points, _drawn(chances, draw).unsqueeze(2)))
            distance = torch.cdist(centroids[-1].squeeze(2), points).square()
            nearest = distance if nearest is None else torch.minimum(nearest, distance)
            chances = weights.unsqueeze(1) * nearest + EPS * weights.unsqueeze(1)
        return torch.cat(centroids, 2)


def _for_each_start(weights, draws):
    return weights.unsqueeze(1).expand(-1, draws.shape[1], -1)


def _drawn(chances, draw):
    """One of N points by its chance: ``[B, S, N]`` and ``[B, S]`` to ``[B, S]``; never one that has none."""
    ladder = chances.double().cumsum(-1)
    place = torch.searchsorted(ladder, (draw.double() * ladder[..., -1]).unsqueeze(-1), right=True).squeeze(-1)
    return place.clamp_max(chances.shape[-1] - 1)


def _pick(points, chosen):
    """``points [B, N, D]`` at ``chosen [B, S, K]``: ``[B, S, K, D]``."""
    flat = chosen.flatten(1).unsqueeze(-1).expand(-1, -1, points.shape[-1])
    return points.gather(1, flat).reshape(*chosen.shape, points.shape[-1])


class KMeans(nn.Module):
    """Clusters of embeddings, and their means.

    Arguments
    ---------
    iterations : int
        L; in evaluation mode it stops as soon as no assignment changes.
    starts : int
        The best of so many starts is taken, by the weighted sum of squared distances (of cosines when spherical).
    init : KMeansPlusPlus or RandomPoints, optional
    spherical : bool
        Whether to cluster normalised embeddings by their cosine; the centroids then have unit length.
    unnormalised : bool
        Whether a spherical clustering gives the means of the embeddings as they came (k-means DANet, section 3).

    Example
    -------
    >>> points = torch.tensor([[[0.0, 0.1], [0.0, -0.1], [5.0, 5.1], [5.0, 4.9]]])
    >>> assignments, centroids = KMeans()(points, num_clusters=2)
    >>> assignments[0, 0] == assignments[0, 1], sorted(centroids[0].round().tolist())
    (tensor(True), [[0.0, 0.0], [5.0, 5.0]])
    """

    def __init__(self, iterations=20, starts=1, init=None, spherical=False, unnormalised=False):
        super().__init__()
        if iterations < 1 or starts < 1:
            raise ValueError(f"KMeans: expected iterations >= 1 and starts >= 1, received {iterations} and {starts}")
        self.iterations, self.starts = iterations, starts
        self.init = KMeansPlusPlus() if init is None else init
        self.spherical, self.unnormalised = spherical, unnormalised

    def forward(self, embeddings, weights=None, num_clusters=2, initial=None):
        """Cluster each item of a batch.

        Arguments
        ---------
        embeddings : torch.Tensor
            ``[B, N, D]``.
        weights : torch.Tensor, optional
            ``[B, N]``, not negative; zero for padding and for points that must not count.
        num_clusters : int
            K.
        initial : torch.Tensor, optional
            ``[B, K, D]`` or ``[B, S, K, D]``, centroids to start from in place of ``init``.

        Returns
        -------
        assignments : torch.Tensor
            ``[B, N]``, int64, of all points, those of zero weight included.
        centroids : torch.Tensor
            ``[B, K, D]``, differentiable with respect to embeddings and weights.

        Raises
        ------
        ValueError
            If an item has fewer points of positive weight than clusters.
        """
        if weights is None:
            weights = embeddings.new_ones(embeddings.shape[:2])
        space = nn.functional.normalize(embeddings, dim=-1) if self.spherical else embeddings
        with torch.no_grad(), torch.autocast(embeddings.device.type, enabled=False):
            points, loads = _heavy(_full(space), _full(weights), num_clusters)
            if initial is None:
                initial = self.init(points, loads, num_clusters, self._draws(points, num_clusters))
            centroids = initial.to(points)
            centroids = self._settle(points, loads, centroids.reshape(len(points), -1, *centroids.shape[-2:]))
            members = _members(_full(space), centroids)
        means = _means(embeddings if self.unnormalised else space, weights, members, centroids).squeeze(1)
        if self.spherical and not self.unnormalised:
            means = nn.functional.normalize(means, dim=-1)
        return members.squeeze(1).int().argmax(1), means

    def _draws(self, points, num_clusters):
        """Outside training always the same: an item's clusters depend on nothing but its points."""
        if self.training:
            return torch.rand(len(points), self.starts, num_clusters, device=points.device)
        steady = torch.Generator().manual_seed(0)
        return torch.rand(1, self.starts, num_clusters, generator=steady).to(points.device).expand(len(points), -1, -1)

    def _settle(self, points, weights, centroids):
        """The best start's centroids before their last update, ``[B, 1, K, D]``."""
        last = None
        for _ in range(self.iterations - 1):
            members = _members(points, centroids)
            if not self.training and last is not None and torch.equal(members, last):
                break
            last, centroids = members, _means(points, weights, members, centroids)
            if self.spherical:
                centroids = nn.functional.normalize(centroids, dim=-1)
        if centroids.shape[1] == 1:
            return centroids
        best = (_costs(points, centroids) * weights.unsqueeze(1)).sum(-1).argmin(1)
        return centroids[torch.arange(len(points), device=points.device), best].unsqueeze(1)


class SoftKMeans(nn.Module):
    """Clusters with soft memberships ``softmax(-alpha |v - c|^2)``, unrolled in training (Isik et al. 2016, eq. 4 and 5).

    Every iteration carries gradient and takes its share of memory. It starts from the clusters of a hard k-means.

    Arguments
    ---------
    iterations : int
    scale : float
        Alpha.
    start : KMeans, optional

    Example
    -------
    >>> points = torch.tensor([[[0.0, 0.1], [0.0, -0.1], [5.0, 5.1], [5.0, 4.9]]])
    >>> memberships, centroids = SoftKMeans()(points, num_clusters=2)
    >>> memberships.shape, sorted(centroids[0].round().tolist())
    (torch.Size([1, 2, 4]), [[0.0, 0.0], [5.0, 5.0]])
    """

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


def _full(values):
    """Half precision would tell neighbours apart no more."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _heavy(points, weights, num_clusters):
    """The points of positive weight, padded with others to the largest number of them; ValueError for too few."""
    counts = (weights > 0).sum(1)
    if counts.min() < num_clusters:
        raise ValueError(
            f"num_clusters: {num_clusters} clusters need as many bins that count, an item has {int(counts.min())}; "
            "ask for fewer sources, or give a longer mixture"
        )
    most = int(counts.max())
    if most > 0.8 * weights.shape[1]:
        return points, weights
    chosen = weights.topk(most, dim=1, sorted=False).indices
    return points.gather(1, chosen.unsqueeze(-1).expand(-1, -1, points.shape[-1])), weights.gather(1, chosen)


def _members(points, centroids):
    """Which centroid ``[B, S, K, D]`` is nearest to each point ``[B, N, D]``: ``[B, S, K, N]``, bool, one a point.

    Comparisons along N, which is contiguous, in place of an argmax and a one-hot over K, which would not be: most of an
    iteration's time otherwise. Two clusters need one signed score.
    """
    if centroids.shape[2] == 2:
        first, second = centroids.unbind(2)
        bias = (first.square().sum(-1) - second.square().sum(-1)) / 2
        nearer = (first - second) @ points.mT >= bias.unsqueeze(-1)
        return torch.stack([nearer, ~nearer], 2)
    scores = _scores(points, centroids)
    nearest = scores == scores.amax(2, keepdim=True)
    taken = nearest[:, :, 0]
    for place in range(1, scores.shape[2]):
        # Of equal ones the first.
        nearest[:, :, place] &= ~taken
        taken = taken | nearest[:, :, place]
    return nearest


def _scores(points, centroids):
    """``x c - |c|^2 / 2``, largest for the nearest: ``[B, S, K, N]``."""
    products = (centroids.flatten(1, 2) @ points.mT).unflatten(1, centroids.shape[1:3])
    return products - centroids.square().sum(-1, keepdim=True) / 2


def _costs(points, centroids):
    """Half the squared distance of each point to its nearest centroid: ``[B, S, N]``."""
    return points.square().sum(-1).unsqueeze(1) / 2 - _scores(points, centroids).amax(2)


def _means(points, weights, members, centroids):
    """Weighted means of the members, ``[B, S, K, D]``; a cluster without any takes one of the worst served points."""
    loads = members * weights[:, None, None]
    mass = loads.sum(-1, keepdim=True)
    sums = (loads.flatten(1, 2) @ points).unflatten(1, loads.shape[1:3])
    empty = mass == 0
    if not empty.any():
        return sums / mass
    worst = (_costs(points.detach(), centroids) * weights.unsqueeze(1)).topk(centroids.shape[2], dim=-1).indices
    return torch.where(empty, _pick(points, worst), sums / mass.clamp_min(EPS))
