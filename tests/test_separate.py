"""The command that separates recordings: files, folders, rates, mistakes."""

import numpy as np
import pytest
import soundfile
import torch

from sb_ext.inference import SourceSeparation
from sb_ext.separate import find_recordings, main

MODEL = """
sample_rate: 8000
separator:
    model: !new:sb_ext.separators.SpectralMasking
        filterbank: !new:sb_ext.filterbanks.Stft [64, 16]
        network: !new:sb_ext.networks.TemporalConvNet [33, 3, 8, 16, 3, 2, 1]
modules:
    separator: !ref <separator[model]>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        separator: !ref <separator[model]>
"""
SHORT_CHUNKS = ["--chunk_seconds", "1", "--overlap_seconds", "0.25"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder of a tiny model with three outputs."""
    from hyperpyyaml import load_hyperpyyaml

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    (folder / "hyperparams.yaml").write_text(MODEL)
    torch.save(load_hyperpyyaml(MODEL)["separator"]["model"].state_dict(), folder / "separator.ckpt")
    return folder


def record(path, seconds, rate=8000, channels=1, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * rate), channels))
    soundfile.write(path, wave, rate, **({"subtype": "FLOAT"} if path.suffix == ".wav" else {}))
    return path


def separate(model, out, *words):
    return main([str(model), *map(str, words), "--out", str(out), "--device", "cpu"])


def test_files_and_folders_of_any_kind_are_separated(model, tmp_path, capsys):
    record(tmp_path / "in" / "a.wav", 2.5)
    record(tmp_path / "in" / "deep" / "b.flac", 1, rate=44100, channels=2)
    record(tmp_path / "c.ogg", 0.5, rate=16000)
    assert separate(model, tmp_path / "out", tmp_path / "in", tmp_path / "c.ogg", *SHORT_CHUNKS) == 0
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert names == {f"{name}_s{number}.wav" for name in ("a", "deep/b", "c") for number in (1, 2, 3)}
    loaded = SourceSeparation.from_hparams(str(model), run_opts={"device": "cpu"})
    expected = loaded.separate_file(tmp_path / "in" / "a.wav", chunk_seconds=1, overlap_seconds=0.25)[0].numpy()
    tracks = np.stack([soundfile.read(tmp_path / "out" / f"a_s{k}.wav", dtype="float32")[0] for k in (1, 2, 3)], 1)
    assert np.array_equal(tracks, expected)
    assert np.allclose(tracks.sum(1), soundfile.read(tmp_path / "in" / "a.wav")[0], atol=1e-5)
    assert "Separated 3 of 3 recordings" in capsys.readouterr().out


def test_tracks_come_at_the_recordings_own_rate_where_asked(model, tmp_path):
    path = record(tmp_path / "a.wav", 3.01, rate=11025)
    assert separate(model, tmp_path / "out", path, "--original_rate", "--pcm16", *SHORT_CHUNKS) == 0
    info = soundfile.info(tmp_path / "out" / "a_s1.wav")
    assert (info.samplerate, info.frames, info.subtype) == (11025, soundfile.info(path).frames, "PCM_16")


def test_bad_files_are_named_and_the_others_separated(model, tmp_path, capsys):
    good = record(tmp_path / "good.wav", 0.5)
    (tmp_path / "text.wav").write_text("not audio")
    soundfile.write(tmp_path / "nan.wav", np.full(9, np.nan), 8000, subtype="FLOAT")
    words = [tmp_path / name for name in ("absent.wav", "text.wav", "nan.wav")]
    assert separate(model, tmp_path / "out", *words, good) == 1
    shown = capsys.readouterr()
    for path, reason in zip(words, ("no such file", "cannot be read as audio", "sample 0 is NaN"), strict=True):
        assert f"{path}: {reason}" in shown.err
    assert "Separated 1 of 4 recordings" in shown.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"good_s1.wav", "good_s2.wav", "good_s3.wav"}


def test_clipping_is_said(model, tmp_path, capsys):
    soundfile.write(tmp_path / "loud.wav", np.full(4000, 30.0), 8000, subtype="FLOAT")
    assert separate(model, tmp_path / "out", tmp_path / "loud.wav") == 0
    assert "clipped" not in capsys.readouterr().err
    assert separate(model, tmp_path / "out", tmp_path / "loud.wav", "--pcm16") == 0
    assert "samples were clipped; without --pcm16 none is" in capsys.readouterr().err


def test_a_recording_called_like_a_track_stays(model, tmp_path, capsys):
    paths = [record(tmp_path / name, 0.2) for name in ("a.wav", "a_s2.wav")]
    before = [path.read_bytes() for path in paths]
    assert separate(model, tmp_path, *paths) == 1
    assert "a_s2.wav: is one of the recordings, and is not overwritten" in capsys.readouterr().err
    assert [path.read_bytes() for path in paths] == before
    assert not list(tmp_path.glob(".*"))


def test_names_are_told_apart(tmp_path):
    for name in ("x/a.wav", "x/a.flac", "y/a.wav", "x/a-2.wav"):
        record(tmp_path / name, 0.01)
    found = find_recordings([tmp_path / "x", tmp_path / "y" / "a.wav", tmp_path / "x" / "a.wav"], tmp_path / "out")
    assert len(found) == len(set(found.values())) == 4
    assert set(found) == {tmp_path / name for name in ("x/a.wav", "x/a.flac", "y/a.wav", "x/a-2.wav")}


def test_what_was_written_below_the_recordings_is_not_separated_again(tmp_path):
    record(tmp_path / "a.wav", 0.01)
    record(tmp_path / "out" / "a_s1.wav", 0.01)
    assert list(find_recordings([tmp_path], tmp_path / "out")) == [tmp_path / "a.wav"]
    with pytest.raises(ValueError, match="--out: .* is the folder of the recordings"):
        find_recordings([tmp_path], tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere/at/all", "FOLDER"], "nowhere/at/all: no such folder"),
        (["MODEL", "FOLDER/void"], "void: holds no audio files"),
    ],
)
def test_mistakes_are_named_before_anything_is_separated(model, tmp_path, words, message):
    (tmp_path / "void").mkdir()
    record(tmp_path / "a.wav", 0.1)
    words = [word.replace("FOLDER", str(tmp_path)).replace("MODEL", str(model)) for word in words]
    with pytest.raises(SystemExit, match=message):
        main([*words, "--out", str(tmp_path / "out")])


def test_an_overlap_beyond_half_a_chunk_is_refused(model, capsys):
    with pytest.raises(SystemExit):
        main([str(model), "a.wav", "--out", "out", "--chunk_seconds", "4", "--overlap_seconds", "3"])
    assert "--overlap_seconds: expected more than 0 and at most 2.0, half a chunk" in capsys.readouterr().err


def test_the_help_is_there(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "nothing is clipped" in " ".join(capsys.readouterr().out.split())
