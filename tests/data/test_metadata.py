"""LibriMix metadata: arithmetic against pyloudnorm and NumPy, pairing, error messages, real corpora."""

import csv
import itertools
import random
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile as sf

from sb_ext.data.metadata import main, make_metadata
from sb_ext.data.pairing import draw_noises, draw_sets

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


def write(path, samples, sample_rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, samples, sample_rate, subtype="PCM_16")


def burst(seed, seconds, peak, sample_rate=16000):
    """Noise in syllables, so that loudness gating has something to do."""
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal(int(seconds * sample_rate))
    samples *= 0.05 + np.abs(np.sin(np.arange(len(samples)) / sample_rate * 9))
    return peak * samples / np.abs(samples).max()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Four speakers of six utterances in train, three of four in dev; utterance peaks far apart; noise."""
    root = tmp_path_factory.mktemp("corpus")
    for split, speakers, count in (("train-clean-100", 4, 6), ("dev-clean", 3, 4)):
        for speaker, number in itertools.product(range(speakers), range(count)):
            seed = 100 * speaker + number + 1000 * len(split)
            name = f"{speaker}-7-{number:04d}.flac"
            samples = burst(seed, 1.0 + 0.3 * number, 0.05 + 0.15 * number)
            write(root / "speech" / split / str(speaker) / "7" / name, samples)
    rows = "; a comment\n" + "".join(f"{speaker} | {'FM'[speaker % 2]} | any | 1 | name\n" for speaker in range(4))
    (root / "speech" / "SPEAKERS.TXT").write_text(rows)
    for folder, number in itertools.product(("tr", "cv"), range(5)):
        noise = np.stack([burst(number + 500, 1.5 + 0.4 * number, 0.3), np.zeros(int((1.5 + 0.4 * number) * 16000))], 1)
        write(root / "noise" / folder / f"n{number}.wav", noise)
    return root


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def signals(row, root, count=2):
    """The scaled sources and the noise, padded to the longest source, as LibriMix's max mode has them."""
    sources = [
        float(row[f"source_{n}_gain"]) * sf.read(root / "speech" / row[f"source_{n}_path"])[0]
        for n in range(1, count + 1)
    ]
    length = max(map(len, sources))
    if row["noise_path"]:
        noise = sf.read(root / "noise" / row["noise_path"])[0][:, 0]
        sources.append(float(row["noise_gain"]) * noise[:length])
    return [np.pad(source, (0, length - len(source))) for source in sources], [len(source) for source in sources]


@pytest.mark.parametrize("num_speakers", [2, 3])
def test_every_signal_has_its_loudness_unless_something_clipped(corpus, tmp_path, num_speakers):
    files = make_metadata(corpus / "speech", tmp_path, num_speakers, corpus / "noise", num_mixtures={"dev-clean": 12})
    meter = pyloudnorm.Meter(16000)
    tested = 0
    for split, path in files.items():
        assert path == tmp_path / f"libri{num_speakers}mix_{split}.csv"
        for row in read(path):
            parts, lengths = signals(row, corpus, num_speakers)
            mixture = np.sum(parts, axis=0)
            assert np.abs(mixture).max() <= 0.9 + 1e-6
            assert all(np.abs(part).max() <= 0.9 + 1e-6 for part in parts)
            # At these levels peaks are far from 0.9 in most mixtures, and then every loudness must be within its range.
            if max(np.abs(part).max() for part in parts) < 0.85 and np.abs(mixture).max() < 0.85:
                tested += 1
                for place, (part, length) in enumerate(zip(parts, lengths, strict=True)):
                    low, high = (-33, -25) if place < num_speakers else (-38, -30)
                    own = part[:length] if place < num_speakers else part
                    assert low - 0.01 <= meter.integrated_loudness(own) <= high + 0.01
    assert tested >= 12


def test_gains_follow_the_draws(corpus, tmp_path):
    """Without noise and clipping, target loudness can be read back from gain and file, and covers the range evenly."""
    path = make_metadata(corpus / "speech", tmp_path, splits=["dev-clean"], num_mixtures={"dev-clean": 40})["dev-clean"]
    meter = pyloudnorm.Meter(16000)
    drawn = []
    for row in read(path):
        parts, lengths = signals(row, corpus)
        drawn += [meter.integrated_loudness(part[:length]) for part, length in zip(parts, lengths, strict=True)]
    assert -33.01 < min(drawn) < -31 and -27 < max(drawn) < -24.99
    assert all(row["noise_path"] == row["noise_gain"] == "" for row in read(path))


