"""When MixCycle's warm-up ends."""

from torch import nn


class AfterEpochs(nn.Module):
    """After a fixed number of epochs, as in the paper: 50 on all of LibriMix train-360, 250 on 5 % of it.

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
