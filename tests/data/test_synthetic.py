"""The embedded corpus: voices, sentences, noise, folders built whole or not at all."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile as sf

from sb_ext.data.building import MARKER, build_once, in_threads
from sb_ext.data.embedded import SIZES, embedded_librimix
from sb_ext.data.espeak import ACCENTS, Voice, synthesize, variants
from sb_ext.data.sentences import sentence
from sb_ext.data.synthetic import SPLITS, make_corpus
from sb_ext.data.voiceprint import _FRAME, _PROBE_RATE, _pitch, measure
from sb_ext.data.voices import catalogue, distinct_voices, split_voices

FEW = dict(
    num_train=3, num_dev=2, num_test=2, train_utterances=2, dev_utterances=1, test_utterances=1,
    train_noises=3, dev_noises=1, test_noises=0, noise_seconds=2.0,
)  # fmt: skip


def digest(folder):
    """Contents of every file, by relative name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha1(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("few") / "corpus", **FEW, workers=2)


# Voices


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


# Corpus


def test_layout_is_librispeechs(corpus):
    for place, split in enumerate(SPLITS):
        files = sorted((corpus / "LibriSpeech" / split).glob("*/*/*.flac"))
        assert len(files) == [6, 2, 2][place]
        for path in files:
            speaker, chapter, number = path.stem.split("-")
            assert (path.parent.parent.name, path.parent.name, len(number)) == (speaker, chapter, 4)
            info = sf.info(path)
            assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
            assert 2.0 < info.duration < 10.0
    rows = (corpus / "LibriSpeech" / "SPEAKERS.TXT").read_text().splitlines()
    rows = [[field.strip() for field in row.split("|")] for row in rows if not row.startswith(";")]
    assert len(rows) == 7
    assert {row[1] for row in rows} <= {"F", "M"}
    assert "SYNTHETIC" in (corpus / "README.txt").read_text()


def test_speakers_of_the_splits_differ(corpus):
    speakers = [{path.name for path in (corpus / "LibriSpeech" / split).iterdir()} for split in SPLITS]
    assert len(set.union(*speakers)) == sum(map(len, speakers)) == 7


def test_noise_is_whams(corpus):
    files = sorted((corpus / "wham_noise").glob("*/*.wav"))
    assert [path.parent.name for path in files] == ["cv", "tr", "tr", "tr"]
    for path in files:
        noise, sample_rate = sf.read(path)
        assert (noise.shape, sample_rate) == ((32000, 2), 16000)
        assert 0.1 < np.abs(noise).max() <= 0.51
        # No stretch is silent: a mixture may take any.
        assert np.abs(noise.reshape(20, -1)).max(1).min() > 1e-3


def test_one_worker_makes_the_same_files(corpus, tmp_path):
    assert digest(make_corpus(tmp_path / "again", **FEW, workers=1)) == digest(corpus)


def test_closed_set_has_the_same_voices_and_other_sentences(tmp_path):
    few = dict(num_voices=2, train_utterances=3, dev_utterances=1, test_utterances=1)
    noises = dict(train_noises=0, dev_noises=0, test_noises=0)
    folder = make_corpus(tmp_path / "closed", **few, **noises, sample_rate=8000)
    speakers = [sorted(path.name for path in (folder / "LibriSpeech" / split).iterdir()) for split in SPLITS]
    assert speakers == [["1001", "1002"]] * 3
    files = list((folder / "LibriSpeech").rglob("*.flac"))
    assert len({path.name for path in files}) == len({sf.read(path)[0].tobytes() for path in files}) == 10
    assert len((folder / "LibriSpeech" / "SPEAKERS.TXT").read_text().splitlines()) == 2 + 2


