"""Relaxed assignments: Sinkhorn's plan (SinkPIT) and the soft minimum over permutations (ProbPIT)."""

import itertools
import math
from functools import cache

import torch
from torch.autograd.function import once_differentiable

# Largest deviation of the logarithm of a margin from zero at which a plan counts as converged; below it the gradient
# agrees with full unrolling to 1e-5.
TOLERANCE = 1e-7
# Looking costs as much as an iteration.
LOOK_EVERY = 5


@cache
def injections(num_estimates, num_targets, device):
    """All ways of giving each target its own estimate: ``[P, C]``, P = E! / (E - C)!.

    Example
    -------
    >>> injections(3, 1, "cpu").tolist()
    [[0], [1], [2]]
    """
    return torch.tensor(list(itertools.permutations(range(num_estimates), num_targets)), device=device)


def _iterates(log_plan, iterations):
    """The logarithms of the plan after every half-step, and whether the last has converged; stops as soon as it has."""
    steps, settled = [], False
    for done in range(1, iterations + 1):
        for dim in (2, 1):
            log_plan = log_plan - log_plan.logsumexp(dim, keepdim=True)
            steps.append(log_plan)
        if done % LOOK_EVERY == 0 or done == iterations:
            settled = bool((log_plan.logsumexp(2).abs() < TOLERANCE).all())
            if settled:
                break
    return torch.stack(steps), settled


class _Sinkhorn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, costs, beta, iterations):
        steps, settled = _iterates(-beta * costs, iterations)
        plan = steps[-1].exp()
        ctx.save_for_backward(costs, plan if settled else steps)
        ctx.beta, ctx.settled = beta, settled
        ctx.mark_non_differentiable(plan)
        return ((costs + steps[-1] / beta) * plan).sum((1, 2)) / costs.shape[-1], plan

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, _):
        costs, kept = ctx.saved_tensors
        scale = gradient[:, None, None] / costs.shape[-1]
        if ctx.settled:
            return kept * scale, None, None
        plans = kept.exp()
        to_plan = plans[-1] * (costs + (kept[-1] + 1) / ctx.beta) * scale
        for place in range(len(plans) - 1, -1, -1):
            to_plan = torch.addcmul(to_plan, plans[place], to_plan.sum(2 - place % 2, keepdim=True), value=-1)
        return plans[-1] * scale - ctx.beta * to_plan, None, None


def sinkhorn(pairwise, beta=10.0, iterations=100):
    """Assignment relaxed to a doubly stochastic plan (SinkPIT; Tachibana 2021).

    Once Sinkhorn's iteration has converged, its value is a minimum over plans, whose gradient is the plan itself
    (envelope theorem): nothing is unrolled. A batch in which it has not converged is unrolled, as in the paper.

    Arguments
    ---------
    pairwise : torch.Tensor
        ``[B, C, C]``, loss of estimate e beside target c.
    beta : float
        Inverse temperature; the larger, the nearer to PIT.
    iterations : int
        At most so many, each normalising over targets and over estimates: half the paper's count of half-steps.

    Returns
    -------
    loss : torch.Tensor
        ``[B]``; differentiable.
    plan : torch.Tensor
        ``[B, C, C]``, without gradient: how much of each estimate belongs to each target.

    Raises
    ------
    ValueError
        If there are not as many estimates as targets, or ``beta`` is not positive.

    Example
    -------
    >>> loss, plan = sinkhorn(torch.tensor([[[5.0, 1.0], [2.0, 9.0]]]))
    >>> round(loss.item(), 3), plan.round().tolist()
    (1.5, [[[0.0, 1.0], [1.0, 0.0]]])
    """
    if pairwise.shape[1] != pairwise.shape[2]:
        raise ValueError(f"pairwise: expected as many estimates as targets, received {list(pairwise.shape[1:])}")
    if not beta > 0:
        raise ValueError(f"beta: expected a positive number, received {beta}")
    # Costs times beta reach a thousand, where single precision has no fifth digit left; the matrices are small.
    costs = pairwise.double()
    loss, plan = _Sinkhorn.apply(costs, beta, iterations)
    return loss.to(pairwise.dtype), plan.to(pairwise.dtype)


def soft_minimum(pairwise, gamma=1.0):
    """Soft minimum of the loss over all permutations (ProbPIT; Yousefi et al. 2019, eq. 6).

    ``-gamma log mean_p exp(-L_p / gamma)``: every permutation takes part, the better the more.

    Arguments
    ---------
    pairwise : torch.Tensor
        ``[B, E, C]``, E >= C.
    gamma : float
        Temperature in the loss's unit; towards zero it is PIT.

    Returns
    -------
    torch.Tensor
        ``[B]``; differentiable.

    Example
    -------
    >>> [round(soft_minimum(torch.tensor([[[5.0, 1.0], [2.0, 9.0]]]), gamma).item(), 2) for gamma in (0.01, 1.0)]
    [1.51, 2.19]
    """
    if not gamma > 0:
        raise ValueError(f"gamma: expected a positive number, received {gamma}")
    ways = injections(*pairwise.shape[1:], pairwise.device)
    losses = pairwise[:, ways, torch.arange(pairwise.shape[2], device=pairwise.device)].mean(-1)
    return -gamma * ((-losses / gamma).logsumexp(-1) - math.log(len(ways)))
