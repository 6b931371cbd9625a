"""What an estimate costs in the eyes of a speech model: near its own target, far from the others (Sun et al. 2022)."""

import torch
import torch.nn.functional as F
from speechbrain.utils.distributed import ddp_all_reduce
from torch import nn

from sb_ext.objectives.layer_wise import LastLayer
from sb_ext.values import RATE, check_choice, not_negative

# Below any distance that a model gives for different signals.
EPS = 1e-9


def positive_distances(estimates, targets, reduction="mean"):
    """Distance of each target to its own estimate (eq. 3): ``mean_m |phi_m(x_i) - phi_m(e_i)|^2 / D``.

    Arguments
    ---------
    estimates, targets : torch.Tensor
        ``[B, C, L, D]``, representations in the same order.
    reduction : str
        Over the frames m: mean, or sum as the paper writes it.

    Returns
    -------
    torch.Tensor
        ``[B, C]``.

    Example
    -------
    >>> positive_distances(torch.zeros(1, 1, 5, 4), torch.full((1, 1, 5, 4), 3.0)).tolist()
    [[9.0]]
    """
    squares = F.mse_loss(estimates, targets, reduction="none").mean(-1)
    return squares.mean(-1) if reduction == "mean" else squares.sum(-1)


def negative_distances(estimates, targets, reduction="mean"):
    """Distances of each target to the estimates of all others, summed over them (eq. 4); as positive_distances.

    Example
    -------
    >>> estimates = torch.tensor([0.0, 1.0, 3.0]).reshape(1, 3, 1, 1)
    >>> negative_distances(estimates, torch.zeros(1, 3, 1, 1)).tolist()
    [[10.0, 9.0, 1.0]]
    """
    shifts = range(1, targets.shape[1])
    return sum(positive_distances(estimates.roll(shift, 1), targets, reduction) for shift in shifts)


class WeightedSum:
    """``weight (positive Dpos + negative / Dneg)`` (eq. 6), Dpos and Dneg the means over the batch (eq. 5).

    Every row gets ``negative / Dneg`` of all rows that take part, on all DDP ranks, with its own share of the gradient:
    the mean over the rows is eq. 6, and a row that is left out moves nothing.

    Arguments
    ---------
    positive, negative : float
        lambda1 and lambda2; zero leaves the distance out.
    weight : float
        lambda_p, eq. 9.

    Example
    -------
    >>> positive, negative = torch.tensor([[0.02], [0.04]]), torch.tensor([[0.1], [0.3]])
    >>> cost = WeightedSum()(positive, negative, torch.tensor([True, True]))
    >>> [round(value, 3) for value in cost.tolist()]
    [2.005, 4.005]
    """

    def __init__(self, positive=100.0, negative=0.001, weight=1.0):
        if not (RATE.holds(positive) and RATE.holds(negative) and positive + negative):
            raise ValueError(
                f"WeightedSum: expected weights of 0 or more, one of them above, received {positive} and {negative}"
            )
        self.positive, self.negative, self.weight = positive, negative, not_negative("weight", weight)

    def __call__(self, positive, negative, keep):
        """``[B, C]``, ``[B, C]`` and which rows take part, ``[B]``, to the cost of each row, ``[B]``."""
        cost = self.positive * positive.mean(1) if self.positive else 0
        if self.negative:
            cost = cost + self.negative * _inverse_of_mean(negative.mean(1), keep)
        return self.weight * cost


def _inverse_of_mean(values, keep):
    """One over the mean of the kept values ``[B]``, for each row; the gradient is each row's part of it."""
    keep = keep & values.isfinite()
    kept = torch.where(keep, values.detach(), 0)
    total, count = ddp_all_reduce(torch.stack([kept.sum(), keep.sum()]), torch.distributed.ReduceOp.SUM)
    mean = (total / count.clamp_min(1)).clamp_min(EPS)
    return 1 / mean - (values - values.detach()) / mean.square()


