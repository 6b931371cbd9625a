"""Mixing lists like wsj0-mix's for any folder laid out as LibriSpeech."""

import random
from pathlib import Path

from sb_ext.data.pairing import draw_sets
from sb_ext.data.speech_folder import check_names, find_splits, measure_speech, speaker_of

MOST_DB = 5.0
"""Two speakers are 0 to 5 dB apart, as in wsj0-mix."""


def make_mixing_lists(librispeech_folder, out_folder, num_speakers, splits, counts=None, seed=0):
    """Write ``mix_{num_speakers}_spk_{tr,cv,tt}.txt``.

    As in wsj0-mix, the speakers of a mixture come in pairs, one as many dB louder as the other one is softer, and an
    odd one stays as it is.

    Arguments
    ---------
    librispeech_folder : str or Path
        ``split/speaker/chapter/*.flac`` (or wav), to which the paths are relative.
    out_folder : str or Path
    num_speakers : int
    splits : dict of str to str
        ``tr``, ``cv`` or ``tt`` to the folder it is made of.
    counts : dict of str to int, optional
        How many mixtures a split; one not named uses each utterance once.
    seed : int
        Same seed, same files.

    Raises
    ------
    FileNotFoundError
        Where the folder is missing.
    ValueError
        Where a split is missing or has fewer speakers than a mixture, or files are not named after their speaker.
    """
    root, rng = Path(librispeech_folder).expanduser(), random.Random(f"{seed} {num_speakers}")
    found = find_splits(root)
    for split, name in splits.items():
        if name not in found:
            raise ValueError(f"librispeech_folder: {root} has no {name!r} with audio; found {', '.join(found)}")
        check_names(found[name])
        speech = measure_speech(root, name, found[name], num_speakers)
        sets = draw_sets([speaker_of(clip) for clip in speech], num_speakers, (counts or {}).get(split), rng)
        lines = [_line([speech[place].path for place in places], rng) for places in sets]
        text = "\n".join(lines) + "\n"
        Path(out_folder, f"mix_{num_speakers}_spk_{split}.txt").write_text(text, encoding="utf-8")


def _line(paths, rng):
    apart = [round(rng.uniform(0, MOST_DB) / 2, 5) for _ in range(len(paths) // 2)]
    gains = [gain for half in apart for gain in (half, -half)] + [0] * (len(paths) % 2)
    return " ".join(f"{path} {gain}" for path, gain in zip(paths, gains, strict=True))
