"""The stand-in for REAL-M: layout, truth beside it, determinism."""

import csv
import hashlib

import numpy as np
import pytest
import soundfile as sf

from sb_ext.data.realm_standin import MIXTURES, REFERENCES, make_realm_standin
from sb_ext.data.voices import split_voices


@pytest.fixture(scope="module")
def standin(tmp_path_factory):
    return make_realm_standin(tmp_path_factory.mktemp("realm") / "standin", num_mixtures=4, num_early=1, workers=2)


def wavs(folder):
    return sorted(folder.glob(f"{MIXTURES}/*/*.wav"))


def load(standin, path, name):
    return sf.read(standin / REFERENCES / path.parent.name / path.stem / f"{name}.wav")[0]


def test_layout_is_real_ms(standin):
    assert [path.name for path in wavs(standin)] == [
        "early_0000.wav",
        "room_0002.wav",
        "room_0001.wav",
        "room_0003.wav",
    ]
    for path in wavs(standin):
        info = sf.info(path)
        assert (info.samplerate, info.channels) == (8000, 1)
        assert 3.0 < info.duration < 12.0
    # Nothing but the recordings where REAL-M has nothing else.
    assert {path.suffix for path in (standin / MIXTURES).rglob("*") if path.is_file()} == {".wav"}
    assert "SYNTHETIC" in (standin / "README.txt").read_text()


def test_references_and_noise_add_up_to_the_mixture(standin):
    with open(standin / REFERENCES / "mixtures.csv", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    for path in wavs(standin):
        mixture = sf.read(path)[0]
        sources = load(standin, path, "source1") + load(standin, path, "source2")
        noise = mixture - sources
        measured = 10 * np.log10(np.mean(sources**2) / np.mean(noise**2))
        # The slow gain makes it differ a little from the ratio drawn.
        assert measured == pytest.approx(float(rows[f"{path.parent.name}/{path.stem}"]["snr_db"]), abs=1.5)
        assert 0.25 < np.abs(mixture).max() < 0.95


def test_anechoic_sources_are_aligned_with_the_reverberant_ones(standin):
    for path in wavs(standin):
        for number in (1, 2):
            wet, dry = load(standin, path, f"source{number}"), load(standin, path, f"anechoic{number}")
            size = 2 * len(wet)
            correlation = np.fft.irfft(np.fft.rfft(wet, size) * np.conj(np.fft.rfft(dry, size)), size)
            near = np.concatenate([correlation[-4:], correlation[:5]])
            # A reflection is never earlier than the direct sound, and seldom much stronger.
            assert near.max() > 0.5 * correlation.max()
            assert np.mean(wet**2) > np.mean(dry**2)


def test_the_band_is_a_telephones(standin):
    for path in wavs(standin):
        mixture = sf.read(path)[0]
        power = np.abs(np.fft.rfft(mixture)) ** 2
        hertz = np.fft.rfftfreq(len(mixture), 1 / 8000)
        inside = power[(hertz > 300) & (hertz < 3400)].sum()
        assert power[(hertz < 150) | (hertz > 3800)].sum() < 1e-3 * inside


def test_training_voices_do_not_speak(standin):
    train = {str(voice.voice) for voice in split_voices({"train": 80, "dev": 12, "test": 12}, 0)["train"]}
    with open(standin / REFERENCES / "mixtures.csv", newline="") as file:
        for row in csv.DictReader(file):
            assert row["voice_1"] != row["voice_2"]
            assert not {row["voice_1"], row["voice_2"]} & train
            assert 0.15 <= float(row["rt60_s"]) <= 0.5


def test_one_worker_makes_the_same_recordings(standin, tmp_path):
    again = make_realm_standin(tmp_path / "again", num_mixtures=4, num_early=1, workers=1)

    def digests(folder):
        return [hashlib.sha1(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*.*")) if path.is_file()]

    assert digests(again) == digests(standin)


def test_finished_stand_in_is_kept_and_mistakes_are_errors(standin, tmp_path):
    assert make_realm_standin(standin, num_mixtures=4, num_early=1) == standin
    with pytest.raises(FileExistsError, match="num_mixtures: 4 there, 5 asked for"):
        make_realm_standin(standin, num_mixtures=5, num_early=1)
    with pytest.raises(ValueError, match="num_early=3"):
        make_realm_standin(tmp_path / "none", num_mixtures=2, num_early=3)
