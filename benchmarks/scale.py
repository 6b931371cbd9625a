"""A million mixtures: how long until training starts, and what it takes of memory.

    python benchmarks/scale.py [--mixtures 1000000] [--workers 2] [--batch 128]

No audio: the speech files are headers, and the pack's audio is a file full of holes, which reads as silence. All else
is what a recipe does: metadata, pack, subset, shuffling, crops in forked loader workers, resuming, a rank's share.
"""

import argparse
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from speechbrain.dataio.dataloader import make_dataloader
from speechbrain.dataio.sampler import DistributedSamplerWrapper, ReproducibleRandomSampler

from sb_ext.configuration import describe_data
from sb_ext.data import packed
from sb_ext.data.librimix import OnTheFlyLibriMix
from sb_ext.data.loader import MixtureDataset, collate
from sb_ext.data.store import random_subset

SECONDS = 12  # of an utterance
RATE = 16000


def memory(process="self"):
    """Megabytes that a process has of its own, and its share of all memory, without what it only maps from files."""
    with open(f"/proc/{process}/smaps_rollup") as file:
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in file if line.endswith("kB\n")}
    return kilobytes["Private_Dirty"] / 1024, kilobytes["Pss_Anon"] / 1024


def write_corpus(folder, mixtures):
    """LibriMix metadata of pairs of speakers with one utterance each; FLAC files that end after their header."""
    speakers = next(count for count in itertools.count(2) if count * (count - 1) // 2 >= mixtures)
    frames = RATE << 44 | 15 << 36 | SECONDS * RATE  # rate, one channel, 16 bits, length
    header = b"fLaC" + bytes([0x80, 0, 0, 34]) + bytes(10) + frames.to_bytes(8, "big") + bytes(16)
    names = [f"{speaker}-1-0001" for speaker in range(1, speakers + 1)]
    for name in names:
        Path(folder, f"{name}.flac").write_bytes(header)
    table = Path(folder, "libri2mix_train-clean-360.csv")
    with open(table, "w") as file:
        file.write("mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain,noise_path,noise_gain\n")
        for one, two in itertools.islice(itertools.combinations(names, 2), mixtures):
            file.write(f"{one}_{two},{one}.flac,0.7071067811865476,{two}.flac,0.3535533905932738,,\n")
    return table


def pack(store, folder):
    """A pack of a store whose audio was never written."""

    def holes(store, path, offsets, workers):
        path.touch()
        os.truncate(path, 2 * int(offsets[-1]))

    with mock.patch.object(packed, "write_audio", holes):
        return packed.pack(store, folder)


def loader_of(dataset, options):
    """The loader of an epoch, as SpeechBrain's Brain makes it."""
    return make_dataloader(
        dataset, sampler=ReproducibleRandomSampler(dataset, seed=1), collate_fn=collate, drop_last=True,
        batch_size=options.batch, num_workers=options.workers,
    )  # fmt: skip


def timed(what, action):
    """Do something, print how long it took, in seconds of the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    result = action()
    seconds = (time.perf_counter() - clock, time.process_time() - processor)
    print(f"{what:58s} {seconds[0]:7.2f} s ({seconds[1]:.2f} s of this process)", flush=True)
    return result


def main(argv=None):
    """Print a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixtures", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--batches", type=int, default=100, help="read before memory is measured")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.part:
        return epochs(options)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        table = timed("(write the metadata)", lambda: write_corpus(folder, options.mixtures))
        store = timed("open the metadata and the headers", lambda: OnTheFlyLibriMix(folder, table))
        timed("(pack it, without audio)", lambda: pack(store, folder / "pack"))
        # In a process of its own, which has never held the metadata, as a training has not once there is a pack.
        command = [sys.executable, __file__, "--part", str(folder / "pack")]
        command += itertools.chain(*([f"--{key}", str(value)] for key, value in vars(options).items() if key != "part"))
        if os.spawnv(os.P_WAIT, sys.executable, command):
            raise SystemExit("the second part failed")
    return 0


def epochs(options):
    """Open the pack and read from it."""
    before = memory()[0]
    store = timed("open the pack", lambda: packed.PackedMixtures(options.part))
    part = timed("a random half", lambda: random_subset(store, 0.5, seed=1))
    timed("the digests by which it is known again", lambda: describe_data({"train": store, "valid": part}))
    dataset = MixtureDataset(store, segment=24000, seed=1)
    print(f"{'memory of the stores':58s} {memory()[0] - before:7.1f} MB")
    loader = loader_of(dataset, options)
    batches = iter(loader)
    timed("start of an epoch: shuffle, fork workers, first batch", lambda: next(batches))
    timed(f"{options.batches} batches more", lambda: sum(1 for _ in itertools.islice(batches, options.batches)))
    for name, process in [("a worker", worker.pid) for worker in batches._workers] + [("the main process", "self")]:
        own, share = memory(process)
        print(f"{'memory of ' + name + ', its own and its share of all':58s} {own:7.1f} MB {share:7.1f} MB")
    batches = None
    loader = loader_of(dataset, options)
    loader._speechbrain_recovery_skip_to = len(loader) // 2
    timed(f"resume at batch {len(loader) // 2}: the first batch", lambda: next(iter(loader)))
    whole = ReproducibleRandomSampler(dataset, seed=1)
    sampler = DistributedSamplerWrapper(whole, num_replicas=8, rank=3, drop_last=True)
    timed("start of an epoch on one of 8 ranks: the first index", lambda: next(iter(sampler)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
