"""Long recordings: ``python benchmarks/inference.py --model FOLDER --librispeech_folder FOLDER``.

Prints how fast files are separated, how much memory 1, 10 and 60 minutes take (each in a process of its own, Linux
only), and what chunks cost beside one pass: SI-SNR improvement, and speakers that change their track at a border.
Mixtures are two minutes long, of two test speakers, each speaker's utterances in random order with pauses of up to 3 s.
The peer is Asteroid's LambdaOverlapAdd (requirements-bench.txt; its rows are left out without it).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile
import torch
from tqdm import tqdm

from sb_ext.assignment import best_permutation, pit_loss
from sb_ext.chunking import CHUNK_SECONDS, OVERLAP_SECONDS, in_chunks
from sb_ext.inference import load_separator
from sb_ext.losses import NegSISDR
from sb_ext.streams import MixtureFile, as_arrays, write_tracks

MINUTES = (1, 10, 60)
CHUNKS = ((5, 1), (10, 2.5), (20, 5), (CHUNK_SECONDS, OVERLAP_SECONDS))


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="an output folder, a model folder, or a hub name")
    parser.add_argument("--librispeech_folder", help="speech in LibriSpeech's layout; its test speakers are mixed")
    parser.add_argument("--mixtures", type=int, default=20)
    parser.add_argument("--separate", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.model:
        return print(
            "Nothing measured: give --model, the output folder of a training, for example that of\n"
            "  cd recipes/LibriMix && python train.py hparams/pit.yaml --budget mini"
        )
    if options.separate:
        return measure(options.model, options.separate)
    show_memory(options.model)
    if options.librispeech_folder:
        separate, rate = load_separator(options.model, "cpu")
        show_chunks(separate, rate, list(mixtures(options.librispeech_folder, rate, options.mixtures)))
    else:
        print("\nSpeaker swaps: left out, give --librispeech_folder")


# --- Speed and memory ---


def peak_megabytes():
    """The most memory that this process has held; getrusage would count its parent's as well."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def measure(model, path):
    """In a process of its own: separate a file into files, print seconds and memory before and after."""
    separate, rate = load_separator(model, "cpu")
    separate(torch.zeros(1, rate))
    before, began = peak_megabytes(), time.perf_counter()
    mixture = MixtureFile(path, rate)
    write_tracks(as_arrays(mixture.separated(separate)), mixture.length, rate, f"{path}_out")
    print(time.perf_counter() - began, before, peak_megabytes())


def show_memory(model):
    """Print the first table: noise at 16 kHz, read, resampled, separated and written."""
    print(f"Chunks of {CHUNK_SECONDS:g} s that share {OVERLAP_SECONDS:g} s; {torch.get_num_threads()} threads")
    print("  minutes   times real time   peak memory   above the loaded model")
    for minutes in MINUTES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "noise.wav")
            with soundfile.SoundFile(path, "w", 16000, 1, "PCM_16") as file:
                for minute in range(minutes):
                    file.write(0.1 * np.random.default_rng(minute).standard_normal(60 * 16000))
            words = [sys.executable, __file__, "--model", model, "--separate", path]
            shown = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        seconds, before, after = map(float, shown.split()[-3:])
        print(f"  {minutes:7d}   {60 * minutes / seconds:15.1f}   {after:8.0f} MB   {after - before:19.0f} MB")


# --- Swaps ---


def mixtures(folder, rate, count, seconds=120):
    """Two speakers' sources ``[1, 2, T]``, one pair after the other."""
    rng = np.random.default_rng(0)
    speakers = [sorted(place.rglob("*.flac")) for place in sorted(Path(folder, "test-clean").iterdir())]
    for _ in range(count):
        pair = rng.choice(len(speakers), 2, replace=False)
        tracks = np.stack([track(speakers[one], rate, seconds * rate, rng) for one in pair])
        levels = 0.05 * 10 ** (rng.uniform(-2.5, 2.5, (2, 1)) / 20)
        yield torch.from_numpy(levels * tracks / np.sqrt((tracks**2).mean(1, keepdims=True))).float().unsqueeze(0)


