"""The embedded corpus: its layout, its noise, folders built whole or not at all."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile as sf

from sb_ext.data.building import MARKER, build_once, in_threads
from sb_ext.data.embedded import SIZES, embedded_librimix
from sb_ext.data.synthetic import SPLITS, make_corpus

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
