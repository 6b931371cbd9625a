"""LibriMix, mixed while it is read and read from a generated folder, against the public arithmetic written out."""

import importlib.util
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from librimix_corpus import TYPES, assert_same, generate, on_the_fly, read_table, table_of, write_table

from sb_ext.data.librimix import GeneratedLibriMix, OnTheFlyLibriMix, stores
from sb_ext.data.packed import PackedMixtures
from sb_ext.data.store import random_subset

DIGITS = Path(__file__).resolve().parents[4] / "shared" / "data" / "SpokenDigits"

# --- Equality ---


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("num_speakers", [2, 3])
@pytest.mark.parametrize("kind", TYPES)
def test_mixed_on_the_fly_equals_the_generated_folder(generated, rate, mode, num_speakers, kind):
    store = on_the_fly(generated, num_speakers, rate, mode, kind)
    written = GeneratedLibriMix(generated, "dev", num_speakers, rate, mode, kind)
    assert_same(store, written)
    folder = generated / f"Libri{num_speakers}Mix/wav{rate // 1000}k/{mode}/dev"
    parts = [kind] + [f"s{i + 1}" for i in range(store.num_sources)]
    for index, name in enumerate(store.ids):
        mixture, sources = store.read(index)
        for part, signal in zip(parts, [mixture, *sources], strict=True):
            expected, _ = soundfile.read(folder / part / f"{name}.wav", dtype="int16")
            np.testing.assert_array_equal(signal * 32768, expected)


def test_the_corpus_of_these_tests_clips_and_extends_noise(generated):
    store = on_the_fly(generated, kind="mix_both")
    assert max(store.read(i)[0].max() for i in range(len(store))) == np.float32(32767 / 32768)
    assert (store.noise.column("frames")[:, 0] < store.noise_needed).any()
    assert set(store.noise.headers[:, 2].tolist()) == {1, 2}


def public_script():
    path = os.environ.get("LIBRIMIX_SCRIPT", "")
    if not os.path.isfile(path):
        pytest.skip("LIBRIMIX_SCRIPT does not name LibriMix's create_librimix_from_metadata.py")
    spec = importlib.util.spec_from_file_location("public_librimix", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("num_speakers", [2, 3])
def test_equals_what_the_public_script_writes(corpus, tmp_path, rate, mode, num_speakers):
    script, pandas = public_script(), pytest.importorskip("pandas")
    parts = [f"s{i + 1}" for i in range(num_speakers)] + TYPES + ["noise"]
    folder = tmp_path / f"Libri{num_speakers}Mix/wav{rate // 1000}k/{mode}/dev"
    for part in parts:
        (folder / part).mkdir(parents=True)
    table = pandas.read_csv(table_of(corpus, num_speakers), engine="python")
    for _, row in table.iterrows():
        where = str(corpus / "speech"), str(corpus / "noise")
        script.process_utterance(num_speakers, *where, rate, mode, parts, str(folder), row)
    for kind in TYPES:
        store = on_the_fly(corpus, num_speakers, rate, mode, kind)
        assert_same(store, GeneratedLibriMix(tmp_path, "dev", num_speakers, rate, mode, kind))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    rate=st.sampled_from([8000, 16000]),
    mode=st.sampled_from(["min", "max"]),
    kind=st.sampled_from(TYPES),
)
def test_a_crop_is_a_slice_of_the_whole(generated, data, rate, mode, kind):
    opened = [on_the_fly(generated, 2, rate, mode, kind), GeneratedLibriMix(generated, "dev", 2, rate, mode, kind)]
    index = data.draw(st.integers(0, len(opened[0]) - 1))
    start, stop = sorted(data.draw(st.integers(0, int(opened[0].lengths[index]))) for _ in range(2))
    for store in opened:
        mixture, sources = store.read(index)
        part, part_sources = store.read(index, start, stop)
        np.testing.assert_array_equal(part, mixture[start:stop])
        np.testing.assert_array_equal(part_sources, sources[:, start:stop])


def test_speech_keeps_its_own_rate(tmp_path):
    rng = np.random.default_rng(1)
    signals = [rng.uniform(-0.5, 0.5, length).astype(np.float32) for length in (4000, 3000)]
    for name, signal in zip(("1-1-1", "2-1-1"), signals, strict=True):
        soundfile.write(tmp_path / f"{name}.flac", signal, 8000)
    row = {"mixture_ID": "1-1-1_2-1-1", "source_1_path": "1-1-1.flac", "source_1_gain": 0.5}
    row |= {"source_2_path": "2-1-1.flac", "source_2_gain": 1}
    store = OnTheFlyLibriMix(tmp_path, write_table(tmp_path / "own.csv", [row]))
    first, second = (soundfile.read(tmp_path / f"{name}.flac", dtype="float32")[0] for name in ("1-1-1", "2-1-1"))
    soundfile.write(tmp_path / "sum.wav", first[:3000] * 0.5 + second, 8000)
    np.testing.assert_array_equal(store.read(0)[0], soundfile.read(tmp_path / "sum.wav", dtype="float32")[0])


