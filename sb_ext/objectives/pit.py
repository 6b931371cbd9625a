"""Permutation-invariant training (Kolbaek et al. 2017), and what can be varied in it."""

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
    about a mixture, and which layers are trained. The defaults are plain PIT.

    Arguments
    ---------
    loss : sb_ext.losses.NegSNR or alike
    assignment : ExactAssignment, SinkhornAssignment or SoftMinimumAssignment, optional
    memory : SampleDropout or KeptAssignment, optional
        Decides by the last layer for all.
    layers : LastLayer or LayerWise, optional

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

    def __init__(self, loss, assignment=None, memory=None, layers=None):
        super().__init__()
        self.loss = loss
        self.assignment = ExactAssignment() if assignment is None else assignment
        self.layers = LastLayer() if layers is None else layers
        self.memory = memory

    def forward(self, separator, batch, epoch):
        """See Objective."""
        return self.compare(separator, batch.mixture, require_sources(batch, self), batch.ids, epoch)

    def compare(self, separator, mixture, sources, ids, epoch):
        """The report for ``mixture [B, T]`` beside its ``sources [B, C, T]``."""
        layers = self.layers.estimates(separator, mixture)
        assigned = [self.assignment(self.loss, estimates, sources, epoch) for estimates in layers]
        losses = [loss for loss, _, _ in assigned]
        if self.memory is None:
            return LossReport.of_all(self.layers.combine(losses))
        _, permutation, matched = assigned[-1]
        keep, bound, order = self.memory(ids, permutation, -matched, epoch)
        if bound.any():
            recorded = [self.loss(reorder(estimates, order), sources).mean(-1) for estimates in layers]
            losses = [there.where(bound, free) for there, free in zip(recorded, losses, strict=True)]
        return LossReport(self.layers.combine(losses), keep)
