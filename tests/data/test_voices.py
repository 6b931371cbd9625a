"""The voices of the embedded corpus, and what they say."""

import hashlib
import random
import subprocess
import sys

import numpy as np
import pytest

from sb_ext.data.building import in_threads
from sb_ext.data.espeak import ACCENTS, Voice, synthesize, variants
from sb_ext.data.sentences import sentence
from sb_ext.data.voiceprint import _FRAME, _PROBE_RATE, _pitch, measure
from sb_ext.data.voices import catalogue, distinct_voices, split_voices


def test_speech_is_the_same_whatever_was_said_before():
    # eSpeak keeps static state from one utterance to the next; every kind of voice once, formant and Klatt, breathy.
    kinds = [Voice(name, accent=ACCENTS[3]) for name in ("Andy", "caleb", "f3", "klatt4", "Reed", "grandma")]
    before = [synthesize("Seven quiet owls.", voice) for voice in kinds]
    synthesize("Something else altogether, and longer.", Voice("Demonic"))
    for voice, expected in zip(reversed(kinds), reversed(before), strict=True):
        np.testing.assert_array_equal(synthesize("Seven quiet owls.", voice), expected)


def test_speech_is_the_same_in_another_process():
    code = (
        "import hashlib; from sb_ext.data.espeak import *;"
        "print(hashlib.sha1(synthesize('Hello there.', Voice('f1')).tobytes()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == hashlib.sha1(synthesize("Hello there.", Voice("f1")).tobytes()).hexdigest()


def test_threads_do_not_disturb_each_other():
    voices = [Voice(name) for name in variants()[:12]]
    alone = [synthesize("One two three.", voice) for voice in voices]
    together = in_threads(lambda voice: synthesize("One two three.", voice), voices, workers=4, description=None)
    for first, second in zip(alone, together, strict=True):
        np.testing.assert_array_equal(first, second)


def test_no_two_voices_sound_alike():
    voices = catalogue()
    said = {synthesize("Good morning.", voice.voice).tobytes() for voice in voices}
    assert len(said) == len(voices) >= 100
    assert 0.2 < np.mean([voice.sex == "F" for voice in voices]) < 0.6


def test_no_voice_clips():
    for voice in catalogue()[::6]:
        assert np.abs(synthesize("Pass the butter, Bob.", voice.voice).astype(int)).max() < 32767


@pytest.mark.parametrize("variant", ["f1", "m3", "klatt4"])
def test_measured_pitch_follows_the_pitch_asked_for(variant):
    low, high = (measure(Voice(variant, pitch=pitch)).pitch_hz for pitch in (25, 75))
    assert 0.5 < np.log2(high / low) < 1.0


def test_pitch_of_a_known_tone():
    seconds = np.arange(_FRAME) / _PROBE_RATE
    for hertz in (80.0, 150.0, 390.0):
        tone = sum(np.sin(2 * np.pi * k * hertz * seconds) / k for k in range(1, 8))
        power = np.abs(np.fft.rfft(tone * np.hanning(_FRAME), 2 * _FRAME)) ** 2
        pitch, clear = _pitch(power[None])
        assert clear.all()
        assert pitch[0] == pytest.approx(hertz, rel=0.04)


def test_distinct_voices_are_farther_apart_than_random_ones():
    def closest(voices):
        points = np.stack([voice.point for voice in voices])
        return np.linalg.norm(points[:, None] - points[None], axis=-1)[np.triu_indices(len(points), 1)].min()

    rng = random.Random(0)
    chance = [closest(rng.sample(catalogue(), 5)) for _ in range(50)]
    assert closest(distinct_voices(5)) > max(chance)


def test_splits_share_no_variant_of_espeak():
    voices = split_voices({"train": 80, "dev": 12, "test": 12}, seed=3)
    variants_of = {split: {voice.voice.variant for voice in chosen} for split, chosen in voices.items()}
    assert [len(chosen) for chosen in voices.values()] == [80, 12, 12]
    assert not variants_of["train"] & variants_of["dev"]
    assert not variants_of["train"] & variants_of["test"]
    assert not variants_of["dev"] & variants_of["test"]
    assert split_voices({"train": 4}, seed=3) != split_voices({"train": 2, "dev": 2}, seed=4)


def test_voices_that_do_not_exist_are_errors():
    with pytest.raises(ValueError, match="variant='f9'.*did you mean 'f"):
        synthesize("Hello.", Voice("f9"))
    with pytest.raises(ValueError, match="accent='en-mars'.*en-us"):
        synthesize("Hello.", Voice("f1", accent="en-mars"))
    with pytest.raises(ValueError, match="pitch=120 must lie between 0 and 99"):
        synthesize("Hello.", Voice("f1", pitch=120))
    with pytest.raises(ValueError, match="nothing to say"):
        synthesize(" ", Voice("f1"))
    with pytest.raises(ValueError, match="count=1000"):
        distinct_voices(1000)
    with pytest.raises(ValueError, match="train asks for 400 of 400"):
        split_voices({"train": 400})


# Sentences


def test_sentences_are_varied_and_plain():
    rng = random.Random(1)
    made = [sentence(rng, 50) for _ in range(3000)]
    assert len(set(made)) > 2990
    assert len({word for text in made for word in text.lower().split()}) > 600
    assert not any("{" in text or "  " in text for text in made)
    assert all(text.endswith(".") and len(text) >= 50 for text in made)
