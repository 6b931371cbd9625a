"""A stand-in for SparseLibriMix's metadata, over any folder laid out as LibriSpeech, for 2 to 5 speakers and more.

As the public scripts do: turns that alternate between speakers, each starting before the last one has ended by a given
share of it, no speaker over itself, the same turns for all overlap ratios. They cut utterances at the pauses of a
forced alignment, which one's own folder has not; here a turn is a random stretch of an utterance.
"""

import json
import random
from pathlib import Path

import numpy as np
from tqdm import trange

from sb_ext.data.audio_files import AudioHeader, read_header, read_samples
from sb_ext.data.loudness import NOISE_LUFS, SPEECH_LUFS
from sb_ext.data.speech_folder import find_splits, measure_noise, measure_speech, speaker_of

OVERLAPS = ("0", "0.2", "0.4", "0.6", "0.8", "1")
TURN_SECONDS = (1.0, 2.5)
MOST_TURNS = 3
"""Of a speaker in a mixture."""
PAUSE_SECONDS = 0.05
"""Between turns that do not overlap."""
HEARD = 0.05
"""Of the utterance's peak, at least somewhere in a turn."""
SILENCE_SECONDS = (0.2, 0.5)
"""Before the first turn, and after the last one where there is noise."""


def make_sparse_metadata(
    librispeech_folder, out_folder, num_speakers, count, split="test-clean", noise_folder=None, seed=0
):
    """Write ``sparse_{num_speakers}_{overlap}/metadata.json`` for each overlap ratio.

    Arguments
    ---------
    librispeech_folder : str or Path
        ``split/speaker/chapter/*.flac`` (or wav).
    out_folder : str or Path
    num_speakers : int
        At least 2.
    count : int
        Mixtures of each overlap ratio.
    split : str
        The folder to take, to which the files are relative.
    noise_folder : str or Path, optional
        Laid out as WHAM's noise; each mixture then names a stretch of one.
    seed : int
        Same seed, same files.

    Raises
    ------
    FileNotFoundError
        Where a folder is missing.
    ValueError
        Where the split has fewer speakers than a mixture, or the noise is no use.
    """
    if num_speakers < 2:
        raise ValueError(f"make_sparse_metadata: num_speakers must be at least 2, received {num_speakers}")
    root = Path(librispeech_folder).expanduser()
    splits = find_splits(root)
    if split not in splits:
        raise ValueError(f"librispeech_folder: {root} has no {split!r} with audio; found {', '.join(splits)}")
    speech = [clip for clip in measure_speech(root, split, splits[split], num_speakers) if _seconds(clip) > 0.5]
    noises = measure_noise(noise_folder, split, speech[0].sample_rate)
    rng = random.Random(f"{seed} {num_speakers}")
    by_speaker = {}
    for clip in speech:
        by_speaker.setdefault(speaker_of(clip), []).append(clip)
    drawn = [_draw_turns(rng, root, by_speaker, num_speakers) for _ in trange(count, desc="Turns", leave=False)]
    endings = [(rng.uniform(*SILENCE_SECONDS), rng.random(), rng.uniform(*NOISE_LUFS)) for _ in drawn]
    for overlap in OVERLAPS:
        mixtures = []
        for number, (turns, ending) in enumerate(zip(drawn, endings, strict=True), 1):
            placed = _place(turns, float(overlap))
            mixture = {"mixture_name": f"mix_{number:07d}"}
            for turn in placed:
                mixture.setdefault(turn["source"], []).append(turn)
            if noises:
                mixture["noise"] = [_noise(noises, max(turn["stop"] for turn in placed), *ending)]
            mixtures.append(mixture)
        folder = Path(out_folder, f"sparse_{num_speakers}_{overlap}")
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_text(json.dumps(mixtures, indent=1) + "\n", encoding="utf-8")


def _seconds(clip):
    return clip.length / clip.sample_rate


def _draw_turns(rng, root, by_speaker, num_speakers):
    """The turns of a conversation in their order, without times: none follows one of the same speaker, if it can be."""
    left = []
    for speaker in rng.sample(sorted(by_speaker), num_speakers):
        turns = []
        while not turns:
            turns = _cut(rng, root, rng.choice(by_speaker[speaker]))
        left.append(turns)
    for source, turns in enumerate(left, 1):
        for turn in turns:
            turn["source"] = f"s{source}"
    order, last = [], None
    while any(left):
        ready = [place for place, turns in enumerate(left) if turns]
        others = [place for place in ready if place != last]
        last = rng.choice(others or ready) if order else 0
        order.append(left[last].pop(0))
    return [{**turn, "sub_utt_num": number} for number, turn in enumerate(order)]


def _cut(rng, root, clip):
    """Up to three stretches of an utterance, in their order, with levels of their own; none where all are silent."""
    path, whole, turns = Path(clip.path), _seconds(clip), []
    at = rng.uniform(0, max(0.0, whole - MOST_TURNS * TURN_SECONDS[1]))
    for _ in range(rng.randint(1, MOST_TURNS)):
        until = min(whole, at + rng.uniform(*TURN_SECONDS))
        if turns and until - at < TURN_SECONDS[0]:
            break
        turn = {
            "file": "/".join(path.parts[1:]), "words": [], "spk_id": path.parts[1], "chapter_id": path.parts[2],
            "utt_id": path.stem, "orig_start": round(at, 3), "orig_stop": round(until, 3),
            "lvl": rng.uniform(*SPEECH_LUFS),
        }  # fmt: skip
        if _is_heard(root / path, clip, turn):
            turns.append(turn)
        at = until
    return turns


def _is_heard(path, clip, turn):
    """Whether a stretch is no pause, which could not be brought to any loudness."""
    header = AudioHeader(clip.length, clip.sample_rate, read_header(path).channels)
    first, last = (int(turn[key] * clip.sample_rate) for key in ("orig_start", "orig_stop"))
    return np.abs(read_samples(path, header, first, min(last, clip.length))).max() > HEARD * clip.peak


def _place(turns, overlap):
    """The turns with the times at which they start and stop in the mixture."""
    placed, ends = [], {}
    for turn in turns:
        if not placed:
            start = SILENCE_SECONDS[0]
        elif overlap == 0:
            start = max(ends.values()) + PAUSE_SECONDS
        else:
            last = placed[-1]
            start = last["stop"] - overlap * (last["stop"] - last["start"])
        start = round(max(start, ends.get(turn["source"], 0.0) + PAUSE_SECONDS), 3)
        stop = round(start + turn["orig_stop"] - turn["orig_start"], 3)
        placed.append({**turn, "start": start, "stop": stop})
        ends[turn["source"]] = stop
    return placed


def _noise(noises, end, silence, where, level):
    """A stretch of a noise that is long enough, or of the longest, up to some silence after the last word."""
    needed = end + silence
    enough = [noise for noise in noises if _seconds(noise) > needed] or [max(noises, key=_seconds)]
    noise = enough[int(where * len(enough))]
    start = round(where * max(0.0, _seconds(noise) - needed), 3)
    times = {"start": 0, "stop": needed, "orig_start": start, "orig_stop": start + needed}
    return {"file": noise.path.split("/", 1)[1], **times, "lvl": level, "source": "noise", "channel": 0}
