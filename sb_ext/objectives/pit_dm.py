"""Permutation-invariant training with dynamic mixing (PIT-DM; Zeghidour and Grangier 2021)."""

from sb_ext.mixing import shuffle_sources
from sb_ext.objectives.pit import PIT, require_sources


class PITDynamicMixing(PIT):
    """PIT on new mixtures every step: the sources of the batch are shuffled and summed anew.

    Arguments
    ---------
    loss : sb_ext.losses.NegSNR or alike
    assignment, layers, auxiliary : optional
        As PIT's. There is no ``memory``: a mixture never comes back.

    Raises
    ------
    ValueError
        If a ``memory`` is given.

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

    def __init__(self, loss, assignment=None, memory=None, layers=None, auxiliary=None):
        if memory is not None:
            raise ValueError(
                f"memory: {type(memory).__name__} remembers mixtures, and with dynamic mixing none comes back; "
                "train with sb_ext.objectives.PIT, or set memory to null"
            )
        super().__init__(loss, assignment, layers=layers, auxiliary=auxiliary)

    def forward(self, separator, batch, epoch):
        """See Objective."""
        sources = shuffle_sources(require_sources(batch, self))
        return self.compare(separator, sources.sum(1), sources, batch.ids, epoch)
