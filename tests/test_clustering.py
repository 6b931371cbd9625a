import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.vq import kmeans2
from sklearn import cluster
from torch.nn.functional import normalize, one_hot

from sb_ext.clustering import KMeans, KMeansPlusPlus, RandomPoints


def naive(points, weights, centroids, iterations, spherical):
    """Everything unrolled and differentiated."""
    points = normalize(points, dim=-1) if spherical else points
    for _ in range(iterations):
        nearest = torch.cdist(points, centroids).argmin(-1)
        loads = one_hot(nearest, centroids.shape[1]).to(points) * weights.unsqueeze(-1)
        centroids = loads.mT @ points / loads.sum(1).unsqueeze(-1)
        centroids = normalize(centroids, dim=-1) if spherical else centroids
    return nearest, centroids


def blobs(clusters, count=60, spread=0.1, seed=0, batch=2):
    """Points around ``clusters`` directions, and which of them each point is around."""
    generator = torch.manual_seed(seed)
    centres = 3 * torch.eye(max(clusters, 4), dtype=torch.float64)[:clusters]
    truth = torch.arange(count) % clusters
    noise = torch.randn(batch, count, centres.shape[1], generator=generator, dtype=torch.float64)
    return centres[truth] + spread * noise, truth.expand(batch, -1)


@pytest.mark.parametrize("iterations", [1, 2, 7])
@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("clusters", [2, 3, 5])
def test_means_and_gradients_equal_full_unrolling(clusters, spherical, iterations):
    generator = torch.manual_seed(1)
    points = torch.randn(3, 200, 6, dtype=torch.float64, generator=generator).requires_grad_()
    weights = torch.rand(3, 200, dtype=torch.float64, generator=generator).requires_grad_()
    start = points.detach()[:, :clusters]
    start = normalize(start, dim=-1) if spherical else start
    results = []
    for assignments, means in (
        naive(points, weights, start, iterations, spherical),
        KMeans(iterations, spherical=spherical)(points, weights, clusters, start),
    ):
        gradients = torch.autograd.grad((means**3).sum() + means[:, 0].sum(), [points, weights])
        results.append((assignments, means, *gradients))
    assert torch.equal(results[0][0], results[1][0])
    for expected, ours in zip(results[0][1:], results[1][1:], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_saved_memory_does_not_grow_with_the_iterations():
    def saved(iterations):
        sizes = {}

        def pack(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        points = torch.randn(2, 500, 8, generator=torch.manual_seed(0)).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            KMeans(iterations)(points, num_clusters=3, initial=points.detach()[:, :3])
        return sum(sizes.values())

    assert saved(20) == saved(1)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.sampled_from([KMeansPlusPlus, RandomPoints]), st.booleans(), st.integers(0, 10**6))
def test_it_finds_clear_clusters_from_the_best_of_some_starts(clusters, init, spherical, seed):
    points, truth = blobs(clusters, seed=seed)
    torch.manual_seed(seed)
    found, means = KMeans(20, 10, init(), spherical).eval()(points, num_clusters=clusters)
    together = found.unsqueeze(1) == found.unsqueeze(2)
    assert torch.equal(together, truth.unsqueeze(1) == truth.unsqueeze(2))
    assert means.shape == (2, clusters, points.shape[-1])


@pytest.mark.parametrize("clusters", [2, 4])
def test_it_is_as_good_as_scipys_best_start(clusters):
    points = torch.randn(1, 400, 3, generator=torch.manual_seed(3), dtype=torch.float64)
    torch.manual_seed(0)
    _, means = KMeans(100, 10).eval()(points, num_clusters=clusters)
    references = [torch.from_numpy(kmeans2(points[0], clusters, 100, minit="++", rng=seed)[0]) for seed in range(10)]
    costs = [torch.cdist(points[0], each).square().amin(-1).sum() for each in (means[0], *references)]
    assert costs[0] <= 1.01 * min(costs[1:])


def test_weights_count_like_repeated_points():
    points = torch.randn(1, 50, 3, generator=torch.manual_seed(3), dtype=torch.float64)
    counts = torch.randint(1, 4, (50,), generator=torch.manual_seed(4))
    repeated = points[0].repeat_interleave(counts, 0).unsqueeze(0)
    start = points[:, :3]
    weighted = KMeans(10)(points, counts.double().unsqueeze(0), 3, start)[1]
    torch.testing.assert_close(weighted, KMeans(10)(repeated, num_clusters=3, initial=start)[1])


def test_padding_and_zero_weights_change_nothing():
    points, _ = blobs(3)
    padded = torch.cat([points, 1e3 * torch.ones(2, 100, points.shape[-1])], 1)
    weights = torch.cat([torch.ones(2, 60), torch.zeros(2, 100)], 1).double()
    start = points[:, :3]
    expected = KMeans(5)(points, num_clusters=3, initial=start)
    ours = KMeans(5)(padded, weights, 3, start)
    assert torch.equal(ours[0][:, :60], expected[0])
    torch.testing.assert_close(ours[1], expected[1])


def test_an_empty_cluster_takes_the_worst_served_point():
    points, _ = blobs(3)
    start = torch.stack([points[:, 0], points[:, 0] + 100, points[:, 0] - 100], 1)
    found, means = KMeans(20)(points, num_clusters=3, initial=start)
    assert all(len(item.unique()) == 3 for item in found)
    assert torch.isfinite(means).all() and means.abs().max() < 10


@pytest.mark.parametrize("clusters", [2, 3])
def test_each_point_has_one_cluster_among_equal_ones(clusters):
    points = torch.ones(1, 10, 2)
    found, means = KMeans(3)(points, num_clusters=clusters, initial=torch.ones(1, clusters, 2))
    assert found.shape == (1, 10) and torch.isfinite(means).all()


def test_a_spherical_clustering_can_give_the_means_of_the_embeddings_as_they_came():
    points, _ = blobs(2)
    lengths = 1 + torch.rand(2, 60, 1, dtype=torch.float64)
    found, means = KMeans(5, spherical=True, unnormalised=True)(points * lengths, num_clusters=2, initial=points[:, :2])
    for item in range(2):
        for place in range(2):
            expected = (points * lengths)[item, found[item] == place].mean(0)
            torch.testing.assert_close(means[item, place], expected)


def test_too_few_points_are_named():
    with pytest.raises(ValueError, match="3 clusters need as many bins that count, an item has 2"):
        KMeans()(torch.zeros(1, 5, 2), torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0]]), 3)
    with pytest.raises(ValueError, match="iterations >= 1 and starts >= 1, received 0 and 1"):
        KMeans(iterations=0)


