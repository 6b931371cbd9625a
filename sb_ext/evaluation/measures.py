"""The formulas: how close an estimate came to its source, by SI-SNR, SDR, STOI and PESQ.

A metric is a function ``(estimates [C, T], sources [C, T], sample_rate) -> C numbers`` on float64 arrays, NaN where it
is not defined. Adding one to :data:`METRICS` is all that a new metric needs.
"""

import math
import warnings

import fast_bss_eval
import numpy as np
import torch
from pesq import PesqError, pesq
from pystoi import stoi

LIMIT_DB = 100.0
SDR_FILTER = 512
PESQ_MODES = {8000: "nb", 16000: "wb"}
STOI_TOO_SHORT = 1e-5


def si_snr(estimates, sources, sample_rate=None):
    """Scale-invariant signal-to-noise ratio (zero-mean SI-SDR, Le Roux et al. 2019), in dB.

    Finite for finite signals: held within +-100 dB, and -100 dB where the source or the estimate is silent (constant).

    Arguments
    ---------
    estimates, sources : numpy.ndarray
        ``[..., T]``, of the same shape.
    sample_rate : int, optional
        Not used.

    Returns
    -------
    numpy.ndarray
        ``[...]``, float64.

    Example
    -------
    >>> source = np.array([1.0, -1.0, 1.0, -1.0])
    >>> noise = np.array([0.1, 0.1, -0.1, -0.1])
    >>> float(si_snr(7 * (source + noise) + 3, source).round(6)), float(si_snr(0 * source, source))
    (20.0, -100.0)
    """
    silent = is_silent(estimates) | is_silent(sources)
    estimates = np.asarray(estimates, dtype=np.float64)
    sources = np.asarray(sources, dtype=np.float64)
    estimates = estimates - estimates.mean(-1, keepdims=True)
    sources = sources - sources.mean(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (estimates * sources).sum(-1, keepdims=True) / (sources**2).sum(-1, keepdims=True)
        signal = scale * sources
        ratio = (signal**2).sum(-1) / ((estimates - signal) ** 2).sum(-1)
        decibel = 10 * np.log10(ratio)
    return np.clip(np.where(silent, -LIMIT_DB, decibel), -LIMIT_DB, LIMIT_DB)


def is_silent(signals):
    """Whether signals ``[..., T]`` are constant, up to rounding, as bool ``[...]``."""
    signals = np.asarray(signals, dtype=np.float64)
    power = (signals**2).mean(-1)
    # the mean of a constant rounds to within 1e-16 of it, so its variance is some 1e-32 of its power
    return ((signals - signals.mean(-1, keepdims=True)) ** 2).mean(-1) <= 1e-28 * power


def sdr(estimates, sources, sample_rate=None):
    """BSS Eval version 3's SDR in dB, from fast_bss_eval; NaN for signals of at most 512 samples.

    A source may be filtered by 512 taps before it is compared, so shorter signals would always fit.

    Example
    -------
    >>> sources = np.random.default_rng(0).standard_normal((2, 4000))
    >>> sdr(sources + 0.1 * sources[::-1], sources).shape
    (2,)
    """
    if sources.shape[-1] <= SDR_FILTER:
        return np.full(len(sources), math.nan)
    # The loss form leaves out SIR and SAR: the same SDR in a tenth of the time. Tensors, since fast_bss_eval's
    # bss_eval_sources fails on arrays under NumPy 2.
    loss = fast_bss_eval.sdr_loss(*(torch.from_numpy(x) for x in (estimates, sources)), filter_length=SDR_FILTER)
    return -loss.numpy()


def stoi_each(estimates, sources, sample_rate):
    """Short-time objective intelligibility (Taal et al. 2011); NaN with less than about 0.4 s of sound."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        values = [_stoi(source, estimate, sample_rate) for estimate, source in zip(estimates, sources, strict=True)]
    return [math.nan if value == STOI_TOO_SHORT else value for value in values]


def _stoi(source, estimate, sample_rate):
    try:
        return float(stoi(source, estimate, sample_rate, extended=False))
    except (np.exceptions.AxisError, ValueError):  # how pystoi meets signals shorter than one of its frames
        return math.nan


def pesq_each(estimates, sources, sample_rate):
    """PESQ (ITU-T P.862), MOS-LQO: narrow band at 8 kHz, wide band at 16 kHz; NaN where no utterance is found."""
    return [_pesq(source, estimate, sample_rate) for estimate, source in zip(estimates, sources, strict=True)]


def _pesq(source, estimate, sample_rate):
    if is_silent(estimate):
        return math.nan
    try:
        return float(pesq(sample_rate, source, estimate, PESQ_MODES[sample_rate]))
    except PesqError:
        return math.nan


METRICS = {"si_snr": si_snr, "sdr": sdr, "stoi": stoi_each, "pesq": pesq_each}


def measure(metric, estimates, sources, sample_rate):
    """One metric of each estimate against its own source; NaN for silent sources and estimates that are not finite.

    Example
    -------
    >>> sources = np.stack([np.sin(np.arange(800.0)), np.zeros(800)])
    >>> measure("si_snr", sources + 1e-9, sources, 8000).tolist()
    [100.0, nan]
    """
    values = np.full(len(sources), math.nan)
    usable = ~is_silent(sources) & np.isfinite(estimates).all(-1)
    if usable.any():
        values[usable] = METRICS[metric](estimates[usable], sources[usable], sample_rate)
    return np.where(np.isfinite(values), values, math.nan)
