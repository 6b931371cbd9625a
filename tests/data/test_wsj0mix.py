"""wsj0-mix from WSJ0 and the public lists, and from a generated folder, against the public arithmetic written out."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from sb_ext.data.wsj0mix import OnTheFlyWsj0Mix, wsj0_stores
from sb_ext.data.wsj0mix_lists import read_mixing_list
from sb_ext.data.wsj0mix_standin import make_mixing_lists

# --- The public Python script's arithmetic, in the open. ---


def generate(root, lists, levels, count, rate, split, out):
    """Write a split in min and max mode."""
    for text in (lists / f"mix_{count}_spk_{split}.txt").read_text().splitlines():
        fields = text.split()
        paths, gains = fields[::2], np.array(fields[1::2], np.float64)
        signals = [resample_poly(soundfile.read(root / path, dtype="float32")[0], rate, 16000) for path in paths]
        longest, shortest = max(map(len, signals)), min(map(len, signals))
        scaled = []
        for path, signal, gain in zip(paths, signals, gains, strict=True):
            whole = np.hstack((signal, np.zeros(longest - len(signal))))
            scaled.append(whole / np.sqrt(levels[Path(path).stem]) * 10 ** (gain / 20))
        scaled = np.stack(scaled)
        names = [f"{Path(path).stem}_{float(gain):.8g}" for path, gain in zip(paths, gains, strict=True)]
        for mode, length in (("min", shortest), ("max", longest)):
            sources = scaled[:, :length]
            mixture = np.sum(scaled, axis=0)[:length]
            scale = np.max([1.0, np.max(np.abs(mixture)), np.max(np.abs(sources))]) / 0.9
            parts = {"mix": mixture, **{f"s{number + 1}": source for number, source in enumerate(sources)}}
            for part, signal in parts.items():
                folder = out / f"{count}speakers/wav{rate // 1000}k/{mode}/{split}/{part}"
                folder.mkdir(parents=True, exist_ok=True)
                values = np.int16(np.round((2**15) * (signal / scale)))
                soundfile.write(folder / f"{'_'.join(names)}.wav", values, rate, subtype="PCM_16")


LINES = {
    2: "wsj0/si_tr_s/40n/40na010x.wav 1.9857 wsj0/si_tr_s/01x/01xo031a.wav -1.9857 \n"
    "wsj0/si_tr_s/01x/01xo031a.wav 0.450124 wsj0/si_tr_s/40n/40na0102.wav -0.450124 \n",
    3: "wsj0/si_tr_s/40n/40na010x.wav 2.1234567891 wsj0/si_tr_s/01x/01xo031a.wav -2.1234567891 "
    "wsj0/si_tr_s/022/022c0201.wav 0\n",
}


@pytest.fixture(scope="module")
def wsj0(tmp_path_factory):
    """Three speakers, quiet and loud, and lists with their levels."""
    root, rng = tmp_path_factory.mktemp("wsj0"), np.random.default_rng(0)
    (root / "lists/activlev").mkdir(parents=True)
    levels = []
    for name, length, loud in (
        ("40na010x", 9001, 0.3),
        ("01xo031a", 12000, 0.01),
        ("40na0102", 8000, 0.05),
        ("022c0201", 9001, 0.1),
    ):
        folder = root / "wsj0/si_tr_s" / name[:3]
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{name}.wav", rng.normal(0, loud, length), 16000)
        levels.append(f"{name} {loud**2 * rng.uniform(0.8, 1.5):.16e}")
    (root / "lists/activlev/activlev_si_tr_s.txt").write_text("\n".join(levels) + "\n")
    for count, lines in LINES.items():
        for split in ("tr", "cv", "tt"):
            (root / f"lists/mix_{count}_spk_{split}.txt").write_text(lines)
    return root


def known_levels(root):
    lines = (root / "lists/activlev/activlev_si_tr_s.txt").read_text().split()
    return dict(zip(lines[::2], map(float, lines[1::2]), strict=True))


@pytest.mark.parametrize("rate, mode", [(8000, "min"), (8000, "max"), (16000, "min")])
@pytest.mark.parametrize("count", [2, 3])
def test_on_the_fly_equals_what_the_public_script_writes(wsj0, tmp_path, rate, mode, count):
    generate(wsj0, wsj0 / "lists", known_levels(wsj0), count, rate, "cv", tmp_path)
    settings = {"num_speakers": count, "sample_rate": rate, "mode": mode, "splits": ("cv",)}
    generated = wsj0_stores(data_folder=tmp_path, **settings)["cv"]
    made = wsj0_stores(wsj0_folder=wsj0, mixing_lists=wsj0 / "lists", **settings)["cv"]
    packed = wsj0_stores(wsj0_folder=wsj0, mixing_lists=wsj0 / "lists", pack_folder=tmp_path / "packed", **settings)[
        "cv"
    ]
    assert list(generated.ids) == list(made.ids) == list(packed.ids) and len(made) == len(LINES[count].splitlines())
    assert generated.speakers.tolist() == made.speakers.tolist()
    assert generated.lengths.tolist() == made.lengths.tolist()
    for index in range(len(made)):
        for one, *others in zip(generated.read(index), made.read(index), packed.read(index), strict=True):
            for other in others:
                np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(made.read(index, 300, 500)[1], generated.read(index, 300, 500)[1])


def test_speakers_are_the_first_three_letters(wsj0):
    store = OnTheFlyWsj0Mix(wsj0, wsj0 / "lists/mix_2_spk_tt.txt")
    assert list(store.ids) == ["01xo031a_0.450124_40na0102_-0.450124", "40na010x_1.9857_01xo031a_-1.9857"]
    assert store.speakers.tolist() == [[int("01x", 36), int("40n", 36)], [int("40n", 36), int("01x", 36)]]


def test_without_levels_the_mean_power_counts(wsj0, tmp_path):
    shutil.copy(wsj0 / "lists/mix_3_spk_tr.txt", tmp_path)
    store = OnTheFlyWsj0Mix(wsj0, tmp_path / "mix_3_spk_tr.txt", 3, sample_rate=16000, mode="max")
    power = (store.read(0)[1].astype(np.float64) ** 2).sum(1) / np.array([9001, 12000, 9001])
    np.testing.assert_allclose(10 * np.log10(power / power[2]), [2.1234567891, -2.1234567891, 0], atol=0.01)


def test_the_folder_may_be_any_end_of_its_path(wsj0, tmp_path):
    generate(wsj0, wsj0 / "lists", known_levels(wsj0), 2, 8000, "tr", tmp_path)
    for place in ("", "2speakers", "2speakers/wav8k", "2speakers/wav8k/min"):
        assert len(wsj0_stores(data_folder=tmp_path / place, splits=("tr",))["tr"]) == 2
    with pytest.raises(
        ValueError, match="holds no 3speakers/wav8k/min; found 2speakers/wav8k/max, 2speakers/wav8k/min"
    ):
        wsj0_stores(data_folder=tmp_path, num_speakers=3)
    with pytest.raises(ValueError, match="expected the names of 3 utterances, each with its gain"):
        wsj0_stores(data_folder=tmp_path / "2speakers/wav8k/min", num_speakers=3, splits=("tr",))
    name = "40na010x_1.9857_01xo031a_-1.9857.wav"
    (tmp_path / "2speakers/wav8k/min/tr/s2" / name).unlink()
    with pytest.raises(ValueError, match=f"{name}, a reference, is missing"):
        wsj0_stores(data_folder=tmp_path, splits=("tr",))


FAULTS = {
    "line 2: gain: expected a number in dB, received 'loud'": "a.wav 1 b.wav -1\nc.wav loud d.wav 0\n",
    "line 1: expected 2 pairs of a path and a gain in dB, received 6 fields": "a.wav 1 b.wav -1 c.wav 0\n",
    "line 1: .* expected utterances named after their speaker": "wsj0/é.wav 1 b.wav -1\n",
    "occurs more than once": "aaa.wav 1 bbb.wav -1\n\naaa.wav 1 bbb.wav -1\n",
    "holds no mixtures": "\n",
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_faulty_list_is_named(tmp_path, message):
    path = tmp_path / "mix_2_spk_tr.txt"
    path.write_text(FAULTS[message], encoding="utf-8")
    with pytest.raises(ValueError, match=message) as found:
        read_mixing_list(path, 2)
    assert str(path) in str(found.value)


def test_what_is_missing_is_named(wsj0, tmp_path):
    with pytest.raises(ValueError, match="WSJ0Mix: give data_folder, or wsj0_folder with mixing_lists; received wsj0_"):
        wsj0_stores(wsj0_folder=wsj0)
    with pytest.raises(ValueError, match="holds no mix_4_spk_tr.txt; found mix_2_spk_cv.txt, mix_2_spk_tr.txt"):
        wsj0_stores(wsj0_folder=wsj0, mixing_lists=wsj0 / "lists", num_speakers=4)
    lists = Path(shutil.copytree(wsj0 / "lists", tmp_path / "lists"))
    (lists / "mix_2_spk_tr.txt").write_text("wsj0/none.wav 1 wsj0/si_tr_s/01x/01xo031a.wav -1\n")
    with pytest.raises(
        ValueError, match="mix_2_spk_tr.txt: 1 of the 2 files .* missing, first .*none.wav; .* Set wsj0_"
    ):
        OnTheFlyWsj0Mix(wsj0, lists / "mix_2_spk_tr.txt")
    levels = lists / "activlev/activlev_si_tr_s.txt"
    levels.write_text("40na010x 0.01\n")
    with pytest.raises(ValueError, match="names 01xo031a and 1 more whose level no activlev file tells"):
        OnTheFlyWsj0Mix(wsj0, lists / "mix_2_spk_cv.txt")
    levels.write_text("40na010x 0.0\n")
    with pytest.raises(ValueError, match="line 1: expected an utterance and its power, a number above 0"):
        OnTheFlyWsj0Mix(wsj0, lists / "mix_2_spk_cv.txt")


def test_a_silent_utterance_has_no_level(wsj0, tmp_path):
    shutil.copytree(wsj0 / "wsj0", tmp_path / "wsj0")
    shutil.copy(wsj0 / "lists/mix_2_spk_tr.txt", tmp_path)
    soundfile.write(tmp_path / "wsj0/si_tr_s/40n/40na010x.wav", np.zeros(9001), 16000)
    store = OnTheFlyWsj0Mix(tmp_path, tmp_path / "mix_2_spk_tr.txt")
    with pytest.raises(ValueError, match="40na010x.wav: is silent, so that mixture 40na010x_1.9857_01xo031a_-1.9857"):
        store.read(1)


def test_the_stand_in_is_made_of_any_speech(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(8):
        folder = tmp_path / f"dev-clean/{1180 + number // 2}/1"
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{1180 + number // 2}-1-{number}.flac", rng.normal(0, 0.1, 4000), 8000)
    make_mixing_lists(tmp_path, tmp_path, 3, {"cv": "dev-clean"}, {"cv": 6})
    store = wsj0_stores(wsj0_folder=tmp_path, mixing_lists=tmp_path, num_speakers=3, splits=("cv",))["cv"]
    gains = read_mixing_list(tmp_path / "mix_3_spk_cv.txt", 3).sources.gains
    assert len(store) == 6 and all(len(set(row)) == 3 for row in store.speakers.tolist())
    assert (gains[:, 0] == -gains[:, 1]).all() and not gains[:, 2].any() and np.abs(gains).max() <= 2.5
    with pytest.raises(ValueError, match=r"num_speakers: 5 different speakers .* has 4 usable speaker\(s\)"):
        make_mixing_lists(tmp_path, tmp_path, 5, {"cv": "dev-clean"})
    with pytest.raises(ValueError, match="has no 'test-clean' with audio; found dev-clean"):
        make_mixing_lists(tmp_path, tmp_path, 2, {"tt": "test-clean"})