@pytest.mark.parametrize("clusters", [2, 3, 5])
def test_it_equals_scikit_learns(clusters):
    generator = torch.manual_seed(clusters)
    points = torch.randn(1, 300, 4, dtype=torch.float64, generator=generator)
    weights = torch.rand(1, 300, dtype=torch.float64, generator=generator)
    start = points[:, :clusters]
    found, means = KMeans(200, tolerance=0.0).eval()(points, weights, clusters, start)
    theirs = cluster.KMeans(clusters, init=start[0].numpy(), n_init=1, max_iter=200, tol=0.0)
    theirs.fit(points[0].numpy(), sample_weight=weights[0].numpy())
    assert found[0].tolist() == theirs.labels_.tolist()
    np.testing.assert_allclose(means[0].numpy(), theirs.cluster_centers_, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("spherical", [False, True])
def test_the_best_of_many_starts_is_the_best_of_all_partitions(spherical):
    points = torch.randn(1, 9, 2, dtype=torch.float64, generator=torch.manual_seed(5))
    space = normalize(points, dim=-1) if spherical else points
    costs = []
    for ways in itertools.product((False, True), repeat=8):
        first = torch.tensor([True, *ways])
        parts = [part for part in (space[0, first], space[0, ~first]) if len(part)]
        means = [normalize(part.mean(0), dim=0) if spherical else part.mean(0) for part in parts]
        costs.append(sum(float((part - mean).square().sum()) for part, mean in zip(parts, means, strict=True)))
    found, means = KMeans(50, 40, spherical=spherical, tolerance=0.0).eval()(points, num_clusters=2)
    assert float((space[0] - means[0, found[0]]).square().sum()) == pytest.approx(min(costs), rel=1e-9)


def test_starts_that_stand_still_change_nothing_for_the_others():
    points, _ = blobs(3, spread=1.0, batch=4)
    together = KMeans(30, 5, tolerance=0.0).eval()(points, num_clusters=3)[1]
    alone = torch.cat([KMeans(30, 5, tolerance=0.0).eval()(item, num_clusters=3)[1] for item in points.split(1)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
