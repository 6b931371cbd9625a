"""SparseLibriMix, made on the fly and read as generated, against the public arithmetic written out."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
from scipy.signal import resample_poly

from sb_ext.data.sparse import SparseLibriMix, sparse_sets
from sb_ext.data.sparse_metadata import read_sparse_metadata
from sb_ext.data.sparse_standin import OVERLAPS, make_sparse_metadata

pytestmark = pytest.mark.filterwarnings("ignore:Possible clipped samples")


# --- The public arithmetic, in the open: float64, one file after another, written with soundfile. ---


def placed(piece, folder, rate):
    """A piece at its loudness in LUFS, after as many zeros as its start says."""
    path = folder / piece["file"]
    own = soundfile.info(path).samplerate
    first, last = int(piece["orig_start"] * own), int(piece["orig_stop"] * own)
    signal, _ = soundfile.read(path, start=first, stop=last)
    signal = signal if signal.ndim == 1 else signal[:, piece["channel"]]
    signal = signal - signal.mean()
    signal = signal if own == rate else resample_poly(signal, rate, own)
    lufs = pyloudnorm.Meter(rate, block_size=0.1).integrated_loudness(signal)
    signal = signal * np.power(10.0, (piece["lvl"] - lufs) / 20)
    return np.concatenate([np.zeros(int(piece["start"] * rate)), signal])


def generate(mixtures, speech, noise, out, rate):
    """Write mixtures as the public script does, with noise where its folder is given."""
    for mixture in mixtures:
        keys = [key for key in mixture if key != "mixture_name" and (noise or key != "noise")]
        parts = {key: [placed(one, noise if key == "noise" else speech, rate) for one in mixture[key]] for key in keys}
        longest = max(len(one) for part in parts.values() for one in part)
        sums = {key: np.sum([np.pad(one, (0, longest - len(one))) for one in part], 0) for key, part in parts.items()}
        total = 0
        for key in [key for key in keys if key != "noise"]:
            total = total + sums[key]
        sums["mix_clean"] = total
        if noise:
            sums["mix_noisy"] = total + sums["noise"]
        for name, signal in sums.items():
            (out / name).mkdir(parents=True, exist_ok=True)
            soundfile.write(out / name / f"{mixture['mixture_name']}.wav", signal, rate)


def piece(file, start, orig, lvl, **more):
    times = {"start": start, "stop": start + orig[1] - orig[0], "orig_start": orig[0], "orig_stop": orig[1]}
    return {"file": file, **times, "lvl": lvl, **more}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Speech of three speakers at 16 and 44.1 kHz, stereo noise, and metadata with each delicate thing once."""
    root, rng = tmp_path_factory.mktemp("sparse"), np.random.default_rng(0)
    for speaker, rate in ((61, 16000), (121, 16000), (237, 44100)):
        (root / f"test-clean/{speaker}/1").mkdir(parents=True)
        loud = 0.1 + 0.1 * np.sin(np.arange(3 * rate) / 3000)
        soundfile.write(
            root / f"test-clean/{speaker}/1/{speaker}-1-0000.flac", 0.02 + loud * rng.normal(size=3 * rate), rate
        )
    (root / "noise").mkdir()
    soundfile.write(root / "noise/cafe.wav", rng.normal(0, 0.1, (80000, 2)), 16000)
    one, two, three = (f"{speaker}/1/{speaker}-1-0000.flac" for speaker in (61, 121, 237))
    noise = {"source": "noise", "channel": 1}
    mixtures = [
        {  # two pieces of one speaker, s3 before s2, a piece that ends with its file, and one at 44.1 kHz
            "mixture_name": "mix_0000001",
            "s1": [
                piece(one, 0.2461, (0.1234, 1.2), -27.3, spk_id="61"),
                piece(one, 2.0, (1.5, 2.1), -31, spk_id="61"),
            ],
            "s3": [piece(three, 0.9, (0.35, 1.4501), -25.0, spk_id="237")],
            "s2": [piece(two, 1.1117, (2.0, 3.2), -33, spk_id="121")],
            "noise": [piece("cafe.wav", 0, (0.3, 3.1), -30, **noise)],
        },
        {  # loud enough to clip, noise that is shorter than the speech, a tenth of a second of speech
            "mixture_name": "mix_0000000",
            "s1": [piece(two, 0.25, (0.5, 2.5), -2, spk_id="121")],
            "s2": [piece(one, 0.3, (0.2, 0.3), -25, spk_id="61")],
            "s3": [piece(three, 0.0, (1.0, 2.0), -5, spk_id="237")],
            "noise": [piece("cafe.wav", 0, (1, 2.0), -35.5, **noise)],
        },
    ]
    (root / "sparse_3_0.2").mkdir()
    (root / "sparse_3_0.2/metadata.json").write_text(json.dumps(mixtures))
    return root


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("kind, folder", [("mix_clean", "mix_clean"), ("mix_both", "mix_noisy")])
def test_equals_what_the_public_script_writes(corpus, tmp_path, rate, kind, folder):
    mixtures = json.loads((corpus / "sparse_3_0.2/metadata.json").read_text())
    generate(mixtures, corpus / "test-clean", corpus / "noise" if kind == "mix_both" else None, tmp_path, rate)
    store = SparseLibriMix(corpus / "test-clean", corpus / "sparse_3_0.2/metadata.json", rate, kind, corpus / "noise")
    assert list(store.ids) == ["mix_0000001", "mix_0000000"] and store.num_sources == 3
    assert store.speakers.tolist() == [[61, 121, 237], [121, 61, 237]]
    for index, name in enumerate(store.ids):
        wanted = [
            soundfile.read(tmp_path / part / f"{name}.wav", dtype="float32")[0] for part in (folder, "s1", "s2", "s3")
        ]
        mixture, sources = store.read(index)
        np.testing.assert_array_equal(mixture, wanted[0])
        np.testing.assert_array_equal(sources, wanted[1:])
        assert len(mixture) == store.lengths[index]
        np.testing.assert_array_equal(store.read(index, 700, 900)[1], np.stack(wanted[1:])[:, 700:900])


