"""More than 200 synthetic voices, and which of them to take.

A voice is one of eSpeak's variants (the vocal tract) with an accent, a pitch, a pitch range and a pace. How far apart
two voices are is measured on what they say.
"""

import functools
import random

import numpy as np

from sb_ext.data.espeak import ACCENTS, Voice, variant_folder, variants
from sb_ext.data.voiceprint import measure

# Two whispers and a breath have no pitch; "fast" is eSpeak's own test of unstable speeds; "Demonic" is a growl.
_NOT_VOICES = {"whisper", "whisperf", "caleb", "fast", "Demonic"}
_LOUDEST_ECHO = 20  # in 1/256 of the amplitude, -22 dB
# Three takes on each variant: lower, about as it is, higher. Most variants are low, so those go far up.
_TAKES_OF_LOW, _TAKES_OF_HIGH = (28, 52, 90), (20, 42, 62)


@functools.cache
def catalogue():
    """Return every voice on offer, measured: three of each usable variant. Takes two seconds, once.

    Variants that echo (a reference must be dry), whisper (no pitch) or are no voices at all are left out.

    Example
    -------
    >>> len(catalogue()) > 200
    True
    """
    usable = [name for name in variants() if name not in _NOT_VOICES and _settings(name)["echo"][1] <= _LOUDEST_ECHO]
    return tuple(measure(_dress(number, take, name)) for number, name in enumerate(usable) for take in range(3))


def _dress(number, take, variant):
    """One of three takes on a variant: lower, as it is, higher; accent, pace and liveliness go round."""
    low = sum(_settings(variant)["pitch"]) / 2 < 130
    return Voice(
        variant,
        accent=ACCENTS[(3 * number + take) % len(ACCENTS)],
        rate=135 + 15 * ((2 * number + take) % 4),
        pitch=(_TAKES_OF_LOW if low else _TAKES_OF_HIGH)[take],
        pitch_range=(35, 55, 75)[(number + take) % 3],
    )


def _settings(variant):
    """The two numbers behind ``pitch`` (lowest, highest, in Hz) and ``echo`` (ms, amplitude) in a variant's file."""
    settings = {"pitch": (82, 118), "echo": (0, 0)}  # eSpeak's defaults
    for line in (variant_folder() / variant).read_text(encoding="utf-8", errors="replace").splitlines():
        name, *numbers = line.split() or [""]
        if name in settings:
            settings[name] = tuple(int(number) for number in numbers[:2])
    return settings


def distinct_voices(count, candidates=None):
    """Choose the voices that differ most: each next one is the farthest from all chosen so far.

    Arguments
    ---------
    count : int
        How many voices.
    candidates : sequence of MeasuredVoice, optional
        Where to choose from; the whole catalogue if None.

    Returns
    -------
    chosen : list of MeasuredVoice
        The first is the one farthest from the average voice.

    Raises
    ------
    ValueError
        Where there are fewer candidates.

    Example
    -------
    >>> chosen = distinct_voices(5)
    >>> len({voice.voice.variant for voice in chosen})
    5
    """
    candidates = catalogue() if candidates is None else candidates
    if not 1 <= count <= len(candidates):
        raise ValueError(f"distinct_voices: count={count!r}, but there are {len(candidates)} voices to choose from")
    points = np.stack([candidate.point for candidate in candidates])
    chosen = [int(np.argmax(((points - points.mean(0)) ** 2).sum(1)))]
    nearest = ((points - points[chosen[0]]) ** 2).sum(1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(1))
    return [candidates[index] for index in chosen]


def split_voices(counts, seed=0):
    """Choose voices for several splits; no variant of eSpeak's speaks in two of them.

    Arguments
    ---------
    counts : dict of str to int
        Voices a split.
    seed : int
        Which variants go to which split.

    Returns
    -------
    voices : dict of str to list of MeasuredVoice
        The most different ones of each split's variants.

    Raises
    ------
    ValueError
        Where there are not enough voices.

    Example
    -------
    >>> voices = split_voices({"train": 8, "test": 3})
    >>> train, test = ({voice.voice.variant for voice in voices[split]} for split in ("train", "test"))
    >>> len(voices["test"]), train & test
    (3, set())
    """
    by_variant = {}
    for voice in catalogue():
        by_variant.setdefault(voice.voice.variant, []).append(voice)
    names = sorted(by_variant)
    random.Random(seed).shuffle(names)
    total = sum(counts.values())
    chosen = {}
    for split, count in counts.items():
        share = names[: max(1, round(len(by_variant) * count / total))]
        names = names[len(share) :]
        candidates = [voice for name in share for voice in by_variant[name]]
        if count > len(candidates):
            raise ValueError(
                f"split_voices: {split} asks for {count} of {total} voices and can have {len(candidates)}; "
                f"the catalogue has {len(catalogue())}: ask for fewer in all"
            )
        chosen[split] = distinct_voices(count, candidates)
    return chosen
