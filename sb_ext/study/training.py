"""Train one row in a process of its own, and take it up again where it was stopped."""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from sb_ext.atomic import write_text
from sb_ext.recorder import read_curve
from sb_ext.study.command_line import training_folder, words
from sb_ext.study.commit import current_commit

LOG = "study.log"
NOTE = "study.json"
POLL = 1.0
# The checkpoint is saved right after the line of the curve that says how long it took.
GRACE = 2.0


class RowFailed(RuntimeError):
    """A row that could not be trained; the message says why."""


class Stopped(RuntimeError):
    """The study was told to end."""


@dataclass
class Place:
    """Where and how rows are trained: the repository's root, the training folders, threads a process."""

    root: str
    runs: str
    threads: int = 1
    stop: threading.Event = field(default_factory=threading.Event)


def train(row, place):
    """Train and test a row unless its folder holds a finished training.

    Arguments
    ---------
    row : Row
    place : Place

    Returns
    -------
    Path
        The training folder, with ``test_summary.json`` in it.

    Raises
    ------
    RowFailed
        With the end of the training's log.
    Stopped
        When ``place.stop`` is set meanwhile.
    """
    folder = Path(place.root, training_folder(row, place.runs))
    for needed in row.needs.values():
        if not is_finished(Path(place.root, training_folder(needed, place.runs))):
            raise RowFailed(f"needs the training folder of {needed.id}, which is not on this machine; train that first")
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder) as lock:
        if not is_finished(folder):
            _note(folder, place.root)
            _train(row, place, folder, lock)
    return folder


def is_finished(folder):
    """Whether a training folder holds the results of its test."""
    return Path(folder, "test_summary.json").is_file()


def progress(folder):
    """``(steps, seconds)`` of a training so far, over all restarts."""
    rows = read_curve(str(Path(folder, "curve.csv")))
    return (int(rows[-1]["steps"]), float(rows[-1]["seconds"])) if rows else (0, 0.0)


def read_note(folder):
    """What was noted when the training began: the commits that it ran under."""
    path = Path(folder, NOTE)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"commits": []}


def _note(folder, root):
    commits = read_note(folder)["commits"]
    commit = current_commit(root)
    write_text(folder / NOTE, json.dumps({"commits": commits if commit in commits else [*commits, commit]}) + "\n")


@contextlib.contextmanager
def _alone_in(folder):
    """A lock that the training inherits: where the study alone is killed, a second one does not train beside it."""
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RowFailed(f"{folder}: another process is training there; wait for it, or end it") from None
        yield lock


def _train(row, place, folder, lock):
    def time_is_up():
        return row.minutes is not None and progress(folder)[1] >= 60 * row.minutes

    def enough():
        # A recipe that is started again after its last step would add an empty epoch.
        return time_is_up() or (row.steps is not None and progress(folder)[0] >= row.steps)

    line = words(row, place.root, place.runs)
    if not enough():
        _process(line, row, place, folder, lock, time_is_up)
    if not is_finished(folder) and enough() and row.program.tests_apart:
        _process([*line, "--test_only"], row, place, folder, lock, lambda: False)
    if not is_finished(folder):
        raise RowFailed(f"{folder}: the training ended and left no test_summary.json\n{_tail(folder)}")


def _process(line, row, place, folder, lock, time_is_up):
    """Run the recipe until it ends, or until its time is up."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(place.threads)}
    with open(folder / LOG, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, *line],
            cwd=row.program.folder(place.root),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[lock.fileno()],
        )
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(POLL)
                break
            if place.stop.is_set():
                raise Stopped(f"{row.id}: stopped")
            if time_is_up():
                time.sleep(GRACE)
                return
    finally:
        _end(process)
    if status:
        raise RowFailed(f"exit status {status}; the end of {folder / LOG}:\n{_tail(folder)}")


def _end(process):
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(folder, lines=15):
    path = folder / LOG
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
