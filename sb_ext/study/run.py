"""Run the rows that have no record yet, several at a time."""

import fnmatch
import os
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from tqdm import tqdm

from sb_ext.study.checks import StudyError
from sb_ext.study.command_line import training_folder
from sb_ext.study.record import collect, read_records, state, write_record
from sb_ext.study.row import is_folder
from sb_ext.study.training import Stopped, is_finished, progress, train

REFRESH = 5.0


def select(rows, patterns):
    """The rows whose name or id matches one of the patterns, with those that they need; all without a pattern.

    Raises
    ------
    StudyError
        For a pattern that matches nothing.
    """
    if not patterns:
        return list(rows)
    chosen = set()
    for pattern in patterns:
        matching = [row for row in rows if fnmatch.fnmatch(row.name, pattern) or fnmatch.fnmatch(row.id, pattern)]
        if not matching:
            raise StudyError(f"--only {pattern}: no such row (known: {', '.join(dict.fromkeys(r.name for r in rows))})")
        for row in matching:
            chosen |= _with_needed(row)
    return [row for row in rows if row.id in chosen]


def _with_needed(row):
    return {row.id}.union(*map(_with_needed, row.needs.values()))


def plan(rows, records, place, again):
    """Which rows to run, and a notice for each that is passed over.

    A row with a record is trained again where one that is to run starts from it and its training folder is not here.

    Arguments
    ---------
    rows : list of Row
    records : dict
        From read_records.
    place : Place
    again : bool
        Whether to run rows whose configuration has changed since their record was written.

    Returns
    -------
    todo : list of Row
    notices : list of str
    """
    todo, notices = {}, []
    # Those that are needed come first in rows, so that from behind it is known of each whether it is.
    for row in reversed(rows):
        absent = absent_folder(row, place.root)
        condition = state(row, records)
        needed = any(row in other.needs.values() for other in todo.values())
        if condition == "done" and (not needed or is_finished(Path(place.root, training_folder(row, place.runs)))):
            continue
        if absent:
            notices.append(f"{row.id}: skipped, the corpus {row.corpus.name!r} is not here: {absent}")
        elif condition == "changed" and not again:
            notices.append(f"{row.id}: its configuration has changed since its record was written; --again runs it")
        else:
            todo[row.id] = row
    return list(todo.values())[::-1], notices[::-1]


def absent_folder(row, root):
    """The first folder of the row's corpus that does not exist, or None."""
    folders = (value for key, value in row.corpus.settings.items() if is_folder(key) and value)
    return next((folder for folder in folders if not Path(root, folder).is_dir()), None)


def run(rows, place, results, workers=1, again=False):
    """Run rows, report each as it ends, and write its record.

    Arguments
    ---------
    rows : list of Row
        In an order in which those that are needed come first, as read_rows gives them.
    place : Place
    results : path
        The folder of the records; it is made where there is none.
    workers : int
        Trainings at a time.
    again : bool

    Returns
    -------
    int
        How many rows failed.
    """
    todo, notices = plan(rows, read_records(results), place, again)
    for notice in notices:
        tqdm.write(notice)
    tqdm.write(f"{len(todo)} of {len(rows)} rows to run, {workers} at a time, {place.threads} threads each")
    if not todo:
        return 0
    waiting, pending, failed = list(todo), {}, 0
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(todo), unit="row") as bar:
        try:
            while waiting or pending:
                # A row that needs an unfinished one must not hold a worker: others can go first.
                unfinished = {row.id for row in [*waiting, *pending.values()]}
                ready = [row for row in waiting if not unfinished & {needed.id for needed in row.needs.values()}]
                for row in ready[: workers - len(pending)]:
                    waiting.remove(row)
                    pending[pool.submit(_one, row, place, results)] = row
                done, _ = wait(pending, REFRESH, FIRST_COMPLETED)
                for future in done:
                    failed += _report(pending.pop(future), future)
                    bar.update()
                bar.set_postfix_str(_standing(pending, place))
        finally:
            # After Ctrl-C the trainings end as well; the next run takes them up where they were.
            place.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
    return failed


def _one(row, place, results):
    if place.stop.is_set():
        raise Stopped(f"{row.id}: stopped")
    record = collect(row, train(row, place), place.root, place.threads)
    if state(row, read_records(results)) != "done":
        write_record(record, results)
    return record


def _report(row, future):
    """Say how a row ended; 1 where it failed."""
    try:
        record = future.result()
    except Exception as error:
        # Whatever went wrong with one row is no reason to give up the others.
        tqdm.write(f"{row.id}: FAILED: {type(error).__name__}: {error}")
        return 1
    figures = {name: record["figures"][name] for name in ("si_snri", "self_evaluation")}
    shown = ", ".join(f"{name} {value:.2f} dB" for name, value in figures.items() if value is not None)
    tqdm.write(f"{row.id}: {shown or 'no figures'}; {record['steps']} steps, {record['minutes']:.1f} minutes")
    return 0


def _standing(pending, place):
    """The trainings under way, with their steps."""
    words = []
    for future, row in pending.items():
        if future.running():
            steps = progress(Path(place.root, training_folder(row, place.runs)))[0]
            words.append(f"{row.id} {steps}" + (f"/{row.steps}" if row.steps else ""))
    return ", ".join(words)


def cores():
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
