"""Permutation-invariant training (Kolbaek et al. 2017)."""

from sb_ext.assignment import pit_loss
from sb_ext.contracts import LossReport, Objective


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

    Arguments
    ---------
    loss : sb_ext.losses.NegSNR or alike

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

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, separator, batch, epoch):
        """See Objective."""
        sources = require_sources(batch, self)
        loss, _ = pit_loss(self.loss, separator(batch.mixture).sources, sources)
        return LossReport.of_all(loss)
