"""The table of a test set: each mixture's metrics and their improvements over the mixture itself."""

import csv
import io
import math
import multiprocessing
import os
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np
import torch

from sb_ext.atomic import write_json, write_text
from sb_ext.evaluation.measures import METRICS, PESQ_MODES, measure


def measure_item(name, mixture, estimates, sources, metrics, sample_rate):
    """One row of the table: ``mixture [T]``, ``estimates`` and ``sources [C, T]``, float64 arrays without padding."""
    row, single = {"id": name}, {}
    mixtures = np.broadcast_to(mixture, sources.shape)
    for metric in metrics:
        values = measure(metric, estimates, sources, sample_rate)
        gains = values - measure(metric, mixtures, sources, sample_rate)
        row[metric], row[f"{metric}i"] = float(values.mean()), float(gains.mean())
        single |= {f"{metric}i_{number}": float(gain) for number, gain in enumerate(gains, 1)}
    return row | single


def begin_worker():
    """Make a worker process ready: one thread, and an end with the main process, for which it would wait for ever."""
    torch.set_num_threads(1)
    threading.Thread(target=lambda: multiprocessing.parent_process().join() or os._exit(1), daemon=True).start()


class MetricTable:
    """Collects the metrics of every mixture of a test set.

    A metric that is not defined for a mixture (no utterance for PESQ, under 0.4 s for STOI, a silent source) is NaN
    there, stays out of the mean, and is counted as missing.

    Arguments
    ---------
    metrics : sequence of str
        Keys of :data:`sb_ext.evaluation.measures.METRICS`.
    sample_rate : int
        In Hz; PESQ takes 8000 or 16000 only.
    workers : int, optional
        Processes to measure in, while the caller separates the next batch; by default it is done in this process.

    Raises
    ------
    ValueError
        For an unknown metric, a sample rate that PESQ does not know, or tensors that do not fit each other.

    Example
    -------
    >>> table = MetricTable(metrics=["si_snr"])
    >>> sources = torch.randn(3, 2, 800)
    >>> table.update(["a", "b", "c"], sources.sum(1), sources, sources, torch.tensor([800, 640, 720]))
    >>> [row["id"] for row in table.rows], table.summary()["si_snr"]["mean"]
    (['a', 'b', 'c'], 100.0)
    """

    def __init__(self, metrics=("si_snr", "sdr", "stoi", "pesq"), sample_rate=8000, workers=None):
        unknown = [metric for metric in metrics if metric not in METRICS]
        if unknown:
            raise ValueError(f"metrics: unknown {', '.join(unknown)}; there are {', '.join(METRICS)}")
        if "pesq" in metrics and sample_rate not in PESQ_MODES:
            raise ValueError(
                f"sample_rate: PESQ works at 8000 and 16000 Hz, received {sample_rate}; leave pesq out of metrics"
            )
        self.metrics, self.sample_rate, self.workers = tuple(metrics), sample_rate, workers or 0
        self._rows, self._pending, self._pool = [], deque(), None

    def update(self, ids, mixture, estimates, sources, lengths):
        """Measure a batch.

        Arguments
        ---------
        ids : list of str
        mixture : torch.Tensor
            ``[B, T]``.
        estimates, sources : torch.Tensor
            ``[B, C, T]``, estimates in the order of the sources.
        lengths : torch.Tensor
            ``[B]``, in samples; what lies behind is never looked at.
        """
        self._check(ids, mixture, estimates, sources, lengths)
        mixture, estimates, sources = (
            signal.detach().to("cpu", torch.float64).numpy() for signal in (mixture, estimates, sources)
        )
        for item, length in enumerate(lengths.tolist()):
            signals = (mixture[item, :length], estimates[item, :, :length], sources[item, :, :length])
            self._pending.append(self._submit(ids[item], *signals, self.metrics, self.sample_rate))
        # waiting here keeps a slow pool from piling up the whole test set in memory
        while len(self._pending) > 8 * max(self.workers, 1):
            self._rows.append(self._pending.popleft().result())

    @staticmethod
    def _check(ids, mixture, estimates, sources, lengths):
        expected = (len(ids), sources.shape[1] if sources.dim() == 3 else "C", mixture.shape[-1])
        for name, signal in (("estimates", estimates), ("sources", sources)):
            if tuple(signal.shape) != expected:
                raise ValueError(
                    f"MetricTable.{name}: expected {list(expected)} beside {len(ids)} ids and a mixture "
                    f"{list(mixture.shape)}, received {list(signal.shape)}"
                )
        if mixture.shape != (expected[0], expected[2]):
            raise ValueError(f"MetricTable.mixture: expected [{expected[0]}, T], received {list(mixture.shape)}")
        if lengths.shape != (len(ids),) or not all(0 < length <= expected[2] for length in lengths.tolist()):
            raise ValueError(
                f"MetricTable.lengths: expected {len(ids)} values of 1 to {expected[2]} samples, "
                f"received {lengths.tolist()}"
            )

    def _submit(self, *arguments):
        if self.workers:
            if self._pool is None:
                # spawn, since forking a process that has started CUDA or threads may hang
                self._pool = ProcessPoolExecutor(self.workers, multiprocessing.get_context("spawn"), begin_worker)
            return self._pool.submit(measure_item, *arguments)
        done = Future()
        done.set_result(measure_item(*arguments))
        return done

    def __len__(self):
        """How many mixtures were given."""
        return len(self._rows) + len(self._pending)

    @property
    def rows(self):
        """One dict a mixture, in the order of the updates: ``id``, each metric and its improvement (``...i``), each the
        mean over the sources, and every source's improvement (``si_snri_1``, ...)."""
        while self._pending:
            self._rows.append(self._pending.popleft().result())
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        return self._rows

    def summary(self):
        """Per metric and improvement: mean, std (of a sample), sem (standard error), count and missing."""
        names = [name for metric in self.metrics for name in (metric, f"{metric}i")]
        return {name: summarize([row[name] for row in self.rows]) for name in names}

    def write_csv(self, path):
        """Write the rows to ``path``; see write_rows."""
        write_rows(path, self.rows)

    def write_summary(self, path, **about):
        """Write ``{"metrics": summary, **about}`` as JSON to ``path``; a mean of nothing is null."""
        write_json(path, {"metrics": self.summary(), **about})


def write_rows(path, rows):
    """Write a dict a mixture to ``path``; what is NaN, and a source that a mixture does not have, is left empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["id"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _text(value) for key, value in row.items()})
    write_text(path, text.getvalue())


def _text(value):
    """A number with six decimals, nothing for NaN."""
    if not isinstance(value, float):
        return value
    return f"{value:.6f}" if math.isfinite(value) else ""


def summarize(values):
    """Mean, std (of a sample), sem, count and missing of numbers, NaN left out.

    Example
    -------
    >>> summarize([1.0, 3.0, math.nan])
    {'mean': 2.0, 'std': 1.4142135623730951, 'sem': 1.0, 'count': 2, 'missing': 1}
    """
    known = np.array([value for value in values if math.isfinite(value)])
    count = len(known)
    mean = float(known.mean()) if count else math.nan
    std = float(known.std(ddof=1)) if count > 1 else (0.0 if count else math.nan)
    sem = std / math.sqrt(count) if count else math.nan
    return {"mean": mean, "std": std, "sem": sem, "count": count, "missing": len(values) - count}