def test_clipping_sources_and_mixtures_are_scaled_to_a_peak_of_nine_tenths(tmp_path):
    # Sparse clicks are loud only in their peaks: at -25 LUFS they would clip by far.
    rng = np.random.default_rng(0)
    for speaker in range(2):
        clicks = np.zeros(32000)
        clicks[rng.integers(0, 32000, 12)] = 0.5
        clicks[1000] = 0.5
        write(tmp_path / "speech" / "dev" / str(speaker) / "1" / f"{speaker}.flac", clicks)
    with pytest.warns(UserWarning, match="3000 mixtures wanted, 1 different"):
        path = make_metadata(tmp_path / "speech", tmp_path / "out")["dev"]
    (row,) = read(path)
    parts, _ = signals(row, tmp_path)
    # Both sources were brought to 0.9; they meet in sample 1000, so the mixture's weight is one half.
    assert np.abs(np.sum(parts, axis=0)).max() == pytest.approx(0.9, abs=1e-4)
    for part in parts:
        assert np.abs(part).max() == pytest.approx(0.45, abs=1e-4)


def test_training_utterances_are_used_once_and_speakers_differ(corpus, tmp_path):
    rows = read(make_metadata(corpus / "speech", tmp_path, splits=["train-clean-100"])["train-clean-100"])
    used = [row[f"source_{number}_path"] for row in rows for number in (1, 2)]
    assert len(used) == len(set(used)) >= 22
    info = read(tmp_path / "libri2mix_train-clean-100_info.csv")
    assert [row["mixture_ID"] for row in info] == [row["mixture_ID"] for row in rows]
    for row, more in zip(rows, info, strict=True):
        assert more["speaker_1_ID"] != more["speaker_2_ID"]
        assert row["source_1_path"].split("/")[1] == more["speaker_1_ID"]
        assert more["speaker_1_sex"] == "FM"[int(more["speaker_1_ID"]) % 2]
        assert row["mixture_ID"] == "_".join(Path(row[f"source_{n}_path"]).stem for n in (1, 2))


def test_columns_are_librimixs(corpus, tmp_path):
    make_metadata(corpus / "speech", tmp_path, 3, splits=["dev-clean"], num_mixtures={"dev-clean": 1})
    header = (tmp_path / "libri3mix_dev-clean.csv").read_text().splitlines()[0]
    assert header == (
        "mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain,source_3_path,source_3_gain,"
        "noise_path,noise_gain"
    )
    header = (tmp_path / "libri3mix_dev-clean_info.csv").read_text().splitlines()[0]
    assert header == ("mixture_ID,speaker_1_ID,speaker_1_sex,speaker_2_ID,speaker_2_sex,speaker_3_ID,speaker_3_sex")


def test_more_mixtures_than_one_round_has_are_all_different(corpus, tmp_path):
    for split, count in (("dev-clean", 40), ("train-clean-100", 60)):
        rows = read(make_metadata(corpus / "speech", tmp_path, splits=[split], num_mixtures={split: count})[split])
        assert len(rows) == len({frozenset((row["source_1_path"], row["source_2_path"])) for row in rows}) == count


def test_the_seed_decides_and_the_workers_do_not(corpus, tmp_path):
    def made(name, **more):
        files = make_metadata(
            corpus / "speech", tmp_path / name, noise_folder=corpus / "noise", num_mixtures={"dev-clean": 5}, **more
        )
        return [path.read_text() for path in files.values()]

    first = made("a", seed=0, workers=1)
    assert made("b", seed=0, workers=3) == first
    assert made("c", seed=1) != first


def test_draws_are_exhaustive_and_need_different_speakers():
    speakers = [speaker for speaker in "abcde" for _ in range(4)]
    for size in (2, 3, 4, 5):
        sets = draw_sets(speakers, size, None, random.Random(size))
        assert len(sets) >= 0.6 * len(speakers) // size
        assert all(len({speakers[index] for index in chosen}) == size for chosen in sets)
    # All 12 * 11 / 2 pairs of different speakers' utterances, and not one more.
    assert len(draw_sets(["a", "b", "c"] * 4, 2, 10**4, random.Random(0))) == 3 * 4 * 4


def test_noises_are_long_enough_and_all_used_before_any_is_used_again():
    lengths = [100, 200, 300, 400]
    drawn = draw_noises([50] * 8, lengths, random.Random(0))
    assert sorted(drawn[:4]) == sorted(drawn[4:]) == [0, 1, 2, 3]
    assert all(lengths[noise] >= 250 for noise in draw_noises([250] * 7, lengths, random.Random(0)))
    assert draw_noises([999], lengths, random.Random(0)) == [3]


