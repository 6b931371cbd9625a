"""How PIT's estimates are given to targets: exactly, or softly over all permutations."""

from torch import nn

from sb_ext.assignment import reorder
from sb_ext.soft_assignment import sinkhorn, soft_minimum


class ExactAssignment(nn.Module):
    """The best permutation alone (Kolbaek et al. 2017)."""

    def forward(self, loss, estimates, targets, permutation, epoch):
        """The loss ``[B]`` of ``estimates [B, E, T]`` beside ``targets [B, C, T]``, their best order given."""
        return loss(reorder(estimates, permutation), targets).mean(-1)


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


class SinkhornAssignment(nn.Module):
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

    def forward(self, loss, estimates, targets, permutation, epoch):
        """As ExactAssignment's; as many estimates as targets."""
        return sinkhorn(loss.pairwise(estimates, targets), self.beta(epoch), self.iterations)[0]


class SoftMinimumAssignment(nn.Module):
    """Every permutation takes part, the better the more (ProbPIT; Yousefi et al. 2019).

    Arguments
    ---------
    gamma : float
        Temperature, in dB for the SNR family; towards zero it is PIT.
    """

    def __init__(self, gamma=1.0):
        super().__init__()
        self.gamma = gamma

    def forward(self, loss, estimates, targets, permutation, epoch):
        """As ExactAssignment's."""
        return soft_minimum(loss.pairwise(estimates, targets), self.gamma)
