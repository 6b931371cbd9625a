"""What a training leaves behind: learning curve, checkpoints, results."""

import csv
import json
import logging
import math
import os
import shutil
import sys
import time

import speechbrain as sb
from speechbrain.utils.distributed import run_on_main

from sb_ext.atomic import write_json, write_text
from sb_ext.evaluation.test_sets import FOLDER as TEST_SETS

logger = logging.getLogger(__name__)


class Recorder:
    """Writes ``curve.csv``, checkpoints and ``test_summary.json`` as the stages end.

    Arguments
    ---------
    folder : str
        The experiment's output folder.
    checkpointer : speechbrain.utils.checkpoints.Checkpointer
    epoch_counter : sb_ext.early_stopping.EarlyStopping
    select_by : str
        The validation figure by which checkpoints are chosen; larger is better, not a number is worst.
    scheduler : object, optional
        One of SpeechBrain's schedulers that are called with (optimizer, epoch, loss).
    train_logger : object, optional
        One of SpeechBrain's train loggers, such as TensorboardLogger.
    """

    def __init__(self, folder, checkpointer, epoch_counter, select_by, scheduler=None, train_logger=None):
        self.folder, self.checkpointer, self.epoch_counter = folder, checkpointer, epoch_counter
        self.select_by, self.scheduler, self.train_logger = select_by, scheduler, train_logger
        self.curve = os.path.join(folder, "curve.csv")
        self.test_set = None
        """The further test set that is being measured; None for the recipe's own."""

    def stage_ended(self, brain, stage, stats, epoch):
        """Record a validation or a test of ``brain``."""
        if stage == sb.Stage.TEST:
            self._test_ended(brain, stats)
            return
        figure = self._figure(stats)
        brain.hparams.objective.on_validation(stats, epoch)
        if self.scheduler is not None:
            _, rate = self.scheduler([brain.optimizer], epoch, -figure)
            sb.nnet.schedulers.update_learning_rate(brain.optimizer, rate)
        self.epoch_counter.update_metric(figure)
        row = self._row(brain, stats, epoch)
        run_on_main(self._append, args=[row])
        for hook in brain.hooks:
            run_on_main(hook.recorded, args=[row])
        # Plain floats only: other numbers are saved, and then fail when a checkpoint is recovered.
        self.checkpointer.save_and_keep_only(
            meta={self.select_by: float(figure), "epoch": epoch},
            max_keys=[self.select_by],
            importance_keys=[],
            verbosity=logging.DEBUG,
        )

    def tidy(self):
        """Keep the best and the latest checkpoint only, as after each epoch; for a run that was killed just before."""
        self.checkpointer.delete_checkpoints(max_keys=[self.select_by], verbosity=logging.DEBUG)

    def _figure(self, stats):
        if self.select_by not in stats:
            raise ValueError(
                f"select_by: validation gives {sorted(stats)}, and no {self.select_by!r}; "
                "choose one of these, or add the evaluation that measures it"
            )
        # Not a number is neither above nor below any other: a list of checkpoints with one among them is in no order.
        return float("-inf") if math.isnan(stats[self.select_by]) else stats[self.select_by]

    def _row(self, brain, stats, epoch):
        train = dict(brain.train_stats)
        seconds = train.pop("seconds")
        row = {"epoch": epoch, "steps": brain.optimizer_step, "seconds": round(seconds + stats["seconds"], 2)}
        row["train_seconds"] = round(seconds, 2)
        row |= {f"train_{name}": value for name, value in train.items()}
        return row | {f"valid_{name}": value for name, value in stats.items() if isinstance(value, (int, float))}

    def _append(self, row):
        """Rows of epochs that are trained again after a restart are replaced."""
        rows = [old for old in read_curve(self.curve) if int(old["epoch"]) < row["epoch"]]
        # The file counts seconds from the first epoch on, over all restarts.
        row["seconds"] += float(rows[-1]["seconds"]) if rows else 0.0
        rows.append(row)
        names = list(dict.fromkeys(name for one in rows for name in one))
        write_text(self.curve, csv_text(names, rows))
        shown = {name: value for name, value in row.items() if value not in ("", 0, 0.0)}
        logger.info(" ".join(f"{name}={_short(value)}" for name, value in shown.items()))
        if self.train_logger is not None:
            self._log(row)

    def _log(self, row):
        """Hand a row to SpeechBrain's logger, which would count the epochs from one again after a restart."""
        parts = {"train": {}, "valid": {}}
        for name, value in row.items():
            part, _, figure = name.partition("_")
            parts.get(part, {})[figure] = value
        tensorboard = hasattr(self.train_logger, "global_step")
        if tensorboard:
            before = row["epoch"] - 1
            self.train_logger.global_step = {name: dict.fromkeys(part, before) for name, part in parts.items()}
            self.train_logger.global_step["meta"] = before
        meta = {name: row[name] for name in ("epoch", "steps", "seconds")}
        self.train_logger.log_stats(meta, train_stats=parts["train"], valid_stats=parts["valid"])
        if tensorboard:
            self.train_logger.writer.flush()

    def _test_ended(self, brain, stats):
        rows = read_curve(self.curve)
        metrics = stats.pop("metrics", {})
        summary = {"metrics": metrics, "stats": stats, "device": str(brain.device)}
        summary["steps"] = int(rows[-1]["steps"]) if rows else 0
        summary["seconds"] = float(rows[-1]["seconds"]) if rows else 0.0
        summary["finished"] = time.strftime("%Y-%m-%d %H:%M:%S")
        place = [TEST_SETS, self.test_set] if self.test_set else []
        run_on_main(write_json, args=[os.path.join(self.folder, *place, "test_summary.json"), summary])
        parts = [
            f"{name}={value['mean']:.2f}+-{value['std']:.2f}" for name, value in metrics.items() if value.get("count")
        ]
        figures = [f"{name}={_short(value)}" for name, value in stats.items() if isinstance(value, float)]
        logger.info("%s: %s", self.test_set or "test", " ".join(parts + figures))


def record_start(folder, config, recipe):
    """Write the command line, the resolved recipe and its plain values beside the results."""
    command = " ".join(["python", *sys.argv])
    write_text(os.path.join(folder, "command.txt"), command + "\n")
    write_text(os.path.join(folder, "hyperparams.yaml"), recipe)
    write_text(os.path.join(folder, "config.json"), json.dumps(plain(config), indent=1) + "\n")
    if os.path.isfile(sys.argv[0]):
        shutil.copy(sys.argv[0], folder)


def plain(value):
    """What of a nested configuration is plain text and numbers.

    Example
    -------
    >>> plain({"seed": 1, "model": object(), "data": {"rate": 8000}})
    {'seed': 1, 'data': {'rate': 8000}}
    """
    if isinstance(value, dict):
        pairs = ((str(key), plain(item)) for key, item in value.items())
        return {key: item for key, item in pairs if item is not None and item != {}}
    if isinstance(value, (list, tuple)):
        items = [plain(item) for item in value]
        return items if all(item is not None for item in items) else None
    return value if isinstance(value, (str, int, float, bool)) else None


def read_curve(path):
    """The rows of a learning curve as dicts of text, none where there is no file."""
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def csv_text(names, rows):
    """A table of numbers and words: ``rows`` are dicts, of which the columns ``names`` are written.

    Example
    -------
    >>> csv_text(["epoch", "loss"], [{"epoch": 1, "rate": 0.1}])
    'epoch,loss\\n1,\\n'
    """
    lines = [",".join(names)]
    lines += [",".join(str(row.get(name, "")) for name in names) for row in rows]
    return "\n".join(lines) + "\n"


def _short(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)
