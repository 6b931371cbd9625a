"""How much each bin of the mixture counts when attractors are formed: ``[B, N]`` from magnitudes ``[B, N]``."""

import torch


def _never_nothing(weights):
    """Silence has no louder bins: there all count alike."""
    return torch.where(weights.sum(1, keepdim=True) > 0, weights, 1.0)


class MagnitudePower:
    """``e^p / sum e^p``: the magnitude (p = 1; SANet, eq. 2) or the energy (p = 2; k-means DANet, eq. 6).

    Example
    -------
    >>> MagnitudePower()(torch.tensor([[1.0, 3.0], [0.0, 0.0]])).tolist()
    [[0.25, 0.75], [0.5, 0.5]]
    """

    def __init__(self, power=1):
        self.power = power

    def __call__(self, magnitudes):
        weights = _never_nothing(magnitudes.pow(self.power))
        return weights / weights.sum(1, keepdim=True)


class LoudestBins:
    """One for the loudest bins, else zero (DANet: the 90 % most energetic ones).

    Example
    -------
    >>> LoudestBins(0.5)(torch.tensor([[4.0, 1.0, 3.0, 2.0]])).tolist()
    [[1.0, 0.0, 1.0, 0.0]]
    """

    def __init__(self, share=0.9):
        if not 0 < share <= 1:
            raise ValueError(f"share: expected more than 0 and at most 1, received {share}")
        self.share = share

    def __call__(self, magnitudes):
        quietest = max(1, round((1 - self.share) * magnitudes.shape[1]))
        if self.share == 1:
            return torch.ones_like(magnitudes)
        bound = magnitudes.kthvalue(quietest, dim=1, keepdim=True).values
        return _never_nothing((magnitudes > bound).to(magnitudes.dtype))


class AboveFloor:
    """One for bins no quieter than ``floor`` dB below the loudest, else zero (DPCL: 40 dB).

    Example
    -------
    >>> AboveFloor(40)(torch.tensor([[100.0, 2.0, 0.5]])).tolist()
    [[1.0, 1.0, 0.0]]
    """

    def __init__(self, floor=40.0):
        self.floor = floor

    def __call__(self, magnitudes):
        bound = magnitudes.amax(1, keepdim=True) * 10 ** (-self.floor / 20)
        return _never_nothing(((magnitudes > bound) & (magnitudes > 0)).to(magnitudes.dtype))