def test_reads_a_folder_that_the_public_script_generated(corpus, tmp_path):
    mixtures = json.loads((corpus / "sparse_3_0.2/metadata.json").read_text())
    out = tmp_path / "sparse_3_0.2"
    generate(mixtures, corpus / "test-clean", corpus / "noise", out / "wav8000", 8000)
    make, facts = sparse_sets(tmp_path, 3, mixture_type="mix_both")["sparse_3_0.2"]
    store, made = (
        make(),
        SparseLibriMix(
            corpus / "test-clean", corpus / "sparse_3_0.2/metadata.json", 8000, "mix_both", corpus / "noise"
        ),
    )
    assert facts["way"] == "generated" and list(store.ids) == ["mix_0000000", "mix_0000001"] and store.speakers is None
    for one, other in ((0, 1), (1, 0)):
        for mine, theirs in zip(store.read(one), made.read(other), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    wav = out / "wav8000/s2/mix_0000001.wav"
    wav.rename(tmp_path / wav.name)
    with pytest.raises(ValueError, match=f"^sparse_folder: {wav}, a reference, is missing"):
        make()
    (tmp_path / wav.name).rename(wav)
    with pytest.raises(ValueError, match="^sparse_folder: .*wav16000/mix_clean is missing or holds no wav file"):
        (out / "wav16000").mkdir()
        sparse_sets(tmp_path, 3, sample_rate=16000)
    shutil.copy(corpus / "sparse_3_0.2/metadata.json", out)
    assert sparse_sets(tmp_path, 3)["sparse_3_0.2"][0]().speakers.tolist() == [[121, 61, 237], [61, 121, 237]]


def broken(corpus, tmp_path, change):
    mixtures = json.loads((corpus / "sparse_3_0.2/metadata.json").read_text())
    change(mixtures)
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(mixtures))
    return path


CHANGES = {
    "mixture_name: expected text, received None": lambda m: m[1].pop("mixture_name"),
    "mix_0000001: s2: lvl: expected a number, received none": lambda m: m[0]["s2"][0].pop("lvl"),
    "s1: start: expected a number, received 'soon'": lambda m: m[1]["s1"][0].update(start="soon"),
    "s1: orig_start: expected a time of at least 0 s, received -1": lambda m: m[1]["s1"][0].update(orig_start=-1),
    "s3: orig_stop: expected a time after orig_start": lambda m: m[0]["s3"][0].update(orig_stop=0.1),
    "s1: file: expected a path, received none": lambda m: m[0]["s1"][1].pop("file"),
    "s1: spk_id: expected a speaker number": lambda m: m[0]["s1"][0].update(spk_id="ann"),
    "noise: channel: expected a channel number": lambda m: m[0]["noise"][0].update(channel="left"),
    "s2: expected a list of pieces of speech, received": lambda m: m[0].update(s2=[]),
    "expected the sources s1, s2, s3, as in the first mixture": lambda m: m[1].pop("s3"),
    "mixture_name: mix_0000001 occurs more than once": lambda m: m[1].update(mixture_name="mix_0000001"),
    "expected a list of mixtures": lambda m: m.clear(),
}


@pytest.mark.parametrize("message", CHANGES)
def test_faulty_metadata_is_named(corpus, tmp_path, message):
    path = broken(corpus, tmp_path, CHANGES[message])
    with pytest.raises(ValueError, match=message) as found:
        read_sparse_metadata(path)
    assert str(path) in str(found.value)


