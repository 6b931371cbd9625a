"""Permutation-invariant training with dynamic mixing (PIT-DM; Zeghidour and Grangier 2021)."""

from sb_ext.assignment import pit_loss
from sb_ext.contracts import LossReport
from sb_ext.mixing import shuffle_sources
from sb_ext.objectives.pit import PIT, require_sources


class PITDynamicMixing(PIT):
    """PIT on new mixtures every step: the sources of the batch are shuffled and summed anew.

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
    >>> separator = lambda mixture: Separation(torch.stack([mixture, 0 * mixture], 1) / 2)
    >>> PITDynamicMixing(NegSNR(30))(separator, batch, epoch=1).loss.shape
    torch.Size([3])
    """

    def forward(self, separator, batch, epoch):
        """See Objective."""
        sources = shuffle_sources(require_sources(batch, self))
        loss, _ = pit_loss(self.loss, separator(sources.sum(1)).sources, sources)
        return LossReport.of_all(loss)
