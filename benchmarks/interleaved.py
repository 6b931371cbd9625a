"""Timing side by side: absolute times drift on a shared machine, ratios of interleaved runs do not."""

import statistics
import time

import torch


def interleaved(candidates, rounds=7):
    """Median seconds of each candidate, run in turn.

    Arguments
    ---------
    candidates : dict
        Name to a callable without arguments.
    rounds : int
        Counted rounds, after one that is not.

    Returns
    -------
    dict
        Name to median seconds.
    """
    seconds = {name: [] for name in candidates}
    for place in range(rounds + 1):
        for name, run in candidates.items():
            began = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if place:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def saved_bytes(run):
    """Bytes that autograd keeps for the backward pass of ``run()``, each storage counted once."""
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(storages.values())


def show(title, medians, ours, note=""):
    """Print each median and how many times ours is as fast."""
    print(f"\n{title}")
    for name, value in medians.items():
        print(f"  {name:44s} {1000 * value:10.1f} ms   ours is {value / medians[ours]:6.2f} times as fast")
    if note:
        print(f"  {note}")
