import math

import pytest
import torch
from torch.nn.functional import normalize, one_hot

from sb_ext.losses.circle import CircleLoss
from sb_ext.losses.compactness import compactness_loss
from sb_ext.losses.deep_clustering import deep_clustering_loss


def bins(batch=3, count=40, dimensions=6, sources=3, seed=0):
    generator = torch.manual_seed(seed)
    embeddings = normalize(torch.randn(batch, count, dimensions, generator=generator, dtype=torch.float64), dim=-1)
    dominant = torch.randint(sources, (batch, count), generator=generator)
    return embeddings, one_hot(dominant, sources).double(), torch.rand(batch, count, generator=generator).double()


@pytest.mark.parametrize("weighted", [False, True])
def test_deep_clustering_equals_the_matrix_of_all_pairs(weighted):
    embeddings, memberships, weights = bins()
    embeddings.requires_grad_()
    loads = weights if weighted else torch.ones_like(weights)
    affinity = embeddings @ embeddings.mT - memberships @ memberships.mT
    pairs = loads.unsqueeze(1) * loads.unsqueeze(2)
    expected = (pairs * affinity.square()).sum((1, 2)) / pairs.sum((1, 2))
    ours = deep_clustering_loss(embeddings, memberships, weights if weighted else None)
    torch.testing.assert_close(ours, expected)
    gradients = [torch.autograd.grad(loss.sum(), embeddings, retain_graph=True)[0] for loss in (expected, ours)]
    torch.testing.assert_close(*gradients)


def test_deep_clustering_agrees_with_asteroids_up_to_its_scale():
    asteroid = pytest.importorskip("asteroid.losses")
    embeddings, memberships, _ = bins()
    theirs = asteroid.deep_clustering_loss(embeddings.float(), memberships.argmax(-1).unsqueeze(-1)).double()
    ratio = theirs / deep_clustering_loss(embeddings, memberships)
    torch.testing.assert_close(ratio, ratio[0].expand_as(ratio), rtol=1e-4, atol=0)


def naive_circle(attractors, speakers, margin, scale):
    attractors = normalize(attractors, dim=-1)
    cosine = {(i, j): float(attractors[i] @ attractors[j]) for j in range(len(speakers)) for i in range(j)}
    total = 0.0
    for negative in (value for (i, j), value in cosine.items() if speakers[i] != speakers[j]):
        for positive in (value for (i, j), value in cosine.items() if speakers[i] == speakers[j]):
            push = max(negative + margin, 0) * (negative - margin)
            pull = max(1 + margin - positive, 0) * (positive - 1 + margin)
            total += math.exp(scale * (push - pull))
    return math.log(1 + total)


@pytest.mark.parametrize(("margin", "scale"), [(0.25, 15.0), (0.4, 2.0)])
def test_circle_equals_the_double_sum(margin, scale):
    attractors = torch.randn(7, 5, generator=torch.manual_seed(1), dtype=torch.float64)
    speakers = torch.tensor([0, 1, 0, 2, 1, 3, 0])
    expected = naive_circle(attractors, speakers.tolist(), margin, scale)
    assert CircleLoss(margin, scale)(attractors, speakers).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("speakers", [[0, 1, 2], [4, 4, 4]])
def test_circle_is_zero_and_differentiable_where_a_kind_of_pair_lacks(speakers):
    attractors = torch.randn(3, 5).requires_grad_()
    loss = CircleLoss()(attractors, torch.tensor(speakers))
    loss.backward()
    assert loss.item() == 0 and not attractors.grad.any()


def _rank(rank, folder, sizes):
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", world_size=2, rank=rank)
    attractors, speakers = torch.load(f"{folder}/all.pt", weights_only=True)
    mine = attractors.split(sizes)[rank].requires_grad_()
    CircleLoss()(mine, speakers.split(sizes)[rank]).backward()
    # As DDP averages over the ranks.
    torch.save(mine.grad / 2, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("sizes", [[3, 3], [4, 2]])
def test_circle_sees_the_pairs_of_all_ranks(tmp_path, sizes):
    attractors, speakers = torch.randn(6, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 3])
    torch.save((attractors, speakers), tmp_path / "all.pt")
    torch.multiprocessing.start_processes(_rank, (str(tmp_path), sizes), nprocs=2, start_method="fork")
    attractors.requires_grad_()
    CircleLoss()(attractors, speakers).backward()
    ranks = torch.cat([torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)])
    torch.testing.assert_close(ranks, attractors.grad)


def test_compactness_is_the_sum_over_bins():
    similarities, masks, weights = torch.rand(2, 3, 9), torch.rand(2, 3, 9).softmax(1), torch.rand(2, 9)
    for item, ours in enumerate(compactness_loss(similarities, masks, weights)):
        expected = 0.0
        for place in range(9):
            dominant = masks[item, :, place].argmax()
            expected -= weights[item, place] * masks[item, dominant, place] * similarities[item, dominant, place]
        torch.testing.assert_close(ours, expected)
