"""What earlier epochs say about a mixture's assignment: dynamic sample dropout, and assignments that are kept."""

import math

import torch
from torch import nn

from sb_ext.objectives.memory import MixtureMemory


class SampleDropout(nn.Module):
    """Dynamic sample dropout (DSD; Gao et al. 2023, section 3.1).

    The best figure of every mixture is remembered with the assignment that gave it. A mixture whose assignment has
    switched takes part only if its figure is relaxed better, ``M (1 + sgn(M) eps) > M_best`` (eq. 1).

    Arguments
    ---------
    relaxation : float
        eps; 0.1 in the paper, infinity is plain PIT.
    reorder : bool
        Whether mixtures that would be dropped are trained with their recorded assignment instead.

    Example
    -------
    >>> dropout = SampleDropout(relaxation=0.1)
    >>> [dropout(["a"], torch.tensor([[0, 1]]), torch.tensor([5.0]), 1)[0].item()]
    [True]
    >>> [dropout(["a"], torch.tensor([[1, 0]]), torch.tensor([figure]), 2)[0].item() for figure in (4.0, 4.7)]
    [False, True]
    """

    def __init__(self, relaxation=0.1, reorder=False):
        super().__init__()
        if not relaxation >= 0:
            raise ValueError(f"relaxation: expected 0 or more, .inf for plain PIT, received {relaxation}")
        self.relaxation, self.reorder = float(relaxation), reorder
        self.memory = MixtureMemory()

    def forward(self, ids, permutation, figure, epoch):
        """Decide what takes part, and remember it.

        Arguments
        ---------
        ids : list of str
        permutation : torch.Tensor
            ``[B, C]``, PIT's choice now.
        figure : torch.Tensor
            ``[B]``, in dB, larger is better.
        epoch : int

        Returns
        -------
        keep : torch.Tensor
            ``[B]``, bool, which mixtures take part.
        bound : torch.Tensor
            ``[B]``, bool, which of them must take ``order``.
        order : torch.Tensor
            ``[B, C]``, the recorded assignment, or PIT's where nothing binds.
        """
        figure = figure.detach().float()
        known, recorded, best = (part.to(permutation.device) for part in self.memory.look_up(ids, permutation.shape[1]))
        same = (recorded == permutation).all(-1)
        select = ~known | same | (self._relaxed(figure) > best)
        staying = known & (~select | (same & (figure <= best)))
        order = torch.where(select.unsqueeze(1), permutation, recorded)
        self.memory.record(ids, order, torch.where(staying, best, figure))
        if self.reorder:
            return torch.ones_like(select), ~select, order
        return select, torch.zeros_like(select), permutation

    def _relaxed(self, figure):
        """The left side of eq. 1."""
        if math.isinf(self.relaxation):
            return torch.full_like(figure, math.inf)
        return figure * (1 + figure.sign() * self.relaxation)


class KeptAssignment(nn.Module):
    """PIT for some epochs; after that every mixture keeps the assignment it then had (PIT-fix; Yang et al. 2020).

    Arguments
    ---------
    pit_epochs : int
        L in the paper, of 1 to 150.

    Example
    -------
    >>> kept = KeptAssignment(pit_epochs=1)
    >>> orders = torch.tensor([[[1, 0]], [[0, 1]]])
    >>> [kept(["a"], orders[epoch - 1], torch.zeros(1), epoch)[2].tolist() for epoch in (1, 2)]
    [[[1, 0]], [[1, 0]]]
    """

    def __init__(self, pit_epochs):
        super().__init__()
        if pit_epochs < 1:
            raise ValueError(f"pit_epochs: expected at least 1 epoch to choose assignments in, received {pit_epochs}")
        self.pit_epochs = pit_epochs
        self.memory = MixtureMemory()

    def forward(self, ids, permutation, figure, epoch):
        """As SampleDropout's; a mixture first met later keeps the assignment it has then."""
        known, recorded, _ = (part.to(permutation.device) for part in self.memory.look_up(ids, permutation.shape[1]))
        bound = known & (epoch > self.pit_epochs)
        order = torch.where(bound.unsqueeze(1), recorded, permutation)
        self.memory.record(ids, order, figure.detach())
        return torch.ones_like(bound), bound, order
