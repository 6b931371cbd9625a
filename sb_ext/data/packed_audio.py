"""The audio file of a pack: records of 16-bit values, written by one process or by several."""

import os
from concurrent.futures import ProcessPoolExecutor, as_completed

import numpy as np
from tqdm import tqdm

from sb_ext.data.pcm16 import to_pcm16

_CHUNK = 64


def write_audio(store, path, offsets, workers):
    """Write all mixtures of a store, end to end, with a progress bar.

    Arguments
    ---------
    store : MixtureStore
    path : Path
        The file to make.
    offsets : np.ndarray
        ``[N + 1]``, int64; the record of mixture ``i``, ``[1 + C, length]``, takes the 16-bit values from
        ``offsets[i]`` to ``offsets[i + 1]``.
    workers : int
        Processes; with 1 the calling process does it.

    Raises
    ------
    ValueError
        If the store reads another number of samples than it promised. All files are decoded here, so that one that was
        cut, or holds a sample that is not finite, is found before training.
    """
    path.touch()
    chunks = [(first, min(first + _CHUNK, len(store))) for first in range(0, len(store), _CHUNK)]
    with tqdm(total=len(store), desc=f"packing {path.parent.name}", unit="mixture") as bar:
        if workers <= 1:
            for chunk in chunks:
                bar.update(_write_chunk(store, path, offsets, *chunk))
        else:
            # The store travels to each worker once, not with each chunk.
            with ProcessPoolExecutor(workers, initializer=_set_task, initargs=(store, path, offsets)) as pool:
                for done in as_completed([pool.submit(_write_task_chunk, *chunk) for chunk in chunks]):
                    bar.update(done.result())
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _write_chunk(store, path, offsets, first, last):
    # Plain writes, not a writable memory map: on a full disk a map kills the process without a word.
    with open(path, "r+b") as file:
        file.seek(2 * int(offsets[first]))
        for index in range(first, last):
            mixture, sources = store.read(index)
            record = to_pcm16(mixture[None] if sources is None else np.concatenate([mixture[None], sources]))
            if record.size != offsets[index + 1] - offsets[index]:
                raise ValueError(
                    f"mixture {store.ids[index]}: {record.shape} samples read, not what the store promised"
                )
            file.write(record.astype("<i2", copy=False))
    return last - first


_task = ()


def _set_task(*task):
    global _task
    _task = task


def _write_task_chunk(first, last):
    return _write_chunk(*_task, first, last)
