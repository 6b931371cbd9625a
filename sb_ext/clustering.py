"""k-means, Euclidean and spherical, weighted, batched, and unrolled in training at the price of one iteration.

With hard assignments the centroids of one iteration depend on those of the iteration before through the assignments
alone, which carry no gradient. So all iterations but the last update run without gradient: loss and gradient are those
of full unrolling, and memory does not grow with the number of iterations.
"""

from functools import cached_property

import torch
from torch import nn

EPS = 1e-12


class RandomPoints:
    """Start from random points, the heavier the likelier, none of them twice."""

    def __call__(self, cloud, draws):
        """``cloud`` of B x N points to centroids ``[B, S, K, D]``; ``draws [B, S, K]``, from 0 to 1, say which."""
        chances, chosen = cloud.weights.unsqueeze(1).expand(-1, draws.shape[1], -1), []
        for draw in draws.unbind(-1):
            chosen.append(_drawn(chances, draw))
            chances = chances.scatter(2, chosen[-1].unsqueeze(2), 0.0)
        return cloud.pick(torch.stack(chosen, 2))


class KMeansPlusPlus:
    """Start from points that are far from one another (Arthur and Vassilvitskii 2007)."""

    def __call__(self, cloud, draws):
        """As RandomPoints's."""
        weights = cloud.weights.unsqueeze(1)
        chances, nearest, centroids = weights.expand(-1, draws.shape[1], -1), None, []
        for draw in draws.unbind(-1):
            centroids.append(cloud.pick(_drawn(chances, draw).unsqueeze(2)))
            distance = cloud.distances(centroids[-1]).squeeze(2)
            nearest = distance if nearest is None else torch.minimum(nearest, distance)
            chances = weights * (nearest + EPS)
        return torch.cat(centroids, 2)


def _drawn(chances, draw):
    """One of N points by its chance: ``[B, S, N]`` and ``[B, S]`` to ``[B, S]``; never one that has none."""
    ladder = chances.double().cumsum(-1)
    place = torch.searchsorted(ladder, (draw.double() * ladder[..., -1]).unsqueeze(-1), right=True).squeeze(-1)
    return place.clamp_max(chances.shape[-1] - 1)


class _Cloud:
    """Points ``[B, N, D]`` with weights ``[B, N]``, and what is asked of them; nothing is copied to normalise them.

    A spherical clustering compares cosines: which of some unit centroids is nearest does not depend on the length of a
    point, so that only the means need its reciprocal.
    """

    def __init__(self, points, weights, spherical):
        self.points, self.weights, self.spherical = points, weights, spherical

    @cached_property
    def powers(self):
        """``|x|^2``, ``[B, N]``; embeddings mostly lie in memory as ``[B, D, N]``, which a norm would be slow on."""
        return self.points.square().sum(-1)

    @cached_property
    def inverse(self):
        """``1 / |x|``, ``[B, N]``."""
        return self.powers.clamp_min(EPS**2).rsqrt()

    def pick(self, chosen):
        """Points at ``chosen [B, S, K]``: ``[B, S, K, D]``, of unit length when spherical."""
        flat = chosen.flatten(1).unsqueeze(-1).expand(-1, -1, self.points.shape[-1])
        return self.on_sphere(self.points.gather(1, flat).reshape(*chosen.shape, -1))

    def on_sphere(self, centroids):
        """Centroids as this clustering has them."""
        return nn.functional.normalize(centroids, dim=-1) if self.spherical else centroids

    def scores(self, centroids):
        """Largest for the nearest of ``centroids [B, S, K, D]``: ``[B, S, K, N]``."""
        products = (centroids.flatten(1, 2) @ self.points.mT).unflatten(1, centroids.shape[1:3])
        return products if self.spherical else products - centroids.square().sum(-1, keepdim=True) / 2

    def distances(self, centroids):
        """Half the squared distance to each of ``centroids [B, S, K, D]``: ``[B, S, K, N]``."""
        scores = self.scores(centroids)
        if self.spherical:
            return (1 - scores * self.inverse[:, None, None]).clamp_min(0)
        return (self.powers[:, None, None] / 2 - scores).clamp_min(0)

    def members(self, centroids):
        """Which of ``centroids [B, S, K, D]`` is nearest to each point: ``[B, S, K, N]``, bool, one a point.

        Comparisons along N, which is contiguous, in place of an argmax and a one-hot over K, which would not be: most
        of an iteration's time otherwise. Two clusters need one signed score.
        """
        if centroids.shape[2] == 2:
            first, second = centroids.unbind(2)
            nearer = (first - second) @ self.points.mT
            if not self.spherical:
                nearer = nearer - (first.square().sum(-1) - second.square().sum(-1)).unsqueeze(-1) / 2
            nearer = nearer >= 0
            return torch.stack([nearer, ~nearer], 2)
        scores = self.scores(centroids)
        nearest = scores == scores.amax(2, keepdim=True)
        taken = nearest[:, :, 0]
        for place in range(1, scores.shape[2]):
            # Of equal ones the first.
            nearest[:, :, place] &= ~taken
            taken = taken | nearest[:, :, place]
        return nearest

    def means(self, members, centroids, as_they_came=False):
        """Weighted means of the ``members``, ``[B, S, K, D]``; an empty cluster takes one of the worst served points.

        Of the normalised points when spherical, unless they are wanted ``as_they_came``.
        """
        loads = members * self.weights[:, None, None]
        mass = loads.sum(-1, keepdim=True)
        if self.spherical and not as_they_came:
            loads = loads * self.inverse[:, None, None]
        sums = (loads.flatten(1, 2) @ self.points).unflatten(1, loads.shape[1:3])
        empty = mass == 0
        if not empty.any():
            return sums / mass
        with torch.no_grad():
            worst = (self.distances(centroids).amin(2) * self.weights.unsqueeze(1)).topk(centroids.shape[2]).indices
        return torch.where(empty, self.pick(worst), sums / mass.clamp_min(EPS))

    def update(self, centroids):
        """One iteration."""
        return self.on_sphere(self.means(self.members(centroids), centroids))

    def size(self):
        """The points' mean squared length ``[B, 1]``, beside which a centroid's shift may be small; 1 on a sphere."""
        if self.spherical:
            return torch.ones_like(self.weights[:, :1])
        return ((self.weights * self.powers).sum(1) / self.weights.sum(1)).unsqueeze(1)

    def best(self, centroids):
        """Of the starts ``[B, S, K, D]`` the one whose clusters are closest: ``[B, 1, K, D]``."""
        if centroids.shape[1] == 1:
            return centroids
        # The points' own part of the distances is the same for all starts.
        weights = self.weights * self.inverse if self.spherical else self.weights
        closeness = (self.scores(centroids).amax(2) @ weights.unsqueeze(-1)).squeeze(-1)
        return centroids[torch.arange(len(centroids), device=centroids.device), closeness.argmax(1)].unsqueeze(1)


