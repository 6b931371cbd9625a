"""What is kept of a training whose validation figure goes up, down, and missing."""

import math
from types import SimpleNamespace

import pytest
import speechbrain as sb
import torch

from sb_ext.checkpointer import AtomicCheckpointer
from sb_ext.early_stopping import EarlyStopping
from sb_ext.recorder import Recorder, read_curve

NAN = math.nan


@pytest.mark.parametrize(
    "figures, best", [([1.0, NAN, 2.0, NAN, 1.5], 3), ([NAN, -30.0, NAN], 2), ([3.0, NAN], 1), ([NAN, 3.0], 2)]
)
def test_a_figure_that_is_no_number_is_the_worst(figures, best, tmp_path):
    """It is neither above nor below any other, so that checkpoints sorted by it are in no order."""
    checkpointer = AtomicCheckpointer(tmp_path / "save", {"separator": torch.nn.Linear(1, 1)})
    counter = EarlyStopping(len(figures))
    recorder = Recorder(tmp_path, checkpointer, counter, "si_snri")
    objective = SimpleNamespace(on_validation=lambda stats, epoch: None)
    brain = SimpleNamespace(hparams=SimpleNamespace(objective=objective), hooks=[], optimizer_step=1)
    for epoch, figure in zip(counter, figures, strict=True):
        brain.train_stats = {"loss": 0.0, "seconds": 1.0}
        recorder.stage_ended(brain, sb.Stage.VALID, {"si_snri": figure, "seconds": 0.1}, epoch)
    assert checkpointer.find_checkpoint(max_key="si_snri").meta["epoch"] == best == counter.best_epoch
    shown = [float(row["valid_si_snri"]) for row in read_curve(recorder.curve)]
    assert shown == pytest.approx(figures, nan_ok=True)
