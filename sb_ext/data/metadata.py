"""LibriMix metadata for any folder laid out as LibriSpeech: which utterances to mix, how loud, with which noise.

    python -m sb_ext.data.metadata LIBRISPEECH OUT --num_speakers 2 --noise_folder WHAM_NOISE

writes ``libri2mix_<split>.csv`` and ``libri2mix_<split>_info.csv`` in the format of the public LibriMix metadata. The
rules are LibriMix's: loudness drawn evenly from -33 to -25 LUFS for speech and 5 LU lower for noise, a peak of 0.9 for
what would clip, each training utterance once. Loudness is measured on the utterance as it is, once; LibriMix measures
again, padded, in each mixture.
"""

import argparse
import csv
import difflib
import os
import random
import warnings
from pathlib import Path

from sb_ext.data.building import in_threads
from sb_ext.data.loudness import (
    NOISE_LUFS,
    SPEECH_LUFS,
    loudness,
    mixture_gains,
    normalising_gain,
    read_first_channel,
)
from sb_ext.data.pairing import draw_noises, draw_sets
from sb_ext.data.speech_folder import find_splits, measure_noise, measure_speech, read_sexes, speaker_of

DEFAULT_COUNT = 3000
"""Mixtures of a dev or test split, as in LibriMix."""


def make_metadata(
    librispeech_folder,
    out_folder,
    num_speakers=2,
    noise_folder=None,
    splits=None,
    num_mixtures=None,
    seed=0,
    workers=None,
):
    """Write LibriMix metadata for one's own corpus.

    Arguments
    ---------
    librispeech_folder : str or Path
        Laid out as LibriSpeech: ``split/speaker/chapter/*.flac`` (or wav), any sample rate; sexes from
        ``SPEAKERS.TXT``, where there is one.
    out_folder : str or Path
        Gets the CSV files.
    num_speakers : int
        Speakers a mixture, 2 or more.
    noise_folder : str or Path, optional
        Laid out as WHAM's noise: ``{tr,cv,tt}/*.wav``, or one folder a split. The noise columns stay empty without.
    splits : list of str, optional
        Folders to do; all that hold speakers if None.
    num_mixtures : dict of str to int, optional
        Mixtures a split. A split that is not named gets one mixture for each `num_speakers` utterances if
        "train" is in its name, every utterance used once, and else 3,000, or as many as can be made.
    seed : int
        Same seed, same files, whatever the number of workers.
    workers : int, optional
        Threads; two if None and there are two cores.

    Returns
    -------
    files : dict of str to Path
        The CSV of each split.

    Raises
    ------
    FileNotFoundError
        Where a folder is missing.
    ValueError
        Where a split has too few speakers, or files that do not fit.

    Warns
    -----
    UserWarning
        Where utterances are left out, being silent or too short, and where fewer mixtures can be made than asked for.
    """
    if not isinstance(num_speakers, int) or num_speakers < 2:
        raise ValueError(f"make_metadata: num_speakers={num_speakers!r} must be an integer of at least 2")
    root, out_folder = Path(librispeech_folder).expanduser(), Path(out_folder).expanduser()
    counts = dict(num_mixtures or {})
    found = find_splits(root)
    for name in [*(splits or []), *counts]:
        if name not in found:
            near = difflib.get_close_matches(name, found, n=1, cutoff=0.0)
            raise ValueError(f"make_metadata: {root} has no split {name!r} with audio; did you mean {near[0]!r}?")
    sexes = read_sexes(root)
    files = {}
    for split in splits or sorted(found):
        speech = measure_speech(root, split, found[split], num_speakers, workers)
        noises = measure_noise(noise_folder, split, speech[0].sample_rate, workers)
        default = None if "train" in split else DEFAULT_COUNT
        rows = _mix(root, split, speech, noise_folder, noises, num_speakers, counts.get(split, default), seed, workers)
        files[split] = out_folder / f"libri{num_speakers}mix_{split}.csv"
        out_folder.mkdir(parents=True, exist_ok=True)
        _write(files[split].with_name(files[split].stem + "_info.csv"), _info_rows(rows, sexes, num_speakers))
        _write(files[split], _mixture_rows(rows, num_speakers))
    return files


