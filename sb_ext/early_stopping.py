"""When a training has gone on for long enough."""

import logging
import math

import yaml
from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks
from speechbrain.utils.epoch_loop import EpochCounter

logger = logging.getLogger(__name__)


@register_checkpoint_hooks
class EarlyStopping(EpochCounter):
    """Counts epochs, and ends when a figure, larger is better, has not risen for a while.

    SpeechBrain's EpochCounterWithStopper (1.1.2) is not registered with its checkpointer, which saves the number of the
    epoch and no more: a training that had been stopped would go on when it is started again.

    Arguments
    ---------
    limit : int
        Epochs at most.
    patience : int or None
        Epochs without improvement before the end; None for no early end.

    Example
    -------
    >>> counter = EarlyStopping(limit=10, patience=2)
    >>> for epoch in counter:
    ...     counter.update_metric(min(epoch, 3))
    >>> epoch
    5
    """

    def __init__(self, limit, patience=None):
        super().__init__(limit)
        self.patience, self.best, self.best_epoch = patience, -math.inf, 0

    def __next__(self):
        """The next epoch's number."""
        without = self.current - self.best_epoch
        if self.patience is not None and without > 0 and without >= self.patience:
            logger.info("No improvement since epoch %d, for %d epochs: stopping", self.best_epoch, without)
            raise StopIteration
        return super().__next__()

    def update_metric(self, figure):
        """Hear the figure of an epoch."""
        if figure > self.best:
            self.best, self.best_epoch = figure, self.current

    @mark_as_saver
    def _save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump({"epoch": self.current, "best": self.best, "best_epoch": self.best_epoch}, file)

    @mark_as_loader
    def _recover(self, path, end_of_epoch=True):
        with open(path, encoding="utf-8") as file:
            state = yaml.safe_load(file)
        if isinstance(state, int):  # a checkpoint of SpeechBrain's own
            state = {"epoch": state, "best": -math.inf, "best_epoch": state}
        self.current = state["epoch"] if end_of_epoch else state["epoch"] - 1
        self.best, self.best_epoch = state["best"], state["best_epoch"]
