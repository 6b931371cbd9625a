"""Permutation-invariant training (Kolbaek et al. 2017), and what can be varied in it."""

import torch

from sb_ext.assignment import reorder
from sb_ext.contracts import LossReport, Objective
from sb_ext.objectives.label_assignment import ExactAssignment
from sb_ext.objectives.layer_wise import LastLayer


def require_sources(batch, objective):
    """The references of a batch; ValueError naming the objective where there are none."""
    if batch.sources is None:
        raise ValueError(
            f"{type(objective).__name__} is supervised and this data set has no reference sources "
            f"(first item: {batch.ids[0]!r}); use mixit, mixpit or mixcycle for recordings without references"
        )
    return batch.sources


class PIT(Objective):
    """The estimates of the mixture beside its true sources, in the best order.

    What can be varied, each independently of the others: how softly estimates are assigned, what earlier epochs say
    about a mixture, which layers are trained, and what is added to the loss. The defaults are plain PIT.

    Arguments
    ---------
    loss : sb_ext.losses.NegSNR or alike
    assignment : ExactAssignment, SinkhornAssignment or SoftMinimumAssignment, optional
    memory : SampleDropout or KeptAssignment, optional
        Decides by the last layer for all.
    layers : LastLayer or LayerWise, optional
    auxiliary : sb_ext.losses.perceptual.PerceptualLoss or alike, optional
        Adds to the loss what the assigned estimates cost besides.

    Example
    -------
    >>> import torch
    >>> from sb_ext.contracts import MixtureBatch, Separation
    >>> from sb_ext.losses import NegSNR
    >>> sources = torch.randn(3, 2, 400)
    >>> batch = MixtureBatch(list("abc"), sources.sum(1), sources, None, torch.full((3,), 400))
    >>> PIT(NegSNR(30))(lambda mixture: Separation(sources.flip(1)), batch, epoch=1).loss.round().tolist()
    [-30.0, -30.0, -30.0]
    """

    def __init__(self, loss, assignment=None, memory=None, layers=None, auxiliary=None):
        super().__init__()
        self.loss, self.auxiliary = loss, auxiliary
        self.assignment = ExactAssignment() if assignment is None else assignment
        self.layers = LastLayer() if layers is None else layers
        self.memory = memory

    def prepare(self, separator):
        """See Objective."""
        separator.check_training(self.layers.needs_layers)

    def forward(self, separator, batch, epoch):
        """See Objective."""
        return self.compare(separator, batch.mixture, require_sources(batch, self), batch.ids, epoch)

    def compare(self, separator, mixture, sources, ids, epoch):
        """The report for ``mixture [B, T]`` beside its ``sources [B, C, T]``."""
        layers = self.layers.estimates(separator, mixture)
        assigned = [self.assignment(self.loss, estimates, sources, epoch) for estimates in layers]
        losses, orders, figures = map(list, zip(*assigned, strict=True))
        keep = torch.ones_like(figures[-1], dtype=torch.bool)
        if self.memory is not None:
            keep, bound, order = self.memory(ids, orders[-1], -figures[-1], epoch)
            if bound.any():
                recorded = [self.loss(reorder(estimates, order), sources).mean(-1) for estimates in layers]
                losses = [there.where(bound, free) for there, free in zip(recorded, losses, strict=True)]
                orders = [order.where(bound.unsqueeze(1), free) for free in orders]
        loss = self.layers.combine(losses)
        if self.auxiliary is None:
            return LossReport(loss, keep)
        ordered = [reorder(estimates, order) for estimates, order in zip(layers, orders, strict=True)]
        loss, log = self.auxiliary(loss, ordered, sources, keep)
        return LossReport(loss, keep, log)
