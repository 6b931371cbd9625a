"""Timing side by side: absolute times drift on a shared machine, ratios of interleaved runs do not."""

import math
import statistics
import time

import torch


def interleaved(candidates, rounds=7, turn=0.0):
    """Median seconds of each candidate, run in turn.

    Arguments
    ---------
    candidates : dict
        Name to a callable without arguments.
    rounds : int
        Counted rounds, after one that is not.
    turn : float
        Seconds that a turn lasts at least: short runs are repeated, or else a scheduler's slices of some milliseconds
        hit one and spare the next.

    Returns
    -------
    dict
        Name to median seconds.
    """
    seconds, repeats = {name: [] for name in candidates}, dict.fromkeys(candidates, 1)
    for place in range(rounds + 1):
        for name, run in candidates.items():
            spent = _seconds(run, repeats[name])
            if place:
                seconds[name].append(spent)
            else:
                repeats[name] = max(1, math.ceil(turn / spent))
    return {name: statistics.median(values) for name, values in seconds.items()}


def _seconds(run, repeats):
    began = time.perf_counter()
    for _ in range(repeats):
        run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / repeats


def saved_bytes(run, inputs=()):
    """Bytes that autograd keeps for the backward pass of ``run()`` beside its ``inputs``, each storage counted once."""
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    given = {tensor.untyped_storage().data_ptr() for tensor in inputs}
    return sum(size for place, size in storages.items() if place not in given)


def show(title, medians, ours, note=""):
    """Print each median and how many times ours is as fast."""
    print(f"\n{title}")
    for name, value in medians.items():
        print(f"  {name:44s} {1000 * value:10.1f} ms   ours is {value / medians[ours]:6.2f} times as fast")
    if note:
        print(f"  {note}")


def show_beside(title, medians, peer):
    """Print each median and how many times as fast as the peer it is."""
    print(f"\n{title}")
    for name, value in medians.items():
        print(f"  {name:44s} {1000 * value:10.1f} ms   {medians[peer] / value:6.2f} times as fast as {peer}")
