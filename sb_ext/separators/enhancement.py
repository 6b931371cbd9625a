"""Better masks from masked magnitudes (DPCL++; Isik et al. 2016, section 3)."""

import torch
from torch import nn


class Enhancement(nn.Module):
    """A network that sees one masked magnitude beside the mixture's at a time; softmax over the sources.

    Arguments
    ---------
    network : nn.Module
        ``[B, 2 F, L]`` to a tuple that ends with ``[B, 1, F, L]``.

    Example
    -------
    >>> from sb_ext.networks import BLSTM
    >>> enhancement = Enhancement(BLSTM(66, 1, cells=4, num_bins=33))
    >>> masks = enhancement(torch.rand(2, 3, 33, 10), torch.rand(2, 33, 10))
    >>> masks.shape, torch.allclose(masks.sum(1), torch.ones(()))
    (torch.Size([2, 3, 33, 10]), True)
    """

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, masked, mixture):
        """``[B, C, F, L]`` and ``[B, F, L]`` to masks ``[B, C, F, L]`` that add up to one."""
        both = torch.cat([masked, mixture.unsqueeze(1).expand_as(masked)], 2).flatten(0, 1)
        return self.network(both)[-1].reshape(masked.shape).softmax(1)
