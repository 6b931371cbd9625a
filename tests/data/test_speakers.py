"""Utterances of single speakers: which there are, how they are halved and repeated, what is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sb_ext.data.speakers import SpeakerUtterances, prepare_speakers
from sb_ext.data.store import MixtureStore

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


class Ramp(MixtureStore):
    """Samples that tell where they are from: 1000 times the utterance, plus the place in it."""

    def __init__(self, lengths):
        super().__init__([f"{place}.wav" for place in range(len(lengths))], np.array(lengths), None, 8000, 0)

    def _read(self, index, start, stop):
        return np.arange(1000 * index + start, 1000 * index + stop, dtype=np.float32), None


@pytest.fixture
def folder(tmp_path):
    """Two speakers a split, one of them with a single utterance, a second of noise each."""
    rng = np.random.default_rng(0)
    for split in ("train-clean-100", "dev-clean", "test-clean"):
        for speaker, count in (("17", 1), ("4", 3)):
            place = tmp_path / "Speech" / split / speaker / "0"
            place.mkdir(parents=True)
            for number in range(count):
                soundfile.write(place / f"{speaker}-0-{number}.flac", 0.1 * rng.standard_normal(8000), 8000)
    return tmp_path


def hparams(folder, **more):
    values = {"librispeech_folder": str(folder / "Speech"), "corpora_folder": str(folder / "cache"), "pack": True}
    values |= {"train_split": "train-100", "valid_split": "dev", "test_split": "test", "sample_rate": 16000}
    return {**values, "segment_seconds": 0.5, "valid_segment_seconds": 0.75, "num_classes": 2, **more}


@settings(deadline=None)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=6), st.booleans(), st.integers(1, 30), st.data())
def test_every_sample_is_once_in_a_piece_and_then_repeats(lengths, halve, least, data):
    speakers = [data.draw(st.sampled_from("abc")) for _ in lengths]
    store = pickle.loads(pickle.dumps(SpeakerUtterances(Ramp(lengths), speakers, halve, least)))
    assert len(set(store.ids)) == len(store) and all(length >= least for length in store.lengths)
    names = sorted(set(speakers))
    for place, length in enumerate(lengths):
        alone = halve and speakers.count(speakers[place]) == 1
        pieces = [index for index in range(len(store)) if store.ids[index].split("#")[0] == f"{place}.wav"]
        assert len(pieces) == (2 if alone else 1)
        assert {names[store.speakers[index, 0]] for index in pieces} == {speakers[place]}
        real = length // len(pieces)
        for number, index in enumerate(pieces):
            once = 1000 * place + number * real + np.arange(real)
            read = store.read(index)[0]
            assert len(read) == max(real, least)
            np.testing.assert_array_equal(read, np.resize(once, len(read)))
            start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(read))] * 2)))
            np.testing.assert_array_equal(store.read(index, start, stop)[0], read[start:stop])


@pytest.mark.parametrize("pack", [True, False])
def test_what_a_folder_gives(folder, pack):
    made = prepare_speakers(hparams(folder, pack=pack))
    assert made["train"].speakers[:, 0].tolist() == [0, 1, 1, 1] and made["train"].lengths.tolist() == [16000] * 4
    assert made["valid"].speakers[:, 0].tolist() == [0, 0, 1, 1, 1]
    assert made["valid"].lengths.tolist() == [12000, 12000, 16000, 16000, 16000], "a half of 8,000 is repeated"
    assert made["description"] == "utterances of Speech, 2 training speakers"
    samples, sources = made["test"].read(1)
    whole = np.resize(made["test"].store.read(0)[0][8000:], 12000)
    np.testing.assert_array_equal(samples, whole)
    assert sources is None


def test_too_many_speakers_for_the_classes(folder):
    with pytest.raises(ValueError, match="num_classes: 1 is less than the 2 training speakers; set --num_classes 2"):
        prepare_speakers(hparams(folder, num_classes=1))


def test_batches_of_one_are_refused(folder):
    with pytest.raises(ValueError, match="batch_size: batch norms need two utterances or more, received 1"):
        prepare_speakers(hparams(folder, batch_size=1))


def test_known_speakers_in_a_validation_are_said(folder, caplog):
    (folder / "Speech/dev-clean/17").rename(folder / "Speech/dev-clean/18")
    for speaker in ("4", "17"):
        (folder / "Speech/test-clean" / speaker).rename(folder / "Speech/test-clean" / f"9{speaker}")
    prepare_speakers(hparams(folder, pack=False))
    assert "valid_split: 1 of 2 speakers are the training's too" in caplog.text and "test_split" not in caplog.text


def test_an_unknown_split_is_named(folder):
    with pytest.raises(ValueError, match="valid_split: expected one of .*dev-clean.*did you mean 'dev-clean'"):
        prepare_speakers(hparams(folder, valid_split="dev-cleen"))


@pytest.mark.parametrize(
    "name, train, test", [("LibriSpeechMini", (201, 201), (48, 24)), ("SpokenDigits", (274, 6), (62, 6))]
)
def test_real_speech_of_both_kinds(name, train, test, tmp_path):
    if not (REAL / name).is_dir():
        pytest.skip(f"{name} is not here")
    made = prepare_speakers(
        hparams(tmp_path, librispeech_folder=str(REAL / name), pack=False, num_classes=251, sample_rate=8000)
    )
    assert (len(made["train"]), made["train"].num_speakers) == train
    assert (len(made["test"]), made["test"].num_speakers) == test
    assert np.isfinite(made["test"].read(len(made["test"]) - 1)[0]).all()