def _mix(root, split, speech, noise_folder, noises, num_speakers, count, seed, workers):
    """One ``(clips, gains)`` a mixture; the noise, where there is one, comes last."""
    rng = random.Random(seed)
    sets = draw_sets([speaker_of(clip) for clip in speech], num_speakers, count, rng)
    if count is not None and len(sets) < count:
        warnings.warn(f"{split}: {count} mixtures wanted, {len(sets)} different ones can be made", stacklevel=3)
    chosen = [[speech[index] for index in indices] for indices in sets]
    if noises:
        needed = [max(clip.length for clip in clips) for clips in chosen]
        drawn = draw_noises(needed, [noise.length for noise in noises], rng)
        chosen = [[*clips, noises[index]] for clips, index in zip(chosen, drawn, strict=True)]
    # All draws come before the threads, so that their number changes nothing.
    targets = [
        [rng.uniform(*(SPEECH_LUFS if place < num_speakers else NOISE_LUFS)) for place in range(len(clips))]
        for clips in chosen
    ]

    def gains(job):
        clips, target = job
        return _gains(clips, target, num_speakers, root, noise_folder)

    return list(
        zip(chosen, in_threads(gains, zip(chosen, targets, strict=True), workers, f"Gains of {split}"), strict=True)
    )


def _gains(clips, targets, num_speakers, root, noise_folder):
    length = max(clip.length for clip in clips[:num_speakers])
    levels = [(clip.loudness, clip.peak) for clip in clips]
    noise = []
    for clip in clips[num_speakers:]:
        # What counts is the stretch of noise that is mixed, from the start.
        samples, rate = read_first_channel(Path(noise_folder).expanduser() / clip.path, length)
        noise.append(samples)
        heard = loudness(samples, rate)
        levels[-1] = (heard if heard > float("-inf") else clip.loudness, float(abs(samples).max()))

    def read():
        return [read_first_channel(root / clip.path)[0] for clip in clips[:num_speakers]] + noise

    gains = [normalising_gain(*level, target) for level, target in zip(levels, targets, strict=True)]
    return mixture_gains(gains, [peak for _, peak in levels], read)


def _mixture_rows(rows, num_speakers):
    columns = ["mixture_ID"]
    for source in range(1, num_speakers + 1):
        columns += [f"source_{source}_path", f"source_{source}_gain"]
    yield [*columns, "noise_path", "noise_gain"]
    for clips, gains in rows:
        row = [_mixture_id(clips[:num_speakers])]
        for clip, gain in zip(clips, gains, strict=True):
            row += [clip.path, repr(float(gain))]
        yield row if len(clips) > num_speakers else [*row, "", ""]


def _info_rows(rows, sexes, num_speakers):
    columns = ["mixture_ID"]
    for source in range(1, num_speakers + 1):
        columns += [f"speaker_{source}_ID", f"speaker_{source}_sex"]
    yield columns
    for clips, _ in rows:
        row = [_mixture_id(clips[:num_speakers])]
        for clip in clips[:num_speakers]:
            row += [speaker_of(clip), sexes.get(speaker_of(clip), "")]
        yield row


def _mixture_id(clips):
    return "_".join(Path(clip.path).stem for clip in clips)


def _write(path, rows):
    """Write a CSV under another name first: a killed run leaves no half file."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    with open(partial, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    os.replace(partial, path)


def _count(text):
    """Parse ``split=number``."""
    split, _, number = text.rpartition("=")
    if not split or not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form split=number, such as dev-clean=300")
    return split, int(number)


def main(arguments=None):
    """Run the command line; see ``--help``."""
    parser = argparse.ArgumentParser(
        prog="python -m sb_ext.data.metadata", description=make_metadata.__doc__.split("\n")[0]
    )
    parser.add_argument("librispeech_folder", metavar="LIBRISPEECH", help="split/speaker/chapter/*.flac")
    parser.add_argument("out_folder", metavar="OUT", help="gets the CSV files")
    parser.add_argument("--num_speakers", type=int, default=2, help="speakers a mixture (default: 2)")
    parser.add_argument("--noise_folder", help="WHAM's noise: {tr,cv,tt}/*.wav (default: no noise)")
    parser.add_argument("--splits", nargs="+", help="folders to do (default: all)")
    parser.add_argument(
        "--num_mixtures",
        nargs="+",
        type=_count,
        metavar="SPLIT=NUMBER",
        help="mixtures a split (default: training utterances once each, else 3000)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, help="threads (default: 2)")
    options = vars(parser.parse_args(arguments))
    options["num_mixtures"] = dict(options["num_mixtures"] or [])
    try:
        files = make_metadata(**options)
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(str(error)) from None
    for split, path in files.items():
        print(f"{split}: {path}")


if __name__ == "__main__":
    main()
