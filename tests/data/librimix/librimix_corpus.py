"""LibriMix's public arithmetic, and a corpus that has each delicate thing once: for the tests beside this file."""

import csv
import itertools
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from sb_ext.data.librimix import OnTheFlyLibriMix

TYPES = ["mix_clean", "mix_both", "mix_single"]


# --- The public arithmetic, in the open: whole signals, one after another, written with soundfile. ---


def lengthened(noise, length):
    """Noise laid over itself, overlapping by 8001 samples under the halves of a 16001-point Hann window."""
    rise = np.hanning(16001)[:8001]
    out, end, hop = np.zeros(length + 2 * len(noise)), len(noise), len(noise) - 8001
    out[:end] = noise
    while end < length:
        start = end - 8001
        out[start:end] = out[start:end] * rise[::-1] + noise[:8001] * rise
        out[end : end + hop] = noise[8001:]
        end += hop
    return out[:length]


def parts_of(row, num_speakers, speech, noise_folder, rate, mode):
    """The float signals of a mixture: the voices, then the noise."""
    names = [f"source_{i + 1}" for i in range(num_speakers)]
    signals = [soundfile.read(speech / row[f"{name}_path"], dtype="float32")[0] for name in names]
    longest = max(map(len, signals))
    noise = soundfile.read(noise_folder / row["noise_path"], dtype="float32", always_2d=True)[0][:longest, 0]
    signals.append(noise if len(noise) == longest else lengthened(noise, longest))
    gains = [float(row[f"{name}_gain"]) for name in [*names, "noise"]]
    signals = [resample_poly(signal * gain, rate, 16000) for signal, gain in zip(signals, gains, strict=True)]
    if mode == "min":
        return [signal[: min(map(len, signals))] for signal in signals]
    return [np.pad(signal, (0, max(map(len, signals)) - len(signal))) for signal in signals]


def generate(table, speech, noise_folder, out, num_speakers, rate, mode, types=TYPES):
    """Write a split as the public script does."""
    with open(table) as file:
        for row in csv.DictReader(file):
            *voices, noise = parts_of(row, num_speakers, speech, noise_folder, rate, mode)
            sums = {"mix_clean": voices, "mix_both": [*voices, noise], "mix_single": [voices[0], noise]}
            files = {f"s{i + 1}": voice for i, voice in enumerate(voices)} | {"noise": noise}
            for kind in types:
                files[kind] = np.zeros_like(voices[0])
                for signal in sums[kind]:
                    files[kind] += signal
            for name, signal in files.items():
                folder = out / f"Libri{num_speakers}Mix/wav{rate // 1000}k/{mode}/dev/{name}"
                folder.mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / f"{row['mixture_ID']}.wav", signal, rate)


# --- A corpus of noise bursts: lengths odd and even, gains that clip, short and stereo background noise. ---


def write_corpus(root):
    rng = np.random.default_rng(0)
    utterances, lengths = [], [20001, 12345, 9000, 16000, 7777, 11111, 20000]
    for number, length in enumerate(lengths):
        speaker = 19 + number // 2
        path = f"dev-clean/{speaker}/1/{speaker}-1-{number:04d}.flac"
        (root / "speech" / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / "speech" / path, rng.uniform(-0.9, 0.9, length), 16000)
        utterances.append(path)
    (root / "noise/cv").mkdir(parents=True)
    noises = {"long": rng.normal(0, 0.1, 40000), "stereo": rng.normal(0, 0.1, (30000, 2)), "short": None}
    noises["short"] = rng.normal(0, 0.1, (8500, 2))
    for name, noise in noises.items():
        soundfile.write(root / f"noise/cv/{name}.wav", noise, 16000)
    for num_speakers in (2, 3):
        groups = [utterances[i : i + num_speakers] for i in range(len(utterances) - num_speakers + 1)]
        rows = []
        for group, noise in zip(groups, itertools.cycle(noises)):
            row = {"mixture_ID": "_".join(Path(path).stem for path in group)}
            for i, path in enumerate(group):
                row |= {f"source_{i + 1}_path": path, f"source_{i + 1}_gain": rng.uniform(0.2, 1.5)}
            rows.append(row | {"noise_path": f"cv/{noise}.wav", "noise_gain": rng.uniform(0.5, 2)})
        write_table(root / f"metadata/Libri{num_speakers}Mix/libri{num_speakers}mix_dev-clean.csv", rows[::-1])
    return root


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_table(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def table_of(corpus, num_speakers=2):
    return corpus / f"metadata/Libri{num_speakers}Mix/libri{num_speakers}mix_dev-clean.csv"


def on_the_fly(corpus, num_speakers=2, rate=8000, mode="min", kind="mix_clean", **changes):
    noise = None if kind == "mix_clean" else corpus / "noise"
    arguments = {"librispeech_folder": corpus / "speech", "metadata_csv": table_of(corpus, num_speakers)}
    arguments |= {"noise_folder": noise} | changes
    return OnTheFlyLibriMix(num_speakers=num_speakers, sample_rate=rate, mode=mode, mixture_type=kind, **arguments)


def assert_same(store, other):
    assert list(store.ids) == list(other.ids) and store.num_sources == other.num_sources
    np.testing.assert_array_equal(store.lengths, other.lengths)
    np.testing.assert_array_equal(store.speakers, other.speakers)
    for index in range(len(store)):
        for left, right in zip(store.read(index), other.read(index), strict=True):
            assert left.dtype == right.dtype == np.float32
            np.testing.assert_array_equal(left, right)