def test_short_and_silent_utterances_are_left_out_with_a_warning(tmp_path):
    for speaker in ("a", "b"):
        write(tmp_path / "speech" / "dev" / speaker / "1" / f"{speaker}.flac", burst(1, 1.0, 0.5))
    write(tmp_path / "speech" / "dev" / "a" / "1" / "short.flac", burst(1, 0.3, 0.5))
    write(tmp_path / "speech" / "dev" / "b" / "1" / "silent.flac", np.zeros(16000))
    write(tmp_path / "speech" / "dev" / "b" / "1" / "faint.flac", np.full(16000, 4e-5))
    with pytest.warns(UserWarning, match="left out 3 of 5 files.*short.flac.*faint.flac.*silent.flac"):
        rows = read(make_metadata(tmp_path / "speech", tmp_path / "out", num_mixtures={"dev": 1})["dev"])
    assert len(rows) == 1


def test_errors_say_what_to_do(corpus, tmp_path):
    write(tmp_path / "one" / "dev" / "a" / "1" / "a.flac", burst(1, 1.0, 0.5))
    with pytest.raises(ValueError, match="2 different speakers .* has 1 usable speaker.*add speakers"):
        make_metadata(tmp_path / "one", tmp_path / "out")
    with pytest.raises(ValueError, match="no split 'dev-claen'.*did you mean 'dev-clean'"):
        make_metadata(corpus / "speech", tmp_path / "out", splits=["dev-claen"])
    with pytest.raises(ValueError, match="no split 'test-clean'"):
        make_metadata(corpus / "speech", tmp_path / "out", num_mixtures={"test-clean": 3})
    with pytest.raises(ValueError, match="num_speakers=1"):
        make_metadata(corpus / "speech", tmp_path / "out", num_speakers=1)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        make_metadata(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ValueError, match="no files like split/speaker/chapter"):
        make_metadata(corpus / "noise", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="holds no noise for 'dev-clean'"):
        make_metadata(corpus / "speech", tmp_path / "out", noise_folder=tmp_path, splits=["dev-clean"])
    write(tmp_path / "noise8k" / "cv" / "n.wav", burst(1, 1.0, 0.5, 8000), 8000)
    with pytest.raises(ValueError, match="at 8000 Hz.*16000 Hz"):
        make_metadata(corpus / "speech", tmp_path / "out", noise_folder=tmp_path / "noise8k", splits=["dev-clean"])
    write(tmp_path / "one" / "dev" / "b" / "1" / "b.flac", burst(1, 1.0, 0.5, 8000), 8000)
    with pytest.raises(ValueError, match="b.flac: is at 8000 Hz, most files at 16000 Hz"):
        make_metadata(tmp_path / "one", tmp_path / "out")
    (tmp_path / "one" / "dev" / "b" / "1" / "b.flac").write_text("not audio")
    with pytest.raises(ValueError, match="b.flac: cannot be read as audio"):
        make_metadata(tmp_path / "one", tmp_path / "out")


def test_command_line(corpus, tmp_path, capsys):
    main(
        [str(corpus / "speech"), str(tmp_path), "--num_mixtures", "dev-clean=3", "--splits", "dev-clean", "--seed", "4"]
    )
    assert str(tmp_path / "libri2mix_dev-clean.csv") in capsys.readouterr().out
    assert len(read(tmp_path / "libri2mix_dev-clean.csv")) == 3
    with pytest.raises(SystemExit, match="is not a folder"):
        main([str(tmp_path / "nowhere"), str(tmp_path)])
    with pytest.raises(SystemExit):
        main([str(corpus / "speech"), str(tmp_path), "--num_mixtures", "dev-clean"])
    assert "split=number" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "sample_rate"), [("SpokenDigits", 8000), ("LibriSpeechMini", 16000)])
def test_real_corpora(name, sample_rate, tmp_path):
    if not (REAL / name).is_dir():
        pytest.skip(f"{name} is not there")
    path = make_metadata(REAL / name, tmp_path, splits=["test-clean"], num_mixtures={"test-clean": 10})["test-clean"]
    meter = pyloudnorm.Meter(sample_rate)
    for row in read(path):
        for number in (1, 2):
            samples, rate = sf.read(REAL / name / row[f"source_{number}_path"])
            assert rate == sample_rate
            assert -33.01 <= meter.integrated_loudness(samples * float(row[f"source_{number}_gain"])) <= -24.99
    assert {row["speaker_1_sex"] for row in read(tmp_path / "libri2mix_test-clean_info.csv")} <= {"F", "M"}