UNUSABLE = {
    "missing, first .*none.flac; mixture mix_0000000 needs": lambda m: m[1]["s1"][0].update(file="61/none.flac"),
    "less than 0.1 s of it lies in the file": lambda m: m[0]["s1"][0].update(orig_start=2.95, orig_stop=9.0),
    "channel: the file has not as many": lambda m: m[1]["noise"][0].update(channel=2),
    "mix_both needs noise in each mixture": lambda m: m[1].pop("noise"),
}


@pytest.mark.parametrize("message", UNUSABLE)
def test_audio_that_cannot_be_used_is_named(corpus, tmp_path, message):
    path = broken(corpus, tmp_path, UNUSABLE[message])
    with pytest.raises(ValueError, match=message):
        SparseLibriMix(corpus / "test-clean", path, 8000, "mix_both", corpus / "noise")


def test_silence_has_no_loudness(corpus, tmp_path):
    shutil.copytree(corpus / "test-clean", tmp_path / "speech")
    soundfile.write(tmp_path / "speech/61/1/61-1-0000.flac", np.zeros(48000), 16000)
    store = SparseLibriMix(tmp_path / "speech", corpus / "sparse_3_0.2/metadata.json")
    with pytest.raises(ValueError, match="mix_0000001: .*61-1-0000.flac: orig_start: silent from 1974 to 19200"):
        store.read(0)


def test_what_is_no_json_and_what_is_not_there(tmp_path, corpus):
    (tmp_path / "metadata.json").write_text("[{")
    with pytest.raises(ValueError, match="is no JSON"):
        read_sparse_metadata(tmp_path / "metadata.json")
    with pytest.raises(ValueError, match=r"holds no sparse_4_\*; found sparse_3_0.2. Set test_sets"):
        sparse_sets(corpus, 4, corpus / "test-clean")
    with pytest.raises(ValueError, match="give that one in place of data_folder"):
        sparse_sets(corpus, 3)
    shutil.copytree(corpus / "sparse_3_0.2", tmp_path / "sparse_2_0")
    with pytest.raises(ValueError, match=r"mixtures of 3 speaker\(s\), sparse2mix asks for 2"):
        sparse_sets(tmp_path, 2, corpus / "test-clean")["sparse_2_0"][0]()


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Five speakers, two utterances of noise each."""
    root, rng = tmp_path_factory.mktemp("speech"), np.random.default_rng(1)
    for number in range(10):
        folder = root / f"test-clean/{70 + number // 2}/1"
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{70 + number // 2}-1-{number:04d}.flac", rng.uniform(-0.5, 0.5, 40000), 8000)
    (root / "noise/tt").mkdir(parents=True)
    soundfile.write(root / "noise/tt/hum.wav", rng.normal(0, 0.1, 400000), 8000)
    return root


@pytest.mark.parametrize("count", [2, 5])
def test_the_stand_in_overlaps_as_asked(speech, tmp_path, count):
    make_sparse_metadata(speech, tmp_path, count, 4, noise_folder=speech / "noise")
    shares = []
    for overlap in OVERLAPS:
        folder = tmp_path / f"sparse_{count}_{overlap}"
        mixtures = json.loads((folder / "metadata.json").read_text())
        for mixture in mixtures:
            sources = [mixture[f"s{number + 1}"] for number in range(count)]
            turns = sorted((one for source in sources for one in source), key=lambda turn: turn["sub_utt_num"])
            assert len({source[0]["spk_id"] for source in sources}) == count
            for source in sources:
                assert all(one["stop"] < other["start"] for one, other in zip(source, source[1:], strict=False))
            for last, turn in zip(turns, turns[1:], strict=False):
                share = (last["stop"] - turn["start"]) / (last["stop"] - last["start"])
                assert share <= float(overlap) + 1e-2
        store = SparseLibriMix(speech / "test-clean", folder / "metadata.json", 8000, "mix_both", speech / "noise/tt")
        heard = [(np.abs(store.read(index)[1]) > 0).sum(0) for index in range(len(store))]
        shares.append(np.mean([(active > 1).mean() for active in heard]))
    assert shares[0] == 0 and shares == sorted(shares) and shares[-1] > 0.3


def test_the_stand_in_is_the_same_each_time_and_names_too_few_speakers(speech, tmp_path):
    for out in ("one", "two"):
        make_sparse_metadata(speech, tmp_path / out, 3, 2)
    for path in sorted((tmp_path / "one").glob("*/metadata.json")):
        assert path.read_text() == (tmp_path / "two" / Path(*path.parts[-2:])).read_text()
    with pytest.raises(ValueError, match=r"num_speakers: 6 different speakers .* has 5 usable speaker\(s\)"):
        make_sparse_metadata(speech, tmp_path / "six", 6, 2)
