"""How PIT's estimates are given to targets: exactly, or softly over all permutations."""

from torch import nn

from sb_ext.assignment import best_permutation, pit_loss, reorder
from sb_ext.soft_assignment import sinkhorn, soft_minimum


class ExactAssignment(nn.Module):
    """The best permutation alone (Kolbaek et al. 2017)."""

    def forward(self, loss, estimates, targets, epoch):
        """Assign and measure.

        Arguments
        ---------
        loss : sb_ext.losses.NegSNR or alike
        estimates, targets : torch.Tensor
            ``[B, E, T]`` and ``[B, C, T]``.
        epoch : int
            Counted from 1.

        Returns
        -------
        loss : torch.Tensor
            ``[B]``, differentiable.
        permutation : torch.Tensor
            ``[B, C]``, the best one.
        matched : torch.Tensor
            ``[B]``, the loss under that permutation.
        """
        matched, permutation = pit_loss(loss, estimates, targets)
        return matched, permutation, matched


class SoftAssignment(nn.Module):
    """Over all pairs, as many estimates as targets; a subclass says in ``relax`` how the pairs make up the loss."""

    def forward(self, loss, estimates, targets, epoch):
        """As ExactAssignment's. The best pairs, which may match well, are measured exactly, the rest by products."""
        pairs = loss.from_products(estimates, targets)
        permutation = best_permutation(pairs)
        # The targets are moved, not the estimates: no gradient has to come back through them.
        target = permutation.argsort(-1)
        exact = loss(estimates, reorder(targets, target)).to(pairs.dtype)
        pairs = pairs.scatter(2, target.unsqueeze(2), exact.unsqueeze(2))
        return self.relax(pairs, epoch), permutation, exact.mean(-1)

    def relax(self, pairs, epoch):
        """``pairs [B, C, C]`` to the loss ``[B]``."""
        raise NotImplementedError


class InverseTemperature:
    """``min(initial * growth^(epoch - 1), maximum)``: Sinkhorn's beta, raised over the epochs.

    Arguments
    ---------
    initial, growth, maximum : float
        1, 1.02 and 10 in Asteroid's schedule.

    Example
    -------
    >>> beta = InverseTemperature()
    >>> [round(beta(epoch), 3) for epoch in (1, 2, 51, 200)]
    [1.0, 1.02, 2.692, 10.0]
    """

    def __init__(self, initial=1.0, growth=1.02, maximum=10.0):
        self.initial, self.growth, self.maximum = initial, growth, maximum

    def __call__(self, epoch):
        return min(self.initial * self.growth ** (epoch - 1), self.maximum)


class SinkhornAssignment(SoftAssignment):
    """A doubly stochastic plan in place of a permutation (SinkPIT; Tachibana 2021).

    Arguments
    ---------
    beta : callable, optional
        Epoch, from 1, to inverse temperature; InverseTemperature by default.
    iterations : int
        Of both normalisations; the paper's 200 half-steps.
    """

    def __init__(self, beta=None, iterations=100):
        super().__init__()
        self.beta, self.iterations = InverseTemperature() if beta is None else beta, iterations

    def relax(self, pairs, epoch):
        """See SoftAssignment."""
        return sinkhorn(pairs, self.beta(epoch), self.iterations)[0]


class SoftMinimumAssignment(SoftAssignment):
    """Every permutation takes part, the better the more (ProbPIT; Yousefi et al. 2019).

    Arguments
    ---------
    gamma : float
        Temperature, in dB for the SNR family; towards zero it is PIT.
    """

    def __init__(self, gamma=1.0):
        super().__init__()
        self.gamma = gamma

    def relax(self, pairs, epoch):
        """See SoftAssignment."""
        return soft_minimum(pairs, self.gamma)
