"""Which estimate belongs to which target: permutations, and mixing matrices for mixtures of mixtures."""

import itertools
import math
from functools import cache

import torch
from scipy.optimize import linear_sum_assignment

from sb_ext.soft_assignment import injections, sinkhorn

__all__ = ["best_permutation", "mixing_matrices", "mixit", "pit", "pit_loss", "reorder", "sinkhorn"]

# Beyond this many candidate assignments the Hungarian algorithm is faster than looking at all of them.
BRUTE_FORCE_LIMIT = 120


def best_permutation(pairwise):
    """The assignment of least total loss, without gradient.

    Arguments
    ---------
    pairwise : torch.Tensor
        ``[B, E, C]``, loss of estimate e beside target c, E >= C. Estimates beyond C stay unused.

    Returns
    -------
    torch.Tensor
        ``[B, C]``, int64: ``permutation[b, c]`` is the estimate that belongs to target c.

    Raises
    ------
    ValueError
        If there are fewer estimates than targets.

    Example
    -------
    >>> best_permutation(torch.tensor([[[5.0, 1.0], [2.0, 9.0]]])).tolist()
    [[1, 0]]
    """
    batch, num_estimates, num_targets = pairwise.shape
    if num_estimates < num_targets:
        raise ValueError(f"pairwise: {num_targets} targets need as many estimates, received {num_estimates}")
    with torch.no_grad():
        # A pair that cannot be measured must not be chosen as long as there is another way.
        costs = torch.nan_to_num(pairwise.detach().float(), nan=1e9, posinf=1e9, neginf=-1e9)
        if math.perm(num_estimates, num_targets) <= BRUTE_FORCE_LIMIT:
            ways = injections(num_estimates, num_targets, costs.device)
            totals = costs[:, ways, torch.arange(num_targets, device=costs.device)].sum(-1)
            return ways[totals.argmin(-1)]
        solved = [linear_sum_assignment(item.T)[1] for item in costs.cpu().numpy()]
        return torch.as_tensor(solved, device=costs.device).reshape(batch, num_targets)


def pit(pairwise):
    """Permutation-invariant loss (Kolbaek et al. 2017).

    Arguments
    ---------
    pairwise : torch.Tensor
        ``[B, E, C]``, loss of estimate e beside target c, E >= C.

    Returns
    -------
    loss : torch.Tensor
        ``[B]``, mean over the targets under the best assignment; differentiable.
    permutation : torch.Tensor
        ``[B, C]``, the estimate that belongs to each target.

    Example
    -------
    >>> loss, permutation = pit(torch.tensor([[[5.0, 1.0], [2.0, 9.0]]]))
    >>> loss.item(), permutation.tolist()
    (1.5, [[1, 0]])
    """
    permutation = best_permutation(pairwise)
    chosen = pairwise.gather(1, permutation.unsqueeze(1)).squeeze(1)
    return chosen.mean(-1), permutation


def reorder(estimates, permutation):
    """The estimates in the order of the targets: ``[B, E, T]`` and ``[B, C]`` give ``[B, C, T]``.

    Example
    -------
    >>> reorder(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[1, 0]])).flatten().tolist()
    [2.0, 1.0]
    """
    # a copy of whole rows, many times as fast as gather, which looks up every sample
    first = torch.arange(0, estimates.shape[0] * estimates.shape[1], estimates.shape[1], device=estimates.device)
    rows = (permutation + first.unsqueeze(1)).flatten()
    return estimates.flatten(0, 1).index_select(0, rows).unflatten(0, permutation.shape)


def pit_loss(loss, estimates, targets):
    """Permutation-invariant loss of waveforms: chosen by inner products, evaluated exactly.

    Arguments
    ---------
    loss : sb_ext.losses.NegSNR or alike
        With ``scores`` for all pairs and a call for matched signals.
    estimates, targets : torch.Tensor
        ``[B, E, T]`` and ``[B, C, T]``, E >= C.

    Returns
    -------
    loss : torch.Tensor
        ``[B]``, in dB; differentiable.
    permutation : torch.Tensor
        ``[B, C]``.

    Example
    -------
    >>> from sb_ext.losses import NegSNR
    >>> targets = torch.randn(2, 3, 400)
    >>> pit_loss(NegSNR(30), targets.flip(1), targets)[1].tolist()
    [[2, 1, 0], [2, 1, 0]]
    """
    permutation = best_permutation(loss.scores(estimates, targets))
    if estimates.shape == targets.shape:
        # the same pairs, but it is the targets that are moved, through which no gradient has to come back
        return loss(estimates, reorder(targets, permutation.argsort(-1))).mean(-1), permutation
    return loss(reorder(estimates, permutation), targets).mean(-1), permutation


@cache
def mixing_matrices(num_mixtures, num_estimates, device=None):
    """All binary matrices whose columns sum to one: ``[M^E, M, E]``. Each estimate goes to exactly one mixture."""
    ways = torch.tensor(list(itertools.product(range(num_mixtures), repeat=num_estimates)), device=device)
    return torch.nn.functional.one_hot(ways, num_mixtures).mT.float()


def mixit(estimates, mixtures, loss):
    """Mixture-invariant loss (Wisdom et al. 2020, eq. 3): the estimates are summed to the mixtures in the best way.

    All mixing matrices are compared by the Gram matrix of the estimates and mixtures; the chosen one is evaluated on
    the waveforms, so that gradients are exact at any SNR.

    Arguments
    ---------
    estimates : torch.Tensor
        ``[B, E, T]``.
    mixtures : torch.Tensor
        ``[B, M, T]``, what the input was the sum of.
    loss : sb_ext.losses.NegSNR or sb_ext.losses.NegSISDR

    Returns
    -------
    loss : torch.Tensor
        ``[B]``, mean over the mixtures, in dB; differentiable.
    mixing : torch.Tensor
        ``[B, M, E]``, binary, columns sum to one.

    Example
    -------
    >>> from sb_ext.losses import NegSNR
    >>> sources = torch.randn(1, 4, 400)
    >>> mixtures = torch.stack([sources[:, 0] + sources[:, 2], sources[:, 1] + sources[:, 3]], 1)
    >>> mixit(sources, mixtures, NegSNR(30))[1].tolist()
    [[[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]]
    """
    estimates = estimates.to(mixtures.dtype)
    ways = mixing_matrices(mixtures.shape[1], estimates.shape[1], estimates.device).to(estimates.dtype)
    mixing = ways[loss.mixed_scores(estimates, mixtures, ways).mean(-1).argmin(-1)]
    return loss.mixed(estimates, mixtures, mixing).mean(-1), mixing
