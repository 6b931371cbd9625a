"""Assignments against Asteroid, scipy and exhaustive search in float64."""

import itertools
import math

import numpy as np
import pytest
import torch
from asteroid.losses import MixITLossWrapper, PairwiseNegSDR, PITLossWrapper
from asteroid.losses.sdr import MultiSrcNegSDR
from scipy.optimize import linear_sum_assignment
from torch.utils._python_dispatch import TorchDispatchMode

from sb_ext.assignment import best_permutation, mixing_matrices, mixit, pit, pit_loss, reorder
from sb_ext.losses import NegSISDR, NegSNR


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mixit_by_search(estimates, mixtures, snr_max):
    """MixIT with the thresholded SNR, all mixing matrices tried on the waveforms; gradients flow in its dtype."""
    losses, ways = [], []
    for groups in itertools.product(range(mixtures.shape[1]), repeat=estimates.shape[1]):
        total = 0
        for mixture in range(mixtures.shape[1]):
            members = [e for e, group in enumerate(groups) if group == mixture]
            target, estimate = mixtures[:, mixture], estimates[:, members].sum(1)
            noise = (target - estimate).pow(2).sum(-1) + 10 ** (-snr_max / 10) * target.pow(2).sum(-1)
            total = total - 10 * torch.log10(target.pow(2).sum(-1) / noise)
        losses.append(total / mixtures.shape[1])
        ways.append(groups)
    best = torch.stack(losses, 1).min(1)
    return best.values, [ways[place] for place in best.indices.tolist()]


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_pit_equals_asteroid(count):
    targets = random(6, count, 2000)
    estimates = random(6, count, count, seed=1) @ targets + random(6, count, 2000, seed=2)
    matrix = PairwiseNegSDR("sisdr")(estimates, targets)
    theirs, order = PITLossWrapper(PairwiseNegSDR("sisdr"), pit_from="pw_mtx").find_best_perm(matrix)
    loss, permutation = pit(matrix)
    torch.testing.assert_close(loss, theirs)
    assert permutation.equal(order)


@pytest.mark.parametrize(
    "num_estimates, num_targets", [(2, 2), (5, 5), (6, 6), (9, 9), (12, 12), (8, 3), (7, 5), (9, 2)]
)
def test_pit_equals_the_hungarian_algorithm(num_estimates, num_targets):
    matrix = random(5, num_estimates, num_targets)
    loss, permutation = pit(matrix)
    for item, value, chosen in zip(matrix.double().numpy(), loss, permutation, strict=True):
        rows, columns = linear_sum_assignment(item)
        assert value.item() == pytest.approx(item[rows, columns].mean(), abs=1e-6)
        assert chosen[columns].tolist() == rows.tolist()


@pytest.mark.parametrize("num_estimates, num_targets", [(3, 2), (4, 1), (5, 3), (6, 4), (8, 3)])
def test_pit_with_more_estimates_than_targets_equals_exhaustive_search(num_estimates, num_targets):
    matrix = random(4, num_estimates, num_targets)
    loss, permutation = pit(matrix)
    for item, value, chosen in zip(matrix.double(), loss, permutation.tolist(), strict=True):
        ways = itertools.permutations(range(num_estimates), num_targets)
        cost, best = min((sum(item[e, c].item() for c, e in enumerate(way)), way) for way in ways)
        assert chosen == list(best)
        assert value.item() == pytest.approx(cost / num_targets, abs=1e-6)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_every_permutation_is_recovered(count):
    ways = torch.tensor(list(itertools.permutations(range(count))))
    targets = random(1, count, 64).expand(len(ways), -1, -1)
    estimates = torch.stack([targets[0, way] for way in ways])
    loss, permutation = pit_loss(NegSNR(30), estimates, targets)
    # permutation[b, c] is the estimate of target c: undoing the shuffle gives the targets back, exactly.
    assert reorder(estimates, permutation).equal(targets)
    assert permutation.equal(ways.argsort(1))
    torch.testing.assert_close(loss, torch.full((len(ways),), -30.0))


