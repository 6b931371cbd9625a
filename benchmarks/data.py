"""Training crops a second, and the disk that they need: packed, from wav files, and mixed on the fly.

    python benchmarks/data.py [--librispeech_folder DIR] [--mixtures 200] [--batch 64]

Crops of 3 s at 8 kHz with two sources, batch by batch as a training reads them, in one process. The wav files are those
that the public LibriMix scripts would generate. Files are in the page cache: a disk makes all of them slower.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from interleaved import interleaved
from torch.utils.data import DataLoader

from sb_ext.data.embedded import embedded_librimix
from sb_ext.data.librimix import GeneratedLibriMix, OnTheFlyLibriMix
from sb_ext.data.loader import MixtureDataset, collate
from sb_ext.data.metadata import make_metadata
from sb_ext.data.packed import PackedMixtures, pack
from sb_ext.data.recipes import corpora_folder
from sb_ext.data.speech_folder import find_splits
from sb_ext.data.store import MixtureStore

RATE = 8000
CROP = 3 * RATE
PARTS = ("mix_clean", "s1", "s2")


class SoundfileMixtures(MixtureStore):
    """Wav files read by soundfile: whole, as in SpeechBrain's recipe, or from the crop's start, as in Asteroid's."""

    def __init__(self, generated, whole):
        super().__init__(generated.ids, generated.lengths, None, RATE, 2)
        self.folder, self.whole = generated.folder, whole

    def _read(self, index, start, stop):
        paths = [self.folder / part / f"{self.ids[index]}.wav" for part in PARTS]
        if self.whole:
            audio = [soundfile.read(path, dtype="float32")[0][start:stop] for path in paths]
        else:
            audio = [soundfile.read(path, start=start, stop=stop, dtype="float32")[0] for path in paths]
        return audio[0], np.stack(audio[1:])


def generate(store, folder):
    """The wav files of a store, laid out as LibriMix's script does."""
    folder = folder / "Libri2Mix" / "wav8k" / "min" / "train-100"
    for part in PARTS:
        (folder / part).mkdir(parents=True)
    for index in range(len(store)):
        mixture, sources = store.read(index)
        for part, wave in zip(PARTS, [mixture, *sources], strict=True):
            soundfile.write(folder / part / f"{store.ids[index]}.wav", wave, RATE)


def reader(store, batch):
    """Reads the next batch of random crops."""
    dataset, rng = MixtureDataset(store, segment=CROP), np.random.default_rng(0)
    return lambda: collate([dataset[draw] for draw in rng.integers(len(dataset), size=batch)])


def megabytes(*paths):
    """The size of files, and of what lies in folders."""
    files = (file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())
    return sum(file.stat().st_size for file in files) / 1e6


def main(argv=None):
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--librispeech_folder", help="laid out as LibriSpeech (default: the embedded synthetic corpus)")
    parser.add_argument("--mixtures", type=int, default=200)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    speech = options.librispeech_folder
    if speech is None:
        speech = embedded_librimix(corpora_folder() / "embedded_small")["librispeech_folder"]
    split = next(name for name in find_splits(Path(speech)) if "train" in name)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        table = make_metadata(speech, folder, 2, splits=[split], num_mixtures={split: options.mixtures})[split]
        on_the_fly = OnTheFlyLibriMix(speech, table)
        generate(on_the_fly, folder)
        generated = GeneratedLibriMix(folder, "train-100")
        packed = pack(on_the_fly, folder / "packed")
        compare(on_the_fly, generated, packed, options)
        disk(on_the_fly, generated, packed, Path(speech))


def compare(on_the_fly, generated, packed, options):
    """Crops a second of each way, in turn; what one core gives beside what a GPU may ask for."""
    seconds = on_the_fly.lengths.mean() / RATE
    print(f"\n{len(on_the_fly)} mixtures of {seconds:.1f} s on average; batches of {options.batch} crops of 3 s")
    ways = {
        "packed": packed,
        "packed, in memory": PackedMixtures(packed.folder, in_memory=True),
        "wav files, read whole (SpeechBrain)": SoundfileMixtures(generated, whole=True),
        "wav files, read from the start (Asteroid)": SoundfileMixtures(generated, whole=False),
        "wav files, checked and read from the start (ours)": generated,
        "mixed on the fly from FLAC": on_the_fly,
    }
    readers = {name: reader(store, options.batch) for name, store in ways.items()}
    medians = interleaved(readers, options.rounds)
    for name, median in medians.items():
        ratio = median / medians["packed"]
        print(f"  {name:50s} {options.batch / median:9.0f} crops/s   packed is {ratio:6.2f} times as fast")
    began = time.process_time()
    for _ in range(20):
        readers["packed"]()
    core = 20 * options.batch / (time.process_time() - began)
    print(f"  packed: {core:.0f} crops a second of one core")
    loader = DataLoader(MixtureDataset(packed, CROP, passes=64), 128, num_workers=1, collate_fn=collate)
    batches = iter(loader)
    next(batches)
    began = time.perf_counter()
    for _ in range(40):
        next(batches)
    worker = 40 * 128 / (time.perf_counter() - began)
    print(f"  packed: {worker:.0f} crops a second from one loader worker, batches of 128")
    for batch in (8, 24, 128):
        print(f"  20 steps/s at batch {batch}: {20 * batch} crops/s, {20 * batch / core:.2f} cores")


def disk(on_the_fly, generated, packed, speech):
    """What each way keeps on disk, for each hour of mixtures."""
    hours = on_the_fly.lengths.sum() / RATE / 3600
    used = [on_the_fly.speech.path(number) for number in np.unique(on_the_fly.speech.which)]
    sizes = {
        "packed": megabytes(Path(packed.folder)),
        "generated wav files (8 kHz, min, mix_clean)": megabytes(generated.folder),
        "LibriSpeech's FLAC files alone, mixed on the fly": megabytes(*map(Path, used)),
    }
    print(f"\ndisk, for {hours:.2f} hours of mixtures of {len(used)} utterances")
    for name, size in sizes.items():
        print(f"  {name:50s} {size:9.1f} MB   {size / hours:7.1f} MB an hour")


if __name__ == "__main__":
    sys.exit(main())