@pytest.mark.skipif(not DIGITS.is_dir(), reason="SpokenDigits is not there")
def test_real_speech(tmp_path):
    paths = sorted((DIGITS / "test-clean").rglob("*.flac"))
    pairs = [pair for pair in zip(paths, paths[len(paths) // 2 :], strict=False)][:5]
    rows = [
        {
            "mixture_ID": f"{left.stem}_{right.stem}",
            "source_1_path": left.relative_to(DIGITS).as_posix(), "source_1_gain": 0.9,
            "source_2_path": right.relative_to(DIGITS).as_posix(), "source_2_gain": 0.4,
        }
        for left, right in pairs
    ]  # fmt: skip
    store = OnTheFlyLibriMix(DIGITS, write_table(tmp_path / "digits.csv", rows))
    assert [speakers.tolist() for speakers in store.speakers] == sorted(
        [int(left.stem[:4]), int(right.stem[:4])] for left, right in pairs
    )
    for index, (left, right) in enumerate(sorted(pairs)):
        first, second = (soundfile.read(path, dtype="float32")[0] for path in (left, right))
        length = min(len(first), len(second))
        soundfile.write(tmp_path / "sum.wav", first[:length] * 0.9 + second[:length] * 0.4, 8000)
        np.testing.assert_array_equal(store.read(index)[0], soundfile.read(tmp_path / "sum.wav", dtype="float32")[0])


# --- What a store says of itself, and both ways in ---


def test_speakers_come_from_the_id_and_pickling_keeps_a_store(generated):
    store = on_the_fly(generated, num_speakers=3, kind="mix_single")
    assert store.speakers.shape == (len(store), 1)
    assert store.speakers[0].tolist() == [int(store.ids[0].split("-")[0])]
    assert_same(pickle.loads(pickle.dumps(store)), store)


def test_both_ways_in_draw_the_same_subset(generated):
    ways = on_the_fly(generated), GeneratedLibriMix(generated / "Libri2Mix", "dev")
    left, right = (random_subset(store, 0.5, seed=3) for store in ways)
    assert_same(left, right)


def test_mix_clean_never_touches_noise(corpus, tmp_path):
    rows = read_table(table_of(corpus))
    for row in rows:
        del row["noise_path"], row["noise_gain"]
    store = on_the_fly(corpus, metadata_csv=write_table(tmp_path / "clean.csv", rows))
    assert_same(store, on_the_fly(corpus))


def test_lengths_from_the_scripts_own_table(generated, tmp_path):
    generate(table_of(generated), generated / "speech", generated / "noise", tmp_path, 2, 8000, "min", ["mix_clean"])
    expected = GeneratedLibriMix(tmp_path, "dev")
    rows = [{"mixture_ID": name, "length": length} for name, length in zip(expected.ids, expected.lengths, strict=True)]
    table = write_table(tmp_path / "Libri2Mix/wav8k/min/metadata/mixture_dev_mix_clean.csv", rows[::-1])
    assert_same(GeneratedLibriMix(tmp_path, "dev"), expected)
    write_table(table, rows[1:])
    assert_same(GeneratedLibriMix(tmp_path, "dev"), expected)
    rows[2]["length"] += 1
    write_table(table, rows)
    stale = GeneratedLibriMix(tmp_path, "dev")
    with pytest.raises(ValueError, match=r"expected \d+ samples .*, found \d+ .*; replace the file"):
        stale.read(2, 0, 10)


@pytest.mark.parametrize("way", ["generated", "onthefly"])
def test_stores_open_and_pack_both_ways(generated, tmp_path, way):
    folders = {"data_folder": generated}
    if way == "onthefly":
        folders = {"librispeech_folder": generated / "speech", "metadata_folder": generated / "metadata"}
        folders["noise_folder"] = generated / "noise"
    splits = {"train_split": "dev", "valid_split": "dev", "test_split": "dev"}
    plain = stores(**folders, **splits, mixture_type="mix_both")
    packed = stores(**folders, **splits, mixture_type="mix_both", pack_folder=tmp_path)
    assert list(plain) == ["train", "valid", "test"] and isinstance(packed["test"], PackedMixtures)
    assert_same(packed["train"], plain["train"])
    assert (tmp_path / f"libri2mix_{way}_dev_8000_min_mix_both").is_dir()