def test_permutations_beyond_exhaustive_search_are_recovered():
    targets = random(3, 10, 200)
    shuffles = [torch.randperm(10, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    estimates = torch.stack([target[way] for target, way in zip(targets, shuffles, strict=True)])
    assert reorder(estimates, pit_loss(NegSISDR(), estimates, targets)[1]).equal(targets)


def test_permutation_names_the_estimate_of_each_target():
    matrix = torch.full((1, 3, 3), 9.0)
    matrix[0, 2, 0] = matrix[0, 0, 1] = matrix[0, 1, 2] = 0.0  # estimate 2 for target 0, 0 for 1, 1 for 2
    assert best_permutation(matrix).tolist() == [[2, 0, 1]]
    assert reorder(torch.tensor([[[10.0], [11.0], [12.0]]]), torch.tensor([[2, 0, 1]])).flatten().tolist() == [
        12,
        10,
        11,
    ]


@pytest.mark.parametrize("num_estimates, num_targets", [(2, 2), (4, 3), (7, 6)])
def test_gradient_flows_through_the_chosen_entries_only(num_estimates, num_targets):
    matrix = random(3, num_estimates, num_targets).requires_grad_()
    loss, permutation = pit(matrix)
    loss.sum().backward()
    expected = torch.zeros_like(matrix)
    expected.scatter_(1, permutation.unsqueeze(1), 1 / num_targets)
    torch.testing.assert_close(matrix.grad, expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_pairs_that_cannot_be_measured_are_avoided(count, bad):
    matrix = random(2, count, count)
    best = best_permutation(matrix)
    matrix[0, best[0, 0], 0] = bad
    permutation = best_permutation(matrix)
    assert permutation[0, 0] != best[0, 0] and permutation[1].equal(best[1])
    assert pit(matrix)[0].isfinite().all()


def test_a_batch_of_nothing_but_nan_still_gives_permutations():
    assert best_permutation(torch.full((2, 3, 3), float("nan"))).sort(1).values.tolist() == [[0, 1, 2]] * 2


def test_fewer_estimates_than_targets_are_refused():
    with pytest.raises(ValueError, match="3 targets need as many estimates, received 2"):
        pit(torch.zeros(1, 2, 3))


@pytest.mark.parametrize("loss", [NegSNR(), NegSNR(30), NegSISDR()])
@pytest.mark.parametrize("num_estimates, num_targets", [(2, 2), (3, 3), (4, 2), (6, 6)])
def test_pit_loss_equals_pit_of_the_pairwise_matrix_in_value_and_gradient(loss, num_estimates, num_targets):
    targets = random(4, num_targets, 1500)
    estimates = random(4, num_estimates, num_targets, seed=3) @ targets + 0.3 * random(4, num_estimates, 1500, seed=4)
    one, two = estimates.clone().requires_grad_(), estimates.clone().requires_grad_()
    fast, fast_permutation = pit_loss(loss, one, targets)
    slow, slow_permutation = pit(loss.pairwise(two, targets))
    torch.testing.assert_close(fast, slow, atol=1e-4, rtol=1e-4)
    assert fast_permutation.equal(slow_permutation)
    fast.sum().backward()
    slow.sum().backward()
    torch.testing.assert_close(one.grad, two.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("num_estimates", [2, 4, 6])
@pytest.mark.parametrize("kind, ours", [("sisdr", NegSISDR()), ("snr", NegSNR())])
def test_mixit_equals_asteroid(num_estimates, kind, ours):
    mixtures = random(5, 2, 1500)
    estimates = random(5, num_estimates, 2, seed=5) @ mixtures + random(5, num_estimates, 1500, seed=6)
    theirs = MixITLossWrapper(MultiSrcNegSDR(kind, zero_mean=kind == "sisdr"), generalized=True, reduction="none")
    torch.testing.assert_close(
        mixit(estimates, mixtures, ours)[0], theirs(estimates, mixtures).flatten(), atol=1e-3, rtol=1e-4
    )


@pytest.mark.parametrize("num_mixtures, num_estimates", [(2, 2), (2, 4), (2, 6), (3, 5)])
@pytest.mark.parametrize("noise", [1.0, 1e-1, 1e-3])
def test_mixit_equals_exhaustive_search_in_value_choice_and_gradient(num_mixtures, num_estimates, noise):
    sources = random(4, num_estimates, 1000)
    owner = torch.arange(num_estimates) % num_mixtures
    mixtures = torch.stack([sources[:, owner == place].sum(1) for place in range(num_mixtures)], 1)
    estimates = sources + noise * random(4, num_estimates, 1000, seed=7)
    single, double = estimates.clone().requires_grad_(), estimates.double().requires_grad_()
    loss, mixing = mixit(single, mixtures, NegSNR(30))
    expected, ways = mixit_by_search(double, mixtures.double(), 30)
    torch.testing.assert_close(loss.double(), expected, atol=1e-3, rtol=1e-4)
    assert mixing.argmax(1).tolist() == [list(way) for way in ways]
    loss.sum().backward()
    expected.sum().backward()
    assert (single.grad - double.grad).norm() / double.grad.norm() < 1e-4


@pytest.mark.parametrize("level", range(0, 81, 20))
def test_mixit_gradient_is_exact_up_to_80_db(level):
    sources = 0.05 * random(2, 4, 8000)
    mixtures = torch.stack([sources[:, :2].sum(1), sources[:, 2:].sum(1)], 1)
    estimates = sources + 10 ** (-level / 20) * 0.05 * random(2, 4, 8000, seed=8)
    single, double = estimates.clone().requires_grad_(), estimates.double().requires_grad_()
    mixit(single, mixtures, NegSNR())[0].sum().backward()
    mixit_by_search(double, mixtures.double(), math.inf)[0].sum().backward()
    assert (single.grad - double.grad).norm() / double.grad.norm() < 1e-3


@pytest.mark.parametrize("level", range(0, 101, 20))
@pytest.mark.parametrize("count", [2, 5, 12])
@pytest.mark.parametrize("loss", [NegSNR(), NegSISDR()])
def test_permutations_are_right_at_any_level(level, count, loss):
    targets, noise = random(2, 4, count, 2000)
    estimates = (targets + 10 ** (-level / 20) * noise).roll(1, 1)
    assert pit_loss(loss, estimates, targets)[1].tolist() == [[*range(1, count), 0]] * 4


@pytest.mark.parametrize("loss", [NegSNR(), NegSNR(30), NegSISDR()])
@pytest.mark.parametrize(
    "assigned",
    [lambda *args: mixit(*args)[0], lambda e, s, loss: pit_loss(loss, e, s)[0],
     lambda e, s, loss: pit_loss(loss, e[:, :2], s)[0]],
    ids=["mixit", "pit with estimates to spare", "pit"],
)  # fmt: skip
def test_gradients_are_the_numerical_ones(loss, assigned):
    estimates, targets = random(2, 4, 30).double().requires_grad_(), random(2, 2, 30, seed=1).double().requires_grad_()
    torch.autograd.gradcheck(lambda e, s: assigned(e, s, loss), (estimates, targets))


@pytest.mark.parametrize("loss", [NegSNR(30), NegSISDR()])
def test_mixit_keeps_no_more_than_the_mixtures_for_the_backward_pass(loss):
    """Trying all 256 ways on the waveforms keeps 256 times as much: 390 MB for 8 items of 3 s, and this 1.5 MB."""
    estimates, mixtures, kept = random(2, 8, 4000).requires_grad_(), random(2, 2, 4000), {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value, _ = mixit(estimates, mixtures, loss)
    for given in (estimates, mixtures):
        kept.pop(given.untyped_storage().data_ptr(), None)
    assert value.requires_grad and 0 < sum(kept.values()) < 1.05 * mixtures.nbytes


@pytest.fixture
def tf32_allowed():
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


class Products(TorchDispatchMode):
    """Notes for each matrix product whether TF32 was allowed, and its dtype."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket in (torch.ops.aten.bmm, torch.ops.aten.baddbmm, torch.ops.aten.mm):
            self.seen.append((torch.backends.cuda.matmul.allow_tf32, args[0].dtype))
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("loss", [NegSNR(30), NegSISDR()])
@pytest.mark.parametrize("assigned", [lambda *args: mixit(*args)[0], lambda e, s, loss: pit_loss(loss, e, s)[0]])
def test_products_are_exact_where_speechbrain_allows_tf32_and_autocast_bfloat16(loss, assigned, tf32_allowed):
    estimates, targets = random(2, 4, 400).requires_grad_(), random(2, 2, 400, seed=1)
    with Products() as products, torch.autocast("cpu", torch.bfloat16):
        products.seen = []
        value = assigned(estimates, targets, loss)
        value.sum().backward()
    assert value.equal(assigned(estimates, targets, loss))
    assert set(products.seen) == {(False, torch.float32)}
    assert torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("loss", [NegSNR(30), NegSISDR()])
def test_estimates_in_bfloat16_are_measured_in_float32(loss):
    estimates, targets = random(2, 4, 400).bfloat16().requires_grad_(), random(2, 2, 400, seed=1)
    for value in (mixit(estimates, targets, loss)[0], pit_loss(loss, estimates, targets)[0]):
        (gradient,) = torch.autograd.grad(value.sum(), estimates)
        assert value.dtype is torch.float32 and gradient.dtype is torch.bfloat16 and gradient.isfinite().all()


def test_mixit_recovers_the_mixing_matrix():
    ways = mixing_matrices(2, 4)[1:-1]
    sources = random(1, 4, 800).expand(len(ways), -1, -1)
    assert mixit(sources, ways @ sources, NegSNR(30))[1].equal(ways)


@pytest.mark.parametrize("num_mixtures, num_estimates", [(2, 4), (3, 3), (2, 8)])
def test_mixing_matrices_are_all_and_each_once(num_mixtures, num_estimates):
    ways = mixing_matrices(num_mixtures, num_estimates)
    assert ways.shape == (num_mixtures**num_estimates, num_mixtures, num_estimates)
    assert ways.sum(1).eq(1).all() and set(ways.unique().tolist()) == {0.0, 1.0}
    assert len(np.unique(ways.flatten(1).numpy(), axis=0)) == len(ways)
