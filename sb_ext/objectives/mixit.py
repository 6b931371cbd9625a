"""Mixture invariant training (MixIT; Wisdom et al. 2020)."""

from sb_ext.assignment import mixit
from sb_ext.objectives.mixpit import MixPIT


class MixIT(MixPIT):
    """The sum of mixtures is separated into many estimates, which must add up to the mixtures in some way.

    Of MixPIT only the cost differs. Never reads references.

    Arguments
    ---------
    loss : sb_ext.losses.NegSNR or alike
    num_mixtures : int
        How many mixtures are summed: 2, whatever the number of outputs.
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

    def cost(self, estimates, mixtures):
        """Loss ``[B]`` under the best mixing matrix (Wisdom et al. 2020, eq. 3)."""
        return mixit(estimates, mixtures, self.loss)[0]
