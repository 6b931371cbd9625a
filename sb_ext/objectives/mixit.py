"""Mixture invariant training (MixIT; Wisdom et al. 2020)."""

from sb_ext.assignment import mixit
from sb_ext.contracts import LossReport, Objective
from sb_ext.mixing import CyclicGroups


class MixIT(Objective):
    """The sum of mixtures is separated into many estimates, which must add up to the mixtures in some way.

    Never reads references.

    Arguments
    ---------
    loss : sb_ext.losses.NegSNR or alike
    num_mixtures : int
        How many mixtures are summed: 2.
    grouping : CyclicGroups or DisjointGroups, optional
        Which mixtures are summed.

    Example
    -------
    >>> import torch
    >>> from sb_ext.contracts import MixtureBatch, Separation
    >>> from sb_ext.losses import NegSNR
    >>> batch = MixtureBatch(list("abc"), torch.randn(3, 400), None, None, torch.full((3,), 400))
    >>> separator = lambda mixture: Separation(torch.stack([mixture] * 4, 1) / 4)
    >>> MixIT(NegSNR(30))(separator, batch, epoch=1).loss.shape
    torch.Size([3])
    """

    def __init__(self, loss, num_mixtures=2, grouping=None):
        super().__init__()
        self.loss, self.num_mixtures = loss, num_mixtures
        self.grouping = CyclicGroups() if grouping is None else grouping

    def forward(self, separator, batch, epoch):
        """See Objective."""
        groups = self.grouping(len(batch), self.num_mixtures).to(batch.mixture.device)
        mixtures = batch.mixture[groups]
        loss, _ = mixit(separator(mixtures.sum(1)).sources, mixtures, self.loss)
        return LossReport.of_all(loss)
