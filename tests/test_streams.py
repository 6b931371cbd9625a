"""Audio as streams: the same samples as of the whole, written in full or not at all."""

import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from sb_ext import streams
from sb_ext.streams import MixtureFile, resampled, write_tracks


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


@pytest.mark.parametrize(("rate", "suffix"), [(8000, "wav"), (44100, "flac"), (22050, "ogg"), (48000, "aiff")])
def test_slices_of_a_file_make_up_the_whole(tmp_path, rate, suffix):
    soundfile.write(tmp_path / f"a.{suffix}", noise(rate + 7, 3), rate)
    decoded = soundfile.read(tmp_path / f"a.{suffix}", dtype="float32")[0].mean(1)
    expected = decoded if rate == 8000 else resample_poly(decoded, 8000, rate)
    mixture = MixtureFile(tmp_path / f"a.{suffix}", 8000)
    assert mixture.length == len(expected)
    borders = [0, 1, 1000, 1003, 5000, mixture.length]
    parts = [mixture.read(start, stop)[0].numpy() for start, stop in zip(borders, borders[1:], strict=False)]
    assert np.array_equal(np.concatenate(parts), expected)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3000), st.sampled_from([8000, 11025, 16000, 44100, 48000]), st.data())
def test_a_resampled_stream_is_the_resampled_whole(length, rate, data):
    wave = noise(length, 2, seed=length).astype(np.float64)
    cuts = sorted(data.draw(st.lists(st.integers(0, length), max_size=6)))
    frames = -(-length * rate // 8000)
    blocks = list(resampled(np.split(wave, cuts), length, 8000, rate, frames))
    expected = wave if rate == 8000 else resample_poly(wave, rate, 8000)
    assert np.allclose(np.concatenate(blocks), expected, atol=1e-12)


def test_resampling_holds_little():
    tracemalloc.start()
    given = (noise(1000, 2) for _ in range(300))
    total = sum(len(block) for block in resampled(given, 300_000, 8000, 44100, 1_653_750))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 1_653_750
    assert peak < 1e6


def test_a_flac_without_a_length_is_named(tmp_path):
    soundfile.write(tmp_path / "a.flac", noise(2000), 8000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    # As an encoder leaves it that writes to a pipe: the 36 bits of the length are 0.
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(ValueError, match="a.flac: does not say how long it is; write it anew"):
        MixtureFile(tmp_path / "a.flac", 8000)


def test_tracks_hold_every_value_or_say_what_was_clipped(tmp_path):
    blocks = [np.array([[0.5, 2.0], [-3.0, 0.25]], np.float32), noise(3, 2)]
    paths, beyond = write_tracks(blocks, 5, 8000, tmp_path / "a")
    assert beyond == 2
    written = np.stack([soundfile.read(path, dtype="float32")[0] for path in paths], 1)
    assert np.array_equal(written, np.concatenate(blocks))
    paths, _ = write_tracks(blocks, 5, 8000, tmp_path / "a", "PCM_16")
    written = np.stack([soundfile.read(path)[0] for path in paths], 1)
    assert np.abs(written - np.concatenate(blocks).clip(-1, 1)).max() <= 2**-15


def test_nothing_half_written_is_left(tmp_path):
    def breaking():
        yield noise(10, 2)
        raise ValueError("stop")

    old = write_tracks([noise(4, 2)], 4, 8000, tmp_path / "a")[0]
    before = [path.read_bytes() for path in old]
    with pytest.raises(ValueError, match="stop"):
        write_tracks(breaking(), 20, 8000, tmp_path / "a")
    assert [path.read_bytes() for path in old] == before
    assert sorted(tmp_path.iterdir()) == old


def test_a_recording_is_not_overwritten(tmp_path):
    with pytest.raises(ValueError, match="a_s2.wav: is one of the recordings"):
        write_tracks([noise(4, 2)], 4, 8000, tmp_path / "a", keep={tmp_path / "a_s2.wav"})
    assert not list(tmp_path.iterdir())


def test_what_a_wav_file_cannot_count_becomes_rf64(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "WAV_BYTES", 1000)
    paths, _ = write_tracks([noise(400, 1)], 400, 8000, tmp_path / "long")
    assert paths[0].read_bytes()[:4] == b"RF64"
    assert soundfile.info(paths[0]).frames == 400


def test_a_full_disk_is_named(tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match="is there room for it"):
            write_tracks([noise(100_000, 2)], 100_000, 8000, tmp_path / "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
