"""LibriMix, mixed while it is read and read from a generated folder, against the public arithmetic written out."""

import csv
import importlib.util
import itertools
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from sb_ext.data.librimix import GeneratedLibriMix, OnTheFlyLibriMix, stores
from sb_ext.data.packed import PackedMixtures
from sb_ext.data.store import random_subset

TYPES = ["mix_clean", "mix_both", "mix_single"]
DIGITS = Path(__file__).resolve().parents[3] / "shared" / "data" / "SpokenDigits"


# --- The public arithmetic, in the open: whole signals, one after another, written with soundfile. ---


def lengthened(noise, length):
    """Noise laid over itself, overlapping by 8001 samples under the halves of a 16001-point Hann window."""
    rise = np.hanning(16001)[:8001]
    out, end, hop = np.zeros(length + 2 * len(noise)), len(noise), len(noise) - 8001
    out[:end] = noise
    while end < length:
        start = end - 8001
        out[start:end] = out[start:end] * rise[::-1] + noise[:8001] * rise
        out[end : end + hop] = noise[8001:]
        end += hop
    return out[:length]


def parts_of(row, num_speakers, speech, noise_folder, rate, mode):
    """The float signals of a mixture: the voices, then the noise."""
    names = [f"source_{i + 1}" for i in range(num_speakers)]
    signals = [soundfile.read(speech / row[f"{name}_path"], dtype="float32")[0] for name in names]
    longest = max(map(len, signals))
    noise = soundfile.read(noise_folder / row["noise_path"], dtype="float32", always_2d=True)[0][:longest, 0]
    signals.append(noise if len(noise) == longest else lengthened(noise, longest))
    gains = [float(row[f"{name}_gain"]) for name in [*names, "noise"]]
    signals = [resample_poly(signal * gain, rate, 16000) for signal, gain in zip(signals, gains, strict=True)]
    if mode == "min":
        return [signal[: min(map(len, signals))] for signal in signals]
    return [np.pad(signal, (0, max(map(len, signals)) - len(signal))) for signal in signals]


def generate(table, speech, noise_folder, out, num_speakers, rate, mode, types=TYPES):
    """Write a split as the public script does."""
    with open(table) as file:
        for row in csv.DictReader(file):
            *voices, noise = parts_of(row, num_speakers, speech, noise_folder, rate, mode)
            sums = {"mix_clean": voices, "mix_both": [*voices, noise], "mix_single": [voices[0], noise]}
            files = {f"s{i + 1}": voice for i, voice in enumerate(voices)} | {"noise": noise}
            for kind in types:
                files[kind] = np.zeros_like(voices[0])
                for signal in sums[kind]:
                    files[kind] += signal
            for name, signal in files.items():
                folder = out / f"Libri{num_speakers}Mix/wav{rate // 1000}k/{mode}/dev/{name}"
                folder.mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / f"{row['mixture_ID']}.wav", signal, rate)


# --- A corpus of noise bursts: lengths odd and even, gains that clip, short and stereo background noise. ---


def write_corpus(root):
    rng = np.random.default_rng(0)
    utterances, lengths = [], [20001, 12345, 9000, 16000, 7777, 11111, 20000]
    for number, length in enumerate(lengths):
        speaker = 19 + number // 2
        path = f"dev-clean/{speaker}/1/{speaker}-1-{number:04d}.flac"
        (root / "speech" / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / "speech" / path, rng.uniform(-0.9, 0.9, length), 16000)
        utterances.append(path)
    (root / "noise/cv").mkdir(parents=True)
    noises = {"long": rng.normal(0, 0.1, 40000), "stereo": rng.normal(0, 0.1, (30000, 2)), "short": None}
    noises["short"] = rng.normal(0, 0.1, (8500, 2))
    for name, noise in noises.items():
        soundfile.write(root / f"noise/cv/{name}.wav", noise, 16000)
    for num_speakers in (2, 3):
        groups = [utterances[i : i + num_speakers] for i in range(len(utterances) - num_speakers + 1)]
        rows = []
        for group, noise in zip(groups, itertools.cycle(noises)):
            row = {"mixture_ID": "_".join(Path(path).stem for path in group)}
            for i, path in enumerate(group):
                row |= {f"source_{i + 1}_path": path, f"source_{i + 1}_gain": rng.uniform(0.2, 1.5)}
            rows.append(row | {"noise_path": f"cv/{noise}.wav", "noise_gain": rng.uniform(0.5, 2)})
        write_table(root / f"metadata/Libri{num_speakers}Mix/libri{num_speakers}mix_dev-clean.csv", rows[::-1])
    return root


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_table(path):
    with open(path) as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def generated(corpus):
    for rate, mode in itertools.product((8000, 16000), ("min", "max")):
        for num_speakers in (2, 3):
            generate(
                table_of(corpus, num_speakers), corpus / "speech", corpus / "noise", corpus, num_speakers, rate, mode
            )
    return corpus


def table_of(corpus, num_speakers=2):
    return corpus / f"metadata/Libri{num_speakers}Mix/libri{num_speakers}mix_dev-clean.csv"


def on_the_fly(corpus, num_speakers=2, rate=8000, mode="min", kind="mix_clean", **changes):
    noise = None if kind == "mix_clean" else corpus / "noise"
    arguments = {"librispeech_folder": corpus / "speech", "metadata_csv": table_of(corpus, num_speakers)}
    arguments |= {"noise_folder": noise} | changes
    return OnTheFlyLibriMix(num_speakers=num_speakers, sample_rate=rate, mode=mode, mixture_type=kind, **arguments)


def assert_same(store, other):
    assert list(store.ids) == list(other.ids) and store.num_sources == other.num_sources
    np.testing.assert_array_equal(store.lengths, other.lengths)
    np.testing.assert_array_equal(store.speakers, other.speakers)
    for index in range(len(store)):
        for left, right in zip(store.read(index), other.read(index), strict=True):
            assert left.dtype == right.dtype == np.float32
            np.testing.assert_array_equal(left, right)


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


# --- Errors ---


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