def track(paths, rate, samples, rng):
    """``[T]``: a speaker's utterances and pauses, begun at any point of them."""
    parts = []
    while sum(map(len, parts)) < samples:
        utterance = MixtureFile(paths[rng.integers(len(paths))], rate)
        parts += [utterance.read(0, utterance.length)[0].numpy(), np.zeros(int(rng.uniform(0.2, 3) * rate))]
    whole = np.concatenate(parts)
    return np.roll(whole, rng.integers(len(whole)))[:samples]


def orders(estimates, sources, starts, chunk):
    """For each chunk, the order that matches the sources best: ``[K, C]``."""
    pieces = [(estimates[..., start : start + chunk], sources[..., start : start + chunk]) for start in starts]
    return torch.cat([best_permutation(NegSISDR().scores(*piece)) for piece in pieces])


def improvement(estimates, sources):
    """SI-SNR improvement in dB under the best order of the whole."""
    mixture = sources.sum(1, keepdim=True).expand_as(sources)
    return (NegSISDR()(mixture, sources).mean() - pit_loss(NegSISDR(), estimates, sources)[0].mean()).item()


def ours(separate, mixture, chunk, overlap):
    """Estimates and where the chunks begin."""
    starts = []

    def read(start, stop):
        starts.append(start)
        return mixture[:, start:stop]

    return torch.cat(list(in_chunks(separate, read, mixture.shape[-1], chunk, overlap)), -1), starts


def asteroid(separate, mixture, chunk, overlap):
    """The same by Asteroid; it begins a chunk before the mixture does."""
    from asteroid.dsp.overlap_add import LambdaOverlapAdd

    hop = chunk - overlap
    estimates = LambdaOverlapAdd(lambda part: separate(part[:, :chunk]), None, chunk, hop)(mixture.unsqueeze(1))
    starts = range(-chunk, mixture.shape[-1], hop)
    return estimates, [start for start in starts if 0 <= start <= mixture.shape[-1] - chunk]


def shuffled(separate):
    """A separator that gives its outputs in another order every time: what the alignment has to put right."""
    generator = torch.Generator().manual_seed(0)

    def run(mixture):
        estimates = separate(mixture)
        return estimates[:, torch.randperm(estimates.shape[1], generator=generator)]

    return run


def show_chunks(separate, rate, items):
    """Print the second table.

    A swap is a border between two chunks before and after which different orders match the sources best. Only where
    the result of one pass does not swap at the same place is the border to blame.
    """
    rows = {f"ours, {chunk:g} s sharing {overlap:g} s": (ours, chunk, overlap) for chunk, overlap in CHUNKS}
    if find_spec("asteroid"):
        rows |= {f"asteroid, {chunk:g} s sharing half": (asteroid, chunk, chunk / 2) for chunk in (10, CHUNK_SECONDS)}
    else:
        print("\nasteroid is not installed, its rows are left out")
    results = {(name, kind): [] for name in rows for kind in ("", ", shuffled")}
    once = []
    for sources in tqdm(items, desc="Mixtures"):
        mixture = sources.sum(1)
        whole = separate(mixture)
        once.append(improvement(whole, sources))
        for (name, kind), rowed in results.items():
            method, chunk, overlap = rows[name]
            chunk, overlap = round(chunk * rate), round(overlap * rate)
            estimates, starts = method(shuffled(separate) if kind else separate, mixture, chunk, overlap)
            swaps = [(one[1:] != one[:-1]).any(1) for one in
                     (orders(estimates, sources, starts, chunk), orders(whole, sources, starts, chunk))]  # fmt: skip
            gain = improvement(estimates, sources)
            rowed.append([gain, *(int(part.sum()) for part in (swaps[0] & ~swaps[1], *swaps)), len(starts) - 1])
    print(f"\n{len(items)} mixtures of {items[0].shape[-1] / rate:g} s; one pass: {np.mean(once):.2f} dB SI-SNRi")
    print(f"  {'':36s} SI-SNRi   beside one pass   worst     swaps by border   swaps   in one pass   of borders")
    for (name, kind), rowed in results.items():
        gains, *counts = np.array(rowed).T
        gap = gains - once
        figures = "".join(f"{int(count.sum()):{wide}d}" for count, wide in zip(counts, (16, 8, 14, 13), strict=True))
        print(f"  {name + kind:36s} {gains.mean():7.2f}   {gap.mean():+15.2f}   {gap.min():+5.2f}  {figures}")


if __name__ == "__main__":
    main()