class Triplet:
    """``weight max(0, pos_i - neg_i + margin)``, the mean over the sources i (eq. 8).

    Arguments
    ---------
    margin : float
        alpha, fit for distances that are means over the frames.
    weight : float
        lambda_p, eq. 9.

    Example
    -------
    >>> triplet = Triplet(margin=0.5, weight=1.0)
    >>> triplet(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.25, 3.0]]), torch.tensor([True])).tolist()
    [0.125]
    """

    # Both distances are needed.
    positive = negative = True

    def __init__(self, margin=0.0035, weight=300.0):
        self.margin, self.weight = not_negative("margin", margin), not_negative("weight", weight)

    def __call__(self, positive, negative, keep):
        """As WeightedSum's."""
        return self.weight * (positive - negative + self.margin).clamp_min(0).mean(1)


class PerceptualLoss(nn.Module):
    """Adds distances of representations to the loss of any objective that assigns estimates to targets (eq. 9).

    All estimates of a batch pass through the speech model at once, and so do all targets, once and without gradient.
    The log gets the distances' means: the paper's weights and margin suit a model whose distances are of the order of
    the margin, 0.0035; ``scale`` of the representation brings another's there.

    Arguments
    ---------
    representation : sb_ext.speech.representation.Representation or alike
        ``[N, T]`` to ``[N, L, D]``, with ``of_targets``.
    integration : WeightedSum or Triplet
    basic_weight : float
        lambda_b.
    layers : LastLayer or LayerWise, optional
        Which layers' estimates are measured, where the objective trains several; the last one's by default.
    reduction : str
        Over the frames: mean, or sum as the paper writes it.
    """

    def __init__(self, representation, integration, basic_weight=1.0, layers=None, reduction="mean"):
        super().__init__()
        check_choice("reduction", reduction, ("mean", "sum"))
        self.representation, self.integration = representation, integration
        self.basic_weight, self.reduction = not_negative("basic_weight", basic_weight), reduction
        self.layers = LastLayer() if layers is None else layers

    def forward(self, basic, ordered, targets, keep):
        """Add to a loss.

        Arguments
        ---------
        basic : torch.Tensor
            ``[B]``, the objective's own loss.
        ordered : list of torch.Tensor
            ``[B, C, T]`` for each layer the objective trains, in the order of the targets, the final one last.
        targets : torch.Tensor
            ``[B, C, T]``, C of two or more.
        keep : torch.Tensor
            ``[B]``, bool, which rows take part.

        Returns
        -------
        loss : torch.Tensor
            ``[B]``.
        log : dict
            Means of what was added and of both distances, as far as they are asked for.
        """
        if targets.shape[1] < 2:
            raise ValueError(f"PerceptualLoss: one source has no other to be far from, received {list(targets.shape)}")
        chosen = torch.stack(tuple(self.layers.chosen(ordered)))
        estimates = self.representation(chosen.flatten(0, 2)).unflatten(0, chosen.shape[:3])
        aims = self.representation.of_targets(targets.flatten(0, 1)).unflatten(0, targets.shape[:2])
        keep, log = keep & basic.isfinite(), {}
        added = self.layers.combine([self._cost(layer, aims, keep, log) for layer in estimates])
        log["perceptual"] = _mean(added, keep)
        return self.basic_weight * basic + added, log

    def _cost(self, estimates, aims, keep, log):
        """``[B]`` of one layer; its distances go into the log."""
        distances = {}
        for name, distance in (("positive", positive_distances), ("negative", negative_distances)):
            if getattr(self.integration, name):
                distances[name] = distance(estimates, aims, self.reduction)
                log[f"{name}_distance"] = _mean(distances[name].mean(1), keep)
        return self.integration(distances.get("positive"), distances.get("negative"), keep)


def _mean(values, keep):
    """Of the kept rows that are finite, without gradient."""
    keep = keep & values.isfinite()
    return torch.where(keep, values.detach(), 0).sum() / keep.sum().clamp_min(1)
