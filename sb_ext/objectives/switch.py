"""When MixCycle's warm-up ends."""

import torch
from torch import nn


class AfterEpochs(nn.Module):
    """After a fixed number of epochs, as in the paper: 50 on all of LibriMix train-360, 250 on 5 % of it.

    Arguments
    ---------
    epochs : int

    Example
    -------
    >>> [AfterEpochs(2).is_over(epoch) for epoch in (1, 2, 3)]
    [False, False, True]
    """

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def is_over(self, epoch):
        """Whether the cycle trains in ``epoch``, counted from 1."""
        return epoch > self.epochs

    def on_validation(self, stats, epoch):
        """Nothing to learn from validation."""


class WhenSound(nn.Module):
    """When a validation figure has reached a level, and back to the warm-up when it falls below another.

    The figure should be one that the cycle cannot fool: the same-index self-evaluation, which needs no references. The
    state is checkpointed.

    Arguments
    ---------
    level : float
        The cycle begins after an epoch with at least this figure.
    fallback : float
        Below it, the warm-up trains again until ``level`` is reached once more.
    figure : str
        A figure of the validation: guarded_self_evaluation, in dB.

    Example
    -------
    >>> switch = WhenSound(level=2.0, fallback=1.0)
    >>> over = []
    >>> for epoch, figure in enumerate([1.5, 2.1, 1.2, 0.3], start=1):
    ...     switch.on_validation({"guarded_self_evaluation": figure}, epoch)
    ...     over.append(switch.is_over(epoch + 1))
    >>> over
    [False, True, True, False]
    """

    def __init__(self, level=2.0, fallback=1.0, figure="guarded_self_evaluation"):
        super().__init__()
        if fallback > level:
            raise ValueError(f"fallback: expected at most level, {level}, received {fallback}")
        self.level, self.fallback, self.figure = level, fallback, figure
        self.register_buffer("over", torch.tensor(False))

    def is_over(self, epoch):
        """Whether the cycle trains in ``epoch``."""
        return bool(self.over)

    def on_validation(self, stats, epoch):
        """Compare the figure with the level that counts now; KeyError where validation does not measure it."""
        if self.figure not in stats:
            raise KeyError(
                f"WhenSound.figure: validation gives {sorted(stats)}, and no {self.figure!r}; "
                "add evaluation[self_evaluation_while_training] to evaluations"
            )
        self.over.fill_(stats[self.figure] >= (self.fallback if self.over else self.level))
