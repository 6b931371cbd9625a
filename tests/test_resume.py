"""Trainings that are killed end where they would have ended."""

import itertools
import multiprocessing
import os
import runpy
import signal
import time
from pathlib import Path

import pytest
import speechbrain as sb
import torch
from speechbrain.utils.checkpoints import Checkpointer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sb_ext.brain import SeparationBrain
from sb_ext.checkpointer import AtomicCheckpointer
from sb_ext.data.recipes import prepare_librimix
from sb_ext.evaluation.metrics import begin_worker
from sb_ext.experiment import run
from sb_ext.recorder import read_curve

ROOT = Path(__file__).resolve().parents[1]
ENDURANCE = runpy.run_path(str(ROOT / "benchmarks" / "endurance.py"))
RECIPE = ROOT / "recipes" / "LibriMix" / "hparams" / "mixcycle.yaml"


def in_child(action):
    """The exit status of a forked process that does ``action()`` and nothing else."""
    child = os.fork()
    if child == 0:
        action()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_before(number, folder):
    """End this process before the given change of what is in a folder."""
    changes = itertools.count(1)
    ENDURANCE["before_each_change"](folder, lambda: next(changes) == number and os.kill(os.getpid(), signal.SIGKILL))


@pytest.mark.parametrize("kind, always_whole", [(AtomicCheckpointer, True), (Checkpointer, False)])
def test_a_checkpoint_is_whole_whenever_the_program_is_killed(kind, always_whole, tmp_path):
    """Before each of the operations that save one and delete another; SpeechBrain's own leaves halves."""
    model, state, broken = torch.nn.Linear(2, 2), torch.nn.Linear(3, 3), []
    for number in range(1, 100):
        checkpointer = kind(tmp_path / f"{number}", {"model": model, "state": state})
        checkpointer.save_checkpoint(name="old")

        def save(checkpointer=checkpointer, number=number):
            die_before(number, checkpointer.checkpoints_dir)
            checkpointer.save_and_keep_only(name="new")

        status = in_child(save)
        try:
            checkpointer.recover_if_possible()
            for found in checkpointer.list_checkpoints():
                checkpointer.load_checkpoint(found)
        except Exception as error:  # whatever a half checkpoint leads to
            broken.append(error)
        if status == 0:
            break
    assert number > 8 and (not broken) == always_whole
    assert [path.name for path in checkpointer.checkpoints_dir.iterdir()] == ["CKPT+new"]


def test_what_a_killed_run_left_goes_with_the_next_checkpoint(tmp_path):
    checkpointer = AtomicCheckpointer(tmp_path, {"model": torch.nn.Linear(2, 2)})
    (tmp_path / ".CKPT+half").mkdir()
    (tmp_path / ".CKPT+half" / "model.ckpt").write_text("half")
    assert checkpointer.list_checkpoints() == []
    checkpointer.save_and_keep_only(name="new")
    assert [path.name for path in tmp_path.iterdir()] == ["CKPT+new"]


def test_a_worker_of_the_metrics_ends_with_a_killed_main_process():
    """It waited for ever for the next mixture, holding half a gigabyte."""
    reader, writer = os.pipe()

    def main_process():
        worker = multiprocessing.get_context("fork").Process(target=lambda: begin_worker() or signal.pause())
        worker.start()
        os.write(writer, f"{worker.pid}".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(main_process) == -signal.SIGKILL
    worker, until = int(os.read(reader, 20)), time.monotonic() + 10
    while runs(worker) and time.monotonic() < until:
        time.sleep(0.01)
    assert not runs(worker)


def runs(process):
    """Whether a process is there, and not only its exit status."""
    command = Path(f"/proc/{process}/cmdline")
    return command.exists() and command.read_bytes() != b""


@pytest.mark.slow
def test_trainings_that_are_killed_at_random_end_where_one_ends_that_is_not(corpora, tmp_path):
    assert ENDURANCE["main"](["--runs", "1", "--kills", "5", "--folder", str(tmp_path), "--num_epochs", "3"]) == 0


def train(folder, *words):
    """Run the benchmark's recipe in this process."""
    run(ENDURANCE["command"](RECIPE, words, folder), prepare_librimix)
    return ENDURANCE["result"](folder)


def in_validation(brain, stage, epoch=None):
    return (stage, epoch) == (sb.Stage.VALID, 2)


def among_the_batches_of_a_step(brain, *_):
    return (brain.epoch, brain.step) == (2, 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words, method, moment",
    [
        # Killed in the validation of an epoch that the step limit had ended early: that epoch was lost.
        (["--optimizer_step_limit", "5"], "on_stage_start", in_validation),
        # A checkpoint between the batches of one step: their gradients were lost.
        (["--grad_accumulation_factor", "2", "--num_epochs", "2"], "on_fit_batch_end", among_the_batches_of_a_step),
    ],
)
def test_a_training_that_was_killed_goes_on_as_if_nothing_had_been(
    words, method, moment, corpora, tmp_path, monkeypatch
):
    expected, inherited = train(tmp_path / "whole", *words), getattr(SeparationBrain, method)

    def killed(brain, *arguments):
        if moment(brain, *arguments):
            raise KeyboardInterrupt
        return inherited(brain, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SeparationBrain, method, killed)
        train(tmp_path / "parts", *words)
    found = train(tmp_path / "parts", *words)
    assert found.keys() == expected.keys()
    assert [name for name in expected if not ENDURANCE["equal"](expected[name], found[name])] == []


@pytest.mark.slow
def test_tensorboard_shows_each_epoch_once_at_its_number(corpora, tmp_path):
    """One line of the recipe; after a restart SpeechBrain's logger alone would count from one again."""
    logger = "!new:speechbrain.utils.train_logger.TensorboardLogger {save_dir: !ref <output_folder>/tensorboard}"
    for epochs in ("2", "3"):
        train(tmp_path, "--num_epochs", epochs, "--train_logger", logger)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    rows = read_curve(tmp_path / "curve.csv")
    for tag in ("loss/train", "learning_rate/train", "si_snri/valid", "guarded_self_evaluation/valid"):
        column = "_".join(reversed(tag.split("/")))
        shown = [(event.step, event.value) for event in events.Scalars(tag)]
        assert shown == [(int(row["epoch"]), pytest.approx(float(row[column]))) for row in rows], tag


@pytest.mark.slow
def test_a_training_that_was_stopped_early_stays_stopped(corpora, tmp_path):
    """SpeechBrain's own counter forgot that it had stopped."""
    words = ["--patience", "1", "--select_by", "plausible", "--num_epochs", "6"]
    stopped = train(tmp_path, *words)
    assert [row["valid_plausible"] for row in read_curve(tmp_path / "curve.csv")] == ["0.0", "0.0"]
    assert ENDURANCE["equal"](train(tmp_path, *words), stopped)
