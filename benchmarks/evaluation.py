"""The metric table beside SpeechBrain's recipes: ``python benchmarks/evaluation.py [--speech_folder LIBRISPEECH]``.

The stock recipes' ``save_results`` measures SI-SNR and, with mir_eval, SDR, both for the estimates and for the mixture,
one item after another. Ours measures these and STOI and PESQ. Speech: any folder of recordings, the longest ones two by
two; the embedded corpus, which is synthetic, without one. Mixtures of at most 10 s at 8 kHz.
"""

import argparse
import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version

import numpy as np
import torch
from interleaved import interleaved, show_beside
from mir_eval.separation import bss_eval_sources
from speechbrain.nnet.losses import get_si_snr_with_pitwrapper

from sb_ext.data.embedded import embedded_librimix
from sb_ext.data.recipes import corpora_folder
from sb_ext.data.recordings import Recordings
from sb_ext.evaluation.measures import METRICS
from sb_ext.evaluation.metrics import MetricTable, measure_item

RATE = 8000
PEER = f"speechbrain {version('speechbrain')}, mir_eval {version('mir_eval')}"


def batch_of(folder, size):
    """Names, mixture ``[B, T]``, estimates and sources ``[B, 2, T]``, lengths ``[B]``: two voices of equal power."""
    speech = Recordings(folder, RATE)
    chosen = np.argsort(-speech.lengths, kind="stable")[: 2 * size].reshape(-1, 2)
    lengths = torch.from_numpy(speech.lengths[chosen].min(1)).clamp_max(10 * RATE)
    sources = torch.zeros(len(chosen), 2, int(lengths.max()))
    for row, place in np.ndindex(*chosen.shape):
        voice = torch.from_numpy(speech.read(chosen[row, place])[0][: lengths[row]])
        sources[row, place, : lengths[row]] = 0.05 * voice / voice.std()
    noise = 1e-3 * torch.randn(sources.shape, generator=torch.Generator().manual_seed(0))
    ids, estimates = [str(row) for row in range(len(chosen))], sources + 0.2 * sources.flip(1) + noise
    return ids, sources.sum(1), estimates, sources, lengths


def items_of(ids, mixture, estimates, sources, lengths):
    """Arguments of measure_item, one tuple a mixture."""
    for row, length in enumerate(lengths.tolist()):
        signals = (x[row, ..., :length].double().numpy() for x in (mixture, estimates, sources))
        yield ids[row], *signals, tuple(METRICS), RATE


def stock(ids, mixture, estimates, sources, lengths):
    """What ``save_results`` of SpeechBrain's LibriMix recipe computes: SI-SNR, SI-SNRi, SDR, SDRi a mixture."""
    rows = []
    for row, length in enumerate(lengths.tolist()):
        source, estimate = (x[row : row + 1, :, :length].mT.contiguous() for x in (sources, estimates))
        heard = mixture[row : row + 1, :length].unsqueeze(-1).expand_as(source).contiguous()
        si_snr, before = (-get_si_snr_with_pitwrapper(source, x).item() for x in (estimate, heard))
        sdr, sdr_before = (bss_eval_sources(source[0].T.numpy(), x[0].T.numpy())[0].mean() for x in (estimate, heard))
        rows.append({"si_snr": si_snr, "si_snri": si_snr - before, "sdr": sdr, "sdri": sdr - sdr_before})
    return rows


def ours(batch, metrics):
    """The rows of our table."""
    table = MetricTable(metrics, RATE)
    table.update(*batch)
    return table.rows


def pooled(batch, pool):
    """The same rows from processes, as MetricTable gives its items to them."""
    return [done.result() for done in [pool.submit(measure_item, *item) for item in items_of(*batch)]]


def times(batch, pool, workers, rounds):
    """Print the medians, and what each metric takes of ours."""
    runs = {
        PEER: lambda: stock(*batch),
        "ours, SI-SNR and SDR": lambda: ours(batch, ["si_snr", "sdr"]),
        "ours, all four": lambda: ours(batch, list(METRICS)),
        f"ours, all four, {workers} processes": lambda: pooled(batch, pool),
    }
    alone = {metric: lambda metric=metric: ours(batch, [metric]) for metric in METRICS}
    medians = interleaved(runs | alone, rounds)
    show_beside(f"Metrics of {len(batch[0])} mixtures", {name: medians[name] for name in runs}, PEER)
    whole = sum(medians[metric] for metric in METRICS)
    shares = ", ".join(f"{metric} {100 * medians[metric] / whole:.0f} %" for metric in METRICS)
    print(f"  of ours, all four: {shares}")


def agreement(batch, pool):
    """Print how far our values are from theirs, and that the processes give what one gives."""
    rows, peers = ours(batch, list(METRICS)), stock(*batch)
    for name in ("si_snr", "si_snri", "sdr", "sdri"):
        largest = max(abs(mine[name] - theirs[name]) for mine, theirs in zip(rows, peers, strict=True))
        print(f"  largest difference of {name:8s} {largest:.1e} dB")
    same = pooled(batch, pool) == rows
    print(f"  the processes' rows are {'' if same else 'NOT '}those of one process, bit for bit")


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech_folder", help="recordings, such as LibriSpeech's test-clean; embedded speech without")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)  # mir_eval: its bss_eval is going away
    folder = options.speech_folder
    if folder is None:
        made = embedded_librimix(corpora_folder() / "embedded_tiny", size="tiny")
        folder = made["librispeech_folder"] / "test-clean"
        print("embedded corpus: synthetic speech")
    batch = batch_of(folder, options.batch)
    seconds = ", ".join(f"{length / RATE:.1f}" for length in batch[-1].tolist())
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}; mixtures of {seconds} s")
    with ProcessPoolExecutor(
        options.workers, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)
    ) as pool:
        agreement(batch, pool)
        times(batch, pool, options.workers, options.rounds)


if __name__ == "__main__":
    main()
