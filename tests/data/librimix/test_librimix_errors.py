"""LibriMix that is faulty or not whole: what the errors say."""

import numpy as np
import pytest
import soundfile
from librimix_corpus import generate, on_the_fly, read_table, table_of, write_table

from sb_ext.data.librimix import GeneratedLibriMix, stores


def changed(corpus, tmp_path, row=0, **values):
    rows = read_table(table_of(corpus))
    rows[row] |= values
    return write_table(tmp_path / "changed.csv", rows)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"source_2_path": "dev-clean/none.flac"},
            r"1 of the \d+ files .* missing, first .*none.flac; mixture .* needs the first",
        ),
        ({"source_1_path": ""}, "line 2: source_1_path is empty"),
        ({"source_1_gain": "loud"}, "line 2: source_1_gain: expected a number, received 'loud'"),
        ({"mixture_ID": "19-1-1"}, "names 1 utterances, expected 2"),
        ({"mixture_ID": "ann-1-1_bob-1-1"}, r"each SPEAKER a number .*'ann', 'bob'"),
    ],
)
def test_faulty_metadata_is_named(corpus, tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        on_the_fly(corpus, metadata_csv=changed(corpus, tmp_path, **values))


def test_an_id_that_occurs_twice_is_named(corpus, tmp_path):
    other = read_table(table_of(corpus))[1]["mixture_ID"]
    with pytest.raises(ValueError, match=f"{other} occurs more than once"):
        on_the_fly(corpus, metadata_csv=changed(corpus, tmp_path, mixture_ID=other))


def test_a_table_without_the_columns(corpus, tmp_path):
    with pytest.raises(ValueError, match="source_3_path, source_3_gain are missing"):
        on_the_fly(corpus, num_speakers=3, metadata_csv=table_of(corpus, 2))
    with pytest.raises(ValueError, match="expected the columns of LibriMix's metadata, .*found a, b"):
        on_the_fly(corpus, metadata_csv=write_table(tmp_path / "other.csv", [{"a": 1, "b": 2}]))


def test_noise_that_cannot_serve(corpus, tmp_path):
    with pytest.raises(ValueError, match="noise_folder: mixture_type mix_both needs"):
        on_the_fly(corpus, kind="mix_both", noise_folder="")
    with pytest.raises(ValueError, match="missing, first .*none.wav"):
        on_the_fly(corpus, kind="mix_both", metadata_csv=changed(corpus, tmp_path, noise_path="none.wav"))
    # The public script never comes to an end on 8001 samples: each round adds none.
    soundfile.write(tmp_path / "tiny.wav", np.zeros(8001), 16000)
    table = changed(corpus, tmp_path, noise_path=str(tmp_path / "tiny.wav"))
    with pytest.raises(ValueError, match="8001 samples of noise .* cannot be extended to .*at least 8002"):
        on_the_fly(corpus, kind="mix_both", metadata_csv=table)


def test_speech_must_be_mono_and_audio(corpus, tmp_path):
    soundfile.write(tmp_path / "two.wav", np.zeros((9000, 2)), 16000)
    with pytest.raises(ValueError, match="two.wav: expected speech in 1 channel"):
        on_the_fly(corpus, metadata_csv=changed(corpus, tmp_path, source_1_path=str(tmp_path / "two.wav")))
    (tmp_path / "text.flac").write_text("no audio")
    with pytest.raises(ValueError, match="text.flac: cannot be read as audio"):
        on_the_fly(corpus, metadata_csv=changed(corpus, tmp_path, source_1_path=str(tmp_path / "text.flac")))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"mode": "median"}, "mode: expected one of min, max, received 'median'"),
        ({"mixture_type": "mix_dirty"}, "mixture_type: expected one of .* received 'mix_dirty'"),
        ({"num_speakers": 0}, "num_speakers must be at least 1, received 0"),
        ({"data_folder": None}, "received none of them"),
        ({"metadata_folder": "metadata"}, "received data_folder, metadata_folder"),
        ({"train_split": "train-9"}, "holds no Libri2Mix/wav8k/min/train-9; found Libri2Mix/wav16k/max/dev, "),
        ({"sample_rate": 44100}, "holds no Libri2Mix/wav44k/min/train-360; found Libri2Mix/wav16k/max/dev, "),
    ],
)
def test_settings_are_checked(generated, setting, message):
    with pytest.raises(ValueError, match=message):
        stores(**({"data_folder": generated} | setting))


def test_a_split_without_metadata_lists_what_was_found(corpus):
    with pytest.raises(ValueError, match=r"no libri2mix_\*.csv for the split 'train-360'; found dev"):
        stores(librispeech_folder=corpus / "speech", metadata_folder=corpus / "metadata")


def test_generated_folders_that_are_not_whole(corpus, tmp_path):
    generate(table_of(corpus), corpus / "speech", corpus / "noise", tmp_path, 2, 8000, "min", ["mix_clean"])
    folder = tmp_path / "Libri2Mix/wav8k/min/dev"
    with pytest.raises(ValueError, match="mix_both is missing or holds no wav .* mix_clean, noise, s1, s2"):
        GeneratedLibriMix(tmp_path, "dev", mixture_type="mix_both")
    first = sorted(path.name for path in (folder / "s2").iterdir())[0]
    audio, _ = soundfile.read(folder / "s2" / first)
    soundfile.write(folder / "s2" / first, audio[:-1], 8000)
    with pytest.raises(ValueError, match=rf"s2/{first}: expected {len(audio)} samples .* found {len(audio) - 1}"):
        GeneratedLibriMix(tmp_path, "dev")
    soundfile.write(folder / "s2" / first, audio, 16000)
    with pytest.raises(ValueError, match=f"s2/{first}: expected 8000 Hz, found 16000 Hz"):
        GeneratedLibriMix(tmp_path, "dev")
    (folder / "s2" / first).unlink()
    with pytest.raises(ValueError, match=f"s2/{first}, a reference, is missing, and 0 more"):
        GeneratedLibriMix(tmp_path, "dev")


def test_a_slice_outside_the_mixture(generated):
    store = GeneratedLibriMix(generated, "dev")
    with pytest.raises(
        ValueError, match=f"has {store.lengths[0]} samples, received the slice 5:{store.lengths[0] + 1}"
    ):
        store.read(0, 5, int(store.lengths[0]) + 1)
    with pytest.raises(IndexError, match="index 99 of"):
        store.read(99)
