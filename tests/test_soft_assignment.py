import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sb_ext.assignment import pit
from sb_ext.soft_assignment import sinkhorn, soft_minimum

asteroid = pytest.importorskip("asteroid.losses.sinkpit_wrapper")


def random_costs(size, spread, good, seed=0):
    """Losses in dB; with ``good`` each estimate is near its own target, as a trained separator's are."""
    costs = spread * torch.randn(6, size, size, generator=torch.manual_seed(seed), dtype=torch.float64)
    return costs - good * torch.eye(size, dtype=torch.float64)[:, torch.randperm(size)]


@pytest.mark.parametrize(("spread", "good"), [(1.0, 20.0), (10.0, 0.0), (30.0, 0.0)])
@pytest.mark.parametrize("size", [2, 3, 5, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sinkhorn_and_its_gradient_equal_asteroids_full_unrolling(size, spread, good, dtype):
    costs = random_costs(size, spread, good)
    reference = costs.clone().requires_grad_()
    expected, plan = asteroid.SinkPITLossWrapper.best_softperm_sinkhorn(reference, beta=10, n_iter=200)
    expected.sum().backward()
    ours = costs.to(dtype).requires_grad_()
    loss, own_plan = sinkhorn(ours, beta=10.0, iterations=100)
    loss.sum().backward()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(own_plan.double(), plan.mT, rtol=0, atol=1e-5)
    # The rounding of the costs to single precision, times beta, is all that may differ.
    assert (ours.grad.double() - reference.grad).norm() < (1e-5 if dtype == torch.float64 else 1e-4) * math.sqrt(6)


def test_sinkhorn_stops_early_on_clear_costs_only():
    from sb_ext.soft_assignment import _iterates

    steps, settled = _iterates(-10 * random_costs(5, 1.0, 20.0), 100)
    assert settled and len(steps) < 40
    steps, settled = _iterates(-10 * random_costs(5, 10.0, 0.0), 100)
    assert not settled and len(steps) == 200


@pytest.mark.parametrize("spread", [1.0, 10.0])
def test_sinkhorns_gradient_is_that_of_differences(spread):
    costs = random_costs(3, spread, 0.0)[:1].requires_grad_()
    assert torch.autograd.gradcheck(lambda values: sinkhorn(values, 1.0, 30)[0], costs, eps=1e-6, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10**6))
def test_both_relaxations_tend_to_pit(size, seed):
    costs = random_costs(size, 1.0, 20.0, seed)
    exact, permutation = pit(costs)
    torch.testing.assert_close(soft_minimum(costs, 1e-3), exact, rtol=0, atol=1e-2)
    loss, plan = sinkhorn(costs, 100.0)
    torch.testing.assert_close(loss, exact, rtol=0, atol=1e-2)
    assert (plan.argmax(1) == permutation).all()


@pytest.mark.parametrize("gamma", [0.1, 1.0, 10.0])
def test_the_soft_minimum_is_the_likelihood_over_all_permutations(gamma):
    costs = random_costs(3, 2.0, 0.0)
    for item, ours in zip(costs, soft_minimum(costs, gamma), strict=True):
        orders = list(itertools.permutations(range(3)))
        likelihoods = [math.exp(-sum(item[e, c] for c, e in enumerate(order)) / 3 / gamma) for order in orders]
        assert math.isclose(ours, -gamma * math.log(sum(likelihoods) / len(orders)), rel_tol=1e-9)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"as many estimates as targets, received \[3, 2\]"):
        sinkhorn(torch.zeros(1, 3, 2))
    with pytest.raises(ValueError, match="beta: expected a positive number, received 0"):
        sinkhorn(torch.zeros(1, 2, 2), beta=0)
    with pytest.raises(ValueError, match="gamma: expected a positive number, received -1"):
        soft_minimum(torch.zeros(1, 2, 2), gamma=-1)
