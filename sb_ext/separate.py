"""The command ``python -m sb_ext.separate MODEL FILE … --out DIR``: recordings into one file a speaker."""

import argparse
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import soundfile
from tqdm import tqdm

from sb_ext.chunking import CHUNK_SECONDS, OVERLAP_SECONDS
from sb_ext.inference import load_separator
from sb_ext.streams import MixtureFile, as_arrays, resampled, write_tracks

SUFFIXES = {f".{kind.lower()}" for kind in soundfile.available_formats()} - {".raw"} | {".aif", ".oga", ".opus"}
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of audio [{elapsed}<{remaining}{postfix}]"


def main(argv=None):
    """Separate recordings; gives the exit code, 1 where one of them could not be separated."""
    options = _options(argv)
    try:
        recordings = find_recordings(options.files, options.out)
        separate, sample_rate = load_separator(options.model, options.device, options.trust)
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from None
    mixtures, failed, began = {}, [], time.perf_counter()
    for path, name in recordings.items():
        with _reporting(path, failed):
            mixtures[name] = MixtureFile(path, sample_rate)
    keep = {path.resolve() for path in recordings}
    samples = sum(mixture.length for mixture in mixtures.values())
    with tqdm(total=samples, unit_scale=1 / sample_rate, desc="Separating", bar_format=BAR) as bar:
        for name, mixture in mixtures.items():
            bar.set_postfix_str(mixture.path.name)
            with _reporting(mixture.path, failed):
                separate_recording(separate, mixture, Path(options.out, name), options, keep, bar)
        seconds = bar.n / sample_rate
    speed = seconds / (time.perf_counter() - began)
    print(f"Separated {len(recordings) - len(failed)} of {len(recordings)} recordings into {options.out}: ", end="")
    print(f"{timedelta(seconds=round(seconds))} of audio, {speed:.1f} times as fast as real time")
    if failed:
        print(f"Not separated: {', '.join(map(str, failed))}", file=sys.stderr)
    return int(bool(failed))


def separate_recording(separate, mixture, stem, options, keep, bar):
    """Write ``<stem>_s1.wav`` and so on, a chunk at a time.

    Arguments
    ---------
    separate : callable
        ``[1, T]`` to ``[1, C, T]``.
    mixture : sb_ext.streams.MixtureFile
    stem : Path
    options : argparse.Namespace
        ``chunk_seconds``, ``overlap_seconds``, ``num_sources``, ``original_rate`` and ``pcm16``.
    keep : set of Path
        Files that must not be overwritten.
    bar : tqdm
        Goes on by each sample of the mixture.
    """
    chunks = (options.chunk_seconds, options.overlap_seconds)
    chooses_count = getattr(separate, "chooses_count", False)
    blocks = _watched(as_arrays(mixture.separated(separate, *chunks, options.num_sources, chooses_count)), bar)
    length, rate = mixture.length, mixture.sample_rate
    if options.original_rate:
        length, rate = mixture.header[:2]
        blocks = resampled(blocks, mixture.length, mixture.sample_rate, rate, length)
    subtype = "PCM_16" if options.pcm16 else "FLOAT"
    paths, beyond = write_tracks(blocks, length, rate, stem, subtype, keep)
    if options.pcm16 and beyond:
        bar.write(f"{paths[0]} and the like: {beyond} samples were clipped; without --pcm16 none is", file=sys.stderr)


def _watched(blocks, bar):
    for block in blocks:
        yield block
        bar.update(len(block))


def find_recordings(words, out):
    """The recordings that are meant by file and folder names, each with the name of its tracks.

    Arguments
    ---------
    words : list of str
        Of a folder, all audio files below it are taken.
    out : str
        Where the tracks go; what lies there is no recording.

    Returns
    -------
    dict
        Path to name, which has no suffix; below a folder, it keeps the path. A name that is taken gets a number.

    Raises
    ------
    ValueError
        If a folder holds no audio, or is where the tracks go.

    Example
    -------
    >>> list(find_recordings(["a/talk.wav", "b/talk.flac", "a/talk.wav"], "out").values())
    ['talk', 'talk-2']
    """
    out, named = Path(out).resolve(), {}
    for word in map(Path, words):
        if not word.is_dir():
            named.setdefault(word, Path(word.name))
            continue
        if word.resolve() == out:
            raise ValueError(f"--out: {word} is the folder of the recordings; give another one")
        below = [path for path in sorted(word.rglob("*")) if _is_audio(path) and out not in path.resolve().parents]
        if not below:
            raise ValueError(f"{word}: holds no audio files ({', '.join(sorted(SUFFIXES))})")
        named |= {path: path.relative_to(word) for path in below if path not in named}
    recordings = {}
    for path, name in named.items():
        number, stem = 1, str(name.with_suffix(""))
        unique = stem
        while unique in recordings.values():
            number += 1
            unique = f"{stem}-{number}"
        recordings[path] = unique
    return recordings


def _is_audio(path):
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


@contextmanager
def _reporting(path, failed):
    """Say why a recording is left out, and go on with the next."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        words = str(error).partition("\n")[0]
        words = words if str(path) in words else f"{path}: {words}"
        hint = "; set --chunk_seconds to less" if "memory" in words else ""
        tqdm.write(f"{words}{hint}", file=sys.stderr)
        failed.append(path)


def _options(argv):
    parser = argparse.ArgumentParser(
        prog="python -m sb_ext.separate",
        description="Separate recordings of any length, rate and number of channels into one WAV file a speaker.",
        epilog="The tracks are 32-bit float, at the model's sample rate and the mixture's level: nothing is clipped or "
        "scaled, and the tracks of a model whose masks add up to one add up to the mixture, its channels averaged. "
        "Their order is kept throughout a recording, and means nothing from one recording to the next.",
    )
    parser.add_argument("model", help="an experiment's output folder, a model folder, or a hub name (SepFormer too)")
    parser.add_argument("files", nargs="+", metavar="FILE", help="recordings, or folders of them, to any depth")
    parser.add_argument("--out", required=True, help="folder for <name>_s1.wav, <name>_s2.wav, ...")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    parser.add_argument(
        "--chunk_seconds", type=float, default=CHUNK_SECONDS, help="separated at once (default: %(default)s)"
    )
    parser.add_argument(
        "--overlap_seconds", type=float, default=OVERLAP_SECONDS, help="shared by two chunks (default: %(default)s)"
    )
    parser.add_argument(
        "--num_sources", type=int, help="speakers, for a model that separates any number (default: it counts them)"
    )
    parser.add_argument("--original_rate", action="store_true", help="write at the recording's own sample rate")
    parser.add_argument("--pcm16", action="store_true", help="write 16-bit PCM, clipped at full scale")
    parser.add_argument("--trust", action="store_true", help="let the model's YAML name, and so run, any code")
    options = parser.parse_args(argv)
    if not 0 < options.overlap_seconds <= options.chunk_seconds / 2:
        parser.error(f"--overlap_seconds: expected more than 0 and at most {options.chunk_seconds / 2}, half a chunk")
    if options.num_sources is not None and options.num_sources < 1:
        parser.error(f"--num_sources: expected at least 1, received {options.num_sources}")
    return options


if __name__ == "__main__":
    sys.exit(main())
