"""Folders that are built whole or not at all, by a few threads, under a progress bar."""

import json
import os
import shutil
import socket
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

MARKER = "made_with.json"
"""A finished folder holds this file, with the settings that made it."""


def build_once(folder, settings, build):
    """Build a folder unless it is there already, made with the same settings.

    Everything is written into a hidden folder beside it, which gets its name last: a killed run leaves nothing that
    looks complete, and what it leaves is removed by the next run.

    Arguments
    ---------
    folder : str or Path
        The folder to have; its parents are made.
    settings : dict
        What the contents depend on, in JSON's types; kept in :data:`MARKER`.
    build : callable
        Called with the Path of an empty folder to fill.

    Returns
    -------
    folder : Path
        The finished folder.

    Raises
    ------
    FileExistsError
        Where the folder was made with other settings, or not by this function at all.

    Example
    -------
    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "corpus"
    >>> build_once(place, {"seed": 0}, lambda folder: (folder / "a.txt").write_text("a")) == place
    True
    >>> sorted(path.name for path in place.iterdir())
    ['a.txt', 'made_with.json']
    """
    folder = Path(folder).expanduser().absolute()
    if is_built(folder, settings):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    partial = folder.with_name(f".{folder.name}.partial-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}")
    partial.mkdir()
    try:
        build(partial)
        (partial / MARKER).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        _give_name(partial, folder, settings)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def is_built(folder, settings):
    """Whether a folder is there and was made with these settings; other contents are an error.

    Raises
    ------
    FileExistsError
        Where the folder holds something else.

    Example
    -------
    >>> is_built("no/such/folder", {"seed": 0})
    False
    """
    folder = Path(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise FileExistsError(
            f"{folder} exists and has no readable {MARKER}: it was not made here. Choose another folder, or remove it"
        ) from None
    wanted = json.loads(json.dumps(settings))
    if found != wanted:
        keys = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
        differences = "; ".join(f"{key}: {found.get(key)!r} there, {wanted.get(key)!r} asked for" for key in keys)
        raise FileExistsError(
            f"{folder} was made with other settings ({differences}). Choose another folder, or remove this one"
        )
    return True


def in_threads(function, jobs, workers, description):
    """Call a function on every job, in threads, and return the results in the order of the jobs.

    Threads suffice: decoding, filtering and writing release Python's lock.

    Example
    -------
    >>> in_threads(abs, [-1, 2, -3], workers=2, description=None)
    [1, 2, 3]
    """
    jobs = list(jobs)
    workers = min(2, os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers={workers!r} must be at least 1, or None for two")
    pool = ThreadPoolExecutor(workers)
    try:
        bar = tqdm(total=len(jobs), desc=description, disable=description is None, leave=False)
        with bar:
            results = []
            for result in pool.map(function, jobs):
                results.append(result)
                bar.update()
        return results
    finally:
        # After an error, or Ctrl-C, what has not begun should not begin.
        pool.shutdown(cancel_futures=True)


def _give_name(partial, folder, settings):
    try:
        partial.rename(folder)
    except OSError:
        # Another process may have finished the same folder in the meantime; then it is as good as this one.
        if not is_built(folder, settings):
            raise


def _remove_leftovers(folder):
    """Remove what killed runs on this machine left beside the folder; live runs keep theirs."""
    for leftover in folder.parent.glob(f".{folder.name}.partial-{socket.gethostname()}-*"):
        process = int(leftover.name.split("-")[-2])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            shutil.rmtree(leftover, ignore_errors=True)
        except OSError:
            continue
