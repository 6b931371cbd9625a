"""Parts of attractor masking beside their literal definitions, in double precision."""

import itertools

import pytest
import torch

from sb_ext.clustering import KMeans
from sb_ext.networks import BLSTM
from sb_ext.separators import attractors, similarities, weighting
from sb_ext.separators.counting import CosineCounting
from sb_ext.separators.embeddings import Embeddings
from sb_ext.separators.enhancement import Enhancement
from sb_ext.soft_clustering import SoftKMeans


@pytest.fixture
def parts():
    torch.manual_seed(0)
    embeddings = torch.randn(3, 40, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(3, 40, dtype=torch.float64)
    ideal = torch.rand(3, 2, 40, dtype=torch.float64)
    return embeddings, weights, ideal / ideal.sum(1, keepdim=True)


# --- attractors


@pytest.mark.parametrize("dominant", [False, True])
def test_ideal_attractors_are_weighted_means(parts, dominant):
    embeddings, weights, ideal = parts
    found = attractors.IdealAttractors(dominant)(Embeddings(embeddings), weights, ideal, 2)
    for item, source in itertools.product(range(3), range(2)):
        total, mass = 0, 0
        for bin_ in range(40):
            share = ideal[item, source, bin_]
            load = weights[item, bin_] * (float(share == ideal[item, :, bin_].max()) if dominant else share)
            total, mass = total + load * embeddings[item, bin_], mass + load
        torch.testing.assert_close(found[item, source], total / mass)


def test_anchors_choose_the_set_least_alike(parts):
    embeddings, weights, _ = parts
    module = attractors.AnchorAttractors(4, 5).double()
    found = module(Embeddings(embeddings), weights, None, 2)
    for item in range(3):
        best, least = None, float("inf")
        for subset in itertools.combinations(range(4), 2):
            scores = torch.stack([embeddings[item] @ module.anchors[place] for place in subset])
            loads = torch.softmax(scores, 0) * weights[item]
            candidate = (loads @ embeddings[item]) / loads.sum(1, keepdim=True)
            likeness = float(candidate[0].detach() @ candidate[1].detach())
            if likeness < least:
                best, least = candidate, likeness
        torch.testing.assert_close(found[item], best)
        (mine,) = torch.autograd.grad(found[item].sum(), module.anchors, retain_graph=True)
        (naive,) = torch.autograd.grad(best.sum(), module.anchors, retain_graph=True)
        torch.testing.assert_close(mine, naive)


def test_fixed_attractors_are_the_mean_in_the_best_order():
    torch.manual_seed(1)
    module, true = attractors.FixedAttractors(2, 3), torch.tensor([[3.0, 0, 0], [0, 3.0, 0]])
    for _ in range(200):
        noisy = true + 0.1 * torch.randn(8, 2, 3)
        noisy[::2] = noisy[::2].flip(1)
        module.observe(noisy)
    found = module(Embeddings(torch.zeros(1, 4, 3)), torch.ones(1, 4), None, 2)[0]
    assert min((found - true).abs().max(), (found.flip(0) - true).abs().max()) < 0.05


def test_soft_clusters_equal_their_definition(parts):
    embeddings, weights, _ = parts
    start = KMeans(iterations=3).eval()
    memberships, centroids = SoftKMeans(2, 5.0, start)(embeddings, weights, 3)
    for item in range(3):
        naive = start(embeddings[item : item + 1].detach(), weights[item : item + 1], 3)[1][0]
        for _ in range(2):
            distance = (embeddings[item].unsqueeze(0) - naive.unsqueeze(1)).square().sum(-1)
            soft = torch.softmax(-5.0 * distance, 0)
            loads = soft * weights[item]
            naive = torch.stack([(load.unsqueeze(1) * embeddings[item]).sum(0) / load.sum() for load in loads])
        torch.testing.assert_close(centroids[item], naive)
        torch.testing.assert_close(memberships[item], soft)


# --- similarities and weights


@pytest.mark.parametrize(
    ("name", "literal"),
    [
        ("DotProduct", lambda v, a: v @ a),
        ("Cosine", lambda v, a: v @ a / a.norm()),
        ("NegativeDistance", lambda v, a: -(v - a).norm()),
        ("NegativeSquare", lambda v, a: -5 * (v - a).square().sum()),
    ],
)
def test_similarities(parts, name, literal):
    embeddings, found = parts[0], torch.randn(3, 2, 5, dtype=torch.float64)
    values = getattr(similarities, name)()(Embeddings(embeddings), found)
    for item, source, bin_ in itertools.product(range(3), range(2), range(40)):
        torch.testing.assert_close(values[item, source, bin_], literal(embeddings[item, bin_], found[item, source]))


@pytest.mark.parametrize("name", ["DotProduct", "Cosine", "NegativeDistance", "NegativeSquare"])
def test_unit_length_without_a_copy_is_unit_length(parts, name):
    embeddings, weights, ideal = parts
    found, similarity = torch.randn(3, 2, 5, dtype=torch.float64), getattr(similarities, name)()
    unit = embeddings / embeddings.norm(dim=-1, keepdim=True)
    results = []
    for given in (Embeddings(unit), Embeddings.of(embeddings, unit_norm=True)):
        means = given.means(ideal * weights.unsqueeze(1))
        total = similarity(given, found).square().sum() + means.square().sum()
        results.append((means, torch.autograd.grad(total, embeddings, retain_graph=True)[0]))
    for expected, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)


def test_nearest_gives_each_bin_to_one(parts):
    module, found = similarities.Nearest(), torch.randn(3, 2, 5, dtype=torch.float64)
    masks = module.masks(module(Embeddings(parts[0]), found))
    assert torch.equal(masks.argmax(1), torch.cdist(found, parts[0]).argmin(1)) and bool((masks.sum(1) == 1).all())


def test_loudest_bins_keeps_the_share():
    magnitudes = torch.rand(5, 200)
    kept = weighting.LoudestBins(0.9)(magnitudes) > 0
    assert kept.sum(1).tolist() == [180] * 5
    assert all(row[mask].min() > row[~mask].max() for row, mask in zip(magnitudes, kept, strict=True))


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_counting_clusters_that_are_apart(number):
    torch.manual_seed(number)
    directions = torch.eye(8)[torch.arange(600) % number] + 0.1 * torch.randn(3, 600, 8)
    assert CosineCounting()(directions, torch.rand(3, 600)).tolist() == [number] * 3


def test_enhancement_is_equivariant():
    module = Enhancement(BLSTM(66, 1, cells=4, num_bins=33)).eval()
    masked, mixture = torch.rand(2, 3, 33, 7), torch.rand(2, 33, 7)
    torch.testing.assert_close(module(masked.flip(1), mixture), module(masked, mixture).flip(1))
