"""Learning rate schedules, called after each validation as SpeechBrain's own."""

import json

from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks
from torch import nn

from sb_ext.atomic import write_text


@register_checkpoint_hooks
class HalvingOnPlateau:
    """Halves the learning rate after so many epochs in a row without improvement, and sooner later in training.

    Arguments
    ---------
    patience : int
        Epochs without improvement, up to and including ``change_epoch``.
    late_patience : int
        The same afterwards.
    change_epoch : int
        Counted from 1.
    factor : float
        What the rate is multiplied with.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> schedule, optimizer = HalvingOnPlateau(patience=2), SimpleNamespace(param_groups=[{"lr": 0.1}])
    >>> [schedule([optimizer], epoch, loss) for epoch, loss in enumerate([5.0, 6.0, 5.5], start=1)]
    [(0.1, 0.1), (0.1, 0.1), (0.1, 0.05)]
    """

    def __init__(self, patience=10, late_patience=5, change_epoch=80, factor=0.5):
        self.patience, self.late_patience, self.change_epoch = patience, late_patience, change_epoch
        self.factor = factor
        self.best, self.waited = float("inf"), 0

    def __call__(self, optimizers, epoch, loss):
        """The learning rate of the epoch that ended and that of the next.

        Arguments
        ---------
        optimizers : list of torch.optim.Optimizer
            The first one's rate is read.
        epoch : int
            Counted from 1.
        loss : float
            Of the validation; smaller is better.

        Returns
        -------
        tuple of float
        """
        rate = optimizers[0].param_groups[0]["lr"]
        self.waited = 0 if loss < self.best else self.waited + 1
        self.best = min(self.best, loss)
        if self.waited < (self.patience if epoch <= self.change_epoch else self.late_patience):
            return rate, rate
        self.waited = 0
        return rate, rate * self.factor

    @mark_as_saver
    def save(self, path):
        """Write the best loss and how long ago it was."""
        write_text(path, json.dumps([self.best, self.waited]))

    @mark_as_loader
    def load(self, path, end_of_epoch):
        """Read what ``save`` wrote."""
        with open(path, encoding="utf-8") as file:
            self.best, self.waited = json.load(file)


class EpochSteps(nn.Module):
    """A learning rate that is divided by given numbers after given epochs.

    Arguments
    ---------
    learning_rate : float
        At first.
    divisors : dict
        Epoch to what ``learning_rate`` is divided by once that epoch is over.

    Example
    -------
    >>> schedule = EpochSteps(0.3, {2: 3, 4: 10})
    >>> [round(schedule([], epoch, 0.0)[1], 3) for epoch in range(1, 6)]
    [0.3, 0.1, 0.1, 0.03, 0.03]
    """

    def __init__(self, learning_rate, divisors):
        super().__init__()
        self.learning_rate, self.divisors = learning_rate, dict(divisors)

    def _after(self, epoch):
        passed = [number for number in self.divisors if number <= epoch]
        return self.learning_rate / (self.divisors[max(passed)] if passed else 1)

    def forward(self, optimizers, epoch, loss):
        """The learning rate of the epoch that ended, counted from 1, and that of the next."""
        return self._after(epoch - 1), self._after(epoch)