class KMeans(nn.Module):
    """Clusters of embeddings, and their means.

    Arguments
    ---------
    iterations : int
        L; in evaluation mode a start ends as soon as it stands still.
    starts : int
        The best of so many starts is taken, by the weighted sum of squared distances (of cosines when spherical).
    init : KMeansPlusPlus or RandomPoints, optional
    spherical : bool
        Whether to cluster normalised embeddings by their cosine; the centroids then have unit length.
    unnormalised : bool
        Whether a spherical clustering gives the means of the embeddings as they came (k-means DANet, section 3).
    tolerance : float
        A start stands still where no centroid's squared shift is above this share of the points' mean squared length.

    Example
    -------
    >>> points = torch.tensor([[[0.0, 0.1], [0.0, -0.1], [5.0, 5.1], [5.0, 4.9]]])
    >>> assignments, centroids = KMeans()(points, num_clusters=2)
    >>> assignments[0, 0] == assignments[0, 1], sorted(centroids[0].round().tolist())
    (tensor(True), [[0.0, 0.0], [5.0, 5.0]])
    """

    def __init__(self, iterations=20, starts=1, init=None, spherical=False, unnormalised=False, tolerance=1e-4):
        super().__init__()
        if iterations < 1 or starts < 1:
            raise ValueError(f"KMeans: expected iterations >= 1 and starts >= 1, received {iterations} and {starts}")
        self.iterations, self.starts = iterations, starts
        self.init = KMeansPlusPlus() if init is None else init
        self.spherical, self.unnormalised, self.tolerance = spherical, unnormalised, tolerance

    @property
    def by_direction(self):
        """Whether the embeddings' lengths change nothing, so that they need not be normalised."""
        return self.spherical and not self.unnormalised

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
        with torch.no_grad(), torch.autocast(embeddings.device.type, enabled=False):
            cloud = _Cloud(*_heavy(_full(embeddings), _full(weights), num_clusters), self.spherical)
            if initial is None:
                initial = self.init(cloud, self._draws(embeddings, num_clusters))
            initial = initial.to(cloud.points).reshape(len(embeddings), -1, *initial.shape[-2:])
            centroids = self._settle(cloud, cloud.on_sphere(initial))
            members = _Cloud(_full(embeddings), None, self.spherical).members(centroids)
        whole = _Cloud(embeddings, weights, self.spherical)
        means = whole.means(members, centroids, self.unnormalised).squeeze(1)
        return _numbers(members.squeeze(1)), means if self.unnormalised else whole.on_sphere(means)

    def _draws(self, points, num_clusters):
        """Outside training always the same: an item's clusters depend on nothing but its points."""
        if self.training:
            return torch.rand(len(points), self.starts, num_clusters, device=points.device)
        steady = torch.Generator().manual_seed(0)
        return torch.rand(1, self.starts, num_clusters, generator=steady).to(points.device).expand(len(points), -1, -1)

    def _settle(self, cloud, centroids):
        """The best start's centroids before their last update, ``[B, 1, K, D]``."""
        if self.training:
            for _ in range(self.iterations - 1):
                centroids = cloud.update(centroids)
            return cloud.best(centroids)
        bound = self.tolerance * cloud.size()
        moving = torch.ones(centroids.shape[:2], dtype=torch.bool, device=centroids.device)
        for _ in range(self.iterations - 1):
            # Of each item the starts that still move, and as many others as another item has more.
            order = moving.int().argsort(dim=1, descending=True, stable=True)[:, : int(moving.sum(1).amax())]
            places = order[:, :, None, None].expand(-1, -1, *centroids.shape[2:])
            current = centroids.gather(1, places)
            shift = (following := cloud.update(current)).sub(current).square().sum(-1).amax(-1)
            going = moving.gather(1, order)
            centroids = centroids.scatter(1, places, torch.where(going[:, :, None, None], following, current))
            moving = moving.scatter(1, order, going & (shift > bound))
            if not moving.any():
                break
        return cloud.best(centroids)


def _numbers(members):
    """``[B, K, N]``, one a point, to which one it is: ``[B, N]``, int64."""
    numbers = torch.zeros_like(members[:, 0], dtype=torch.int64)
    for place in range(1, members.shape[1]):
        numbers += place * members[:, place]
    return numbers


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