def test_numbers_that_make_no_sense_are_errors(tmp_path):
    with pytest.raises(ValueError, match="num_dev=0 must be an integer of at least 1"):
        make_corpus(tmp_path / "none", num_dev=0)
    with pytest.raises(ValueError, match="noise_seconds"):
        make_corpus(tmp_path / "none", noise_seconds=0.1)
    with pytest.raises(ValueError, match="asks for 900 of 924 voices"):
        make_corpus(tmp_path / "none", num_train=900)
    assert list(tmp_path.iterdir()) == []


# Whole or not at all


def test_finished_folder_is_kept_and_other_settings_are_an_error(corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    assert make_corpus(corpus, **FEW) == corpus
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before
    with pytest.raises(FileExistsError, match="num_train: 3 there, 4 asked for"):
        make_corpus(corpus, **{**FEW, "num_train": 4})


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not made here"):
        make_corpus(tmp_path, **FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_failed_build_leaves_nothing(tmp_path):
    def build(folder):
        (folder / "half.txt").write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        build_once(tmp_path / "made", {}, build)
    assert list(tmp_path.iterdir()) == []


def test_killed_run_leaves_nothing_that_looks_complete(tmp_path):
    code = (
        "import sys, time; from sb_ext.data.building import build_once\n"
        "def build(folder):\n"
        "    (folder / 'half.txt').write_text('half'); print('begun', flush=True); time.sleep(60)\n"
        "build_once(sys.argv[1], {}, build)"
    )
    folder = tmp_path / "made"
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not folder.exists()
    assert len(list(tmp_path.glob(".made.partial-*"))) == 1
    build_once(folder, {}, lambda partial: (partial / "whole.txt").write_text("whole"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made"]
    assert sorted(path.name for path in folder.iterdir()) == [MARKER, "whole.txt"]


def test_two_builders_at_once_agree(tmp_path):
    def build(folder):
        (folder / "a.txt").write_text("a")
        if not (tmp_path / "made").exists():
            # The other process is faster.
            build_once(tmp_path / "made", {}, lambda partial: (partial / "a.txt").write_text("a"))

    assert build_once(tmp_path / "made", {}, build) == tmp_path / "made"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_an_error_stops_the_jobs_that_have_not_begun():
    begun = []

    def work(number):
        begun.append(number)
        time.sleep(0.005)
        if number == 1:
            raise RuntimeError("job 1")

    with pytest.raises(RuntimeError, match="job 1"):
        in_threads(work, range(500), workers=2, description=None)
    assert len(begun) < 100
    with pytest.raises(ValueError, match="workers=0"):
        in_threads(work, [], workers=0, description=None)


# Everything at once


def test_tiny_embedded_corpus_is_complete(tmp_path):
    folders = embedded_librimix(tmp_path / "tiny", num_speakers=2, size="tiny")
    for split, count in (("train-clean-100", 12), ("dev-clean", 4), ("test-clean", 4)):
        lines = (folders["metadata_folder"] / f"libri2mix_{split}.csv").read_text().splitlines()
        assert len(lines) == 1 + count
        for line in lines[1:]:
            _, first, _, second, _, noise, _ = line.split(",")
            assert (folders["librispeech_folder"] / first).exists()
            assert (folders["librispeech_folder"] / second).exists()
            assert (folders["noise_folder"] / noise).exists()
    # The speech is shared: more speakers need other metadata only.
    made = os.stat(folders["librispeech_folder"]).st_mtime_ns
    three = embedded_librimix(tmp_path / "tiny", num_speakers=5, size="tiny")
    assert os.stat(three["librispeech_folder"]).st_mtime_ns == made
    assert three["metadata_folder"].name == "Libri5Mix"
    with pytest.raises(FileExistsError, match="seed: 0 there, 1 asked for"):
        embedded_librimix(tmp_path / "tiny", size="tiny", seed=1)


def test_the_small_size_has_a_hundred_voices():
    small = SIZES["small"]
    assert small["num_train"] + small["num_dev"] + small["num_test"] >= 100
    assert small["num_train"] * small["train_utterances"] // 2 >= 1500
