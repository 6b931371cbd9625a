"""What must hold for every batch size and number of sources when new mixtures are made."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sb_ext.mixing import (
    CrossIndexPairing,
    CyclicGroups,
    DisjointGroups,
    RandomIndexPairing,
    SameIndexPairing,
    deal,
    shuffle_sources,
)

FEW = settings(max_examples=60, deadline=None)
SIZES = st.integers(2, 24)
SEEDS = st.integers(0, 2**31)
PAIRINGS = [RandomIndexPairing, SameIndexPairing, CrossIndexPairing]


def numbered(size, count):
    """Estimates ``[B, C, 1]`` whose value is ``C * mixture + output``."""
    return torch.arange(float(size * count)).reshape(size, count, 1)


@FEW
@given(SIZES, st.integers(2, 4), SEEDS)
def test_cyclic_groups_hold_each_item_equally_often_and_never_twice(size, count, seed):
    torch.manual_seed(seed)
    size = max(size, count)
    groups = CyclicGroups()(size, count)
    assert groups.shape == (size, count) and groups.dtype == torch.int64
    assert all(len(set(group)) == count for group in groups.tolist())
    assert groups.flatten().bincount(minlength=size).tolist() == [count] * size


@FEW
@given(SIZES, st.integers(2, 4), SEEDS)
def test_disjoint_groups_hold_each_item_at_most_once(size, count, seed):
    torch.manual_seed(seed)
    size = max(size, count)
    groups = DisjointGroups()(size, count)
    assert groups.shape == (size // count, count)
    items = groups.flatten().tolist()
    assert len(set(items)) == len(items) and set(items) <= set(range(size))


@pytest.mark.parametrize("pairing", PAIRINGS)
@FEW
@given(SIZES, st.integers(2, 3), SEEDS)
def test_no_new_mixture_holds_two_parts_of_one_mixture(pairing, size, count, seed):
    torch.manual_seed(seed)
    size = max(size, count)
    remixed = pairing()(numbered(size, count))
    assert remixed.shape == (size, count, 1)
    assert all(len(set(row)) == count for row in (remixed[..., 0] // count).tolist())


@pytest.mark.parametrize("pairing", PAIRINGS)
@FEW
@given(SIZES, st.integers(2, 3), SEEDS)
def test_every_estimate_is_dealt_exactly_once(pairing, size, count, seed):
    torch.manual_seed(seed)
    size = max(size, count)
    if pairing is SameIndexPairing:
        size = size // count * count  # promised only where C divides B
    remixed = pairing()(numbered(size, count))
    assert sorted(remixed.flatten().tolist()) == list(range(size * count))


@FEW
@given(SIZES, st.integers(2, 3), SEEDS)
def test_same_index_pairing_keeps_to_one_output_and_uses_all_outputs(size, count, seed):
    torch.manual_seed(seed)
    size = max(size, count)
    index = SameIndexPairing()(numbered(size, count))[..., 0] % count
    assert (index == index[:, :1]).all()
    assert set(index[:, 0].tolist()) == set(map(float, range(count)))


@FEW
@given(SIZES, st.integers(2, 3), SEEDS)
def test_cross_index_pairing_never_repeats_an_output(size, count, seed):
    torch.manual_seed(seed)
    size = max(size, count)
    index = CrossIndexPairing()(numbered(size, count))[..., 0] % count
    assert all(len(set(row)) == count for row in index.tolist())


def test_random_index_pairing_gives_same_index_rows_half_of_the_time():
    torch.manual_seed(0)
    index = RandomIndexPairing()(numbered(4000, 2))[..., 0] % 2
    assert (index[:, 0] == index[:, 1]).float().mean().item() == pytest.approx(0.5, abs=0.04)
    # All four combinations of outputs, not only two of them.
    assert (2 * index[:, 0] + index[:, 1]).long().bincount(minlength=4).min() > 850


@pytest.mark.parametrize(
    "draw", [CyclicGroups(), DisjointGroups(), lambda size, _: RandomIndexPairing().draw(size, 2)[0]]
)
def test_partners_are_drawn_uniformly(draw):
    torch.manual_seed(0)
    counts = torch.zeros(5, 5)
    for _ in range(800):
        for first, second in draw(5, 2).tolist():
            counts[first, second] += 1
    share = counts / counts.sum()
    assert share.diagonal().sum() == 0
    assert share[~torch.eye(5, dtype=torch.bool)].sub(1 / 20).abs().max() < 0.015


@pytest.mark.parametrize("draw", [CyclicGroups(), DisjointGroups(), *(pairing().draw for pairing in PAIRINGS)])
@pytest.mark.parametrize("size, count", [(1, 2), (2, 3)])
def test_too_small_a_batch_is_named(draw, size, count):
    with pytest.raises(ValueError, match=rf"batch: {size} mixtures leave no {count} different ones.*batch_size"):
        draw(size, count)


def test_deal_takes_the_output_of_the_donor():
    estimates = torch.randn(3, 2, 5)
    donor, index = torch.tensor([[2, 0], [0, 1], [1, 2]]), torch.tensor([[1, 1], [0, 0], [1, 0]])
    dealt = deal(estimates, donor, index)
    for b in range(3):
        for c in range(2):
            assert dealt[b, c].equal(estimates[donor[b, c], index[b, c]])


@FEW
@given(st.integers(1, 8), st.integers(1, 4), SEEDS)
def test_shuffled_sources_are_the_same_sources(size, count, seed):
    torch.manual_seed(seed)
    sources = torch.randn(size, count, 7)
    shuffled = shuffle_sources(sources)
    assert shuffled.shape == sources.shape
    before, after = (tensor.reshape(-1, 7).tolist() for tensor in (sources, shuffled))
    assert sorted(before) == sorted(after)


def test_shuffled_sources_reach_every_place():
    torch.manual_seed(0)
    places = torch.stack([shuffle_sources(numbered(3, 2)).flatten() for _ in range(600)]).long()
    counts = torch.stack([column.bincount(minlength=6) for column in places.T])
    assert counts.min() > 60 and counts.max() < 145


@pytest.mark.parametrize("draw", [CyclicGroups(), DisjointGroups(), RandomIndexPairing().draw, SameIndexPairing().draw])
def test_drawing_follows_the_global_seed(draw):
    torch.manual_seed(5)
    first = draw(9, 3)
    torch.manual_seed(5)
    assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(first, draw(9, 3), strict=True))
