"""Recursive one-and-rest separation: one source at a time, for any number of them (Takahashi et al. 2019)."""

import torch

from sb_ext.contracts import Separation, Separator
from sb_ext.losses import NegSISDR


class OneAndRest(Separator):
    """A separator of two outputs splits one source and the rest, and the rest again, until it is a single source.

    How many sources there are is given, or found by the threshold, up to ``max_sources``. What is split off and what
    is left are not brought to the mixture's level: a separator that does not care for levels must be trained so.

    Arguments
    ---------
    separator : Separator
        With two outputs, trained with sb_ext.objectives.OneAndRest: one source, then all others.
    threshold : float
        In dB, below 0. An input is a single source where one output of its split explains it so well that what is
        left, once that output at its best level is taken out, is this far below it. Higher finds fewer sources.
    max_sources : int
        How many are found at most where their number is not given.

    Example
    -------
    >>> from sb_ext.filterbanks import LearnedFilterbank
    >>> from sb_ext.networks import TemporalConvNet
    >>> from sb_ext.separators import Masking
    >>> network = TemporalConvNet(32, 2, 8, 16, num_layers=1, num_stacks=1)
    >>> separator = OneAndRest(Masking(LearnedFilterbank(32), network))
    >>> separator(torch.randn(3, 500), num_sources=4).sources.shape
    torch.Size([3, 4, 500])
    """

    chooses_count = True

    def __init__(self, separator, threshold=-15.0, max_sources=5):
        super().__init__()
        if not threshold < 0:
            raise ValueError(f"threshold: expected dB below 0, received {threshold}")
        if max_sources < 1:
            raise ValueError(f"max_sources: expected at least 1, received {max_sources}")
        self.separator, self.threshold, self.max_sources = separator, threshold, max_sources
        self.explained = NegSISDR()

    def forward(self, mixture, *, oracle=None, num_sources=None, layers=False):
        """See Separator. Without ``num_sources`` as many as the item with the most has; the others' are then silent.

        ``num_sources`` may be above ``max_sources``; 2 gives the two outputs of the separator as they are.
        """
        if num_sources is None:
            return Separation(self._counted(mixture))
        if num_sources < 1:
            raise ValueError(f"num_sources: expected at least 1, received {num_sources}")
        found, rest = [], mixture
        for _ in range(num_sources - 1):
            one, rest = self._split(rest)
            found.append(one)
        return Separation(torch.stack([*found, rest], 1))

    def count(self, mixture):
        """See Separator; a silent mixture has one."""
        return self._counted(mixture).any(-1).sum(1).clamp_min(1)

    def _split(self, rest):
        """``[B, T]`` to one source and all others, ``[B, T]`` each."""
        return self.separator(rest, num_sources=2).sources.unbind(1)

    def _counted(self, mixture):
        """Sources ``[B, C, T]`` of ``mixture [B, T]``, each item with as many as the threshold says."""
        found, rest = [], mixture
        going = mixture.any(-1, keepdim=True)
        while going.any() and len(found) < self.max_sources - 1:
            parts = self._split(rest)
            going = going & ~self._is_single(rest, torch.stack(parts, 1))
            # A single source stays as it was before it was split, and silence follows it.
            found.append(torch.where(going, parts[0], rest))
            rest = torch.where(going, parts[1], 0)
        if going.any() or not found:
            found.append(rest)
        return torch.stack(found, 1)

    def _is_single(self, rest, parts):
        """``[B, 1]``: whether one of ``parts [B, 2, T]`` alone explains ``rest [B, T]``."""
        return (self.explained(rest.unsqueeze(1), parts) < self.threshold).any(-1, keepdim=True)
