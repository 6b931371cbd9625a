"""Mixture permutation invariant training (MixPIT; Karamatli and Kirbiz 2023, section III-A)."""

from sb_ext.assignment import pit_loss
from sb_ext.contracts import LossReport, Objective
from sb_ext.mixing import CyclicGroups


class MixPIT(Objective):
    """As many mixtures are summed as the model has outputs, and the outputs are taken for those mixtures (eq. 3).

    Never reads references.

    Arguments
    ---------
    loss : sb_ext.losses.NegSNR or alike
    num_mixtures : int
        The model's outputs: 2, or 3 for three speakers.
    grouping : CyclicGroups or DisjointGroups, optional
        Which mixtures are summed.

    Example
    -------
    >>> import torch
    >>> from sb_ext.contracts import MixtureBatch, Separation
    >>> from sb_ext.losses import NegSNR
    >>> batch = MixtureBatch(list("abc"), torch.randn(3, 400), None, None, torch.full((3,), 400))
    >>> separator = lambda mixture: Separation(torch.stack([mixture] * 2, 1) / 2)
    >>> MixPIT(NegSNR(30))(separator, batch, epoch=1).loss.shape
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
        return LossReport.of_all(self.cost(separator(mixtures.sum(1)).sources, mixtures))

    def cost(self, estimates, mixtures):
        """Loss ``[B]`` of the estimates ``[B, E, T]`` of a sum beside its ``mixtures [B, M, T]``."""
        return pit_loss(self.loss, estimates, mixtures)[0]
