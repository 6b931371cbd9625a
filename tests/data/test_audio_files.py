"""Headers against libsndfile's, slices of resampled signals against the whole."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from sb_ext.data.audio_files import AudioHeader, read_header, read_samples, resampled_length, resampled_slice


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.flac", "PCM_16"), ("b.flac", "PCM_24"), ("a.wav", "PCM_16"), ("b.wav", "PCM_U8"), ("c.wav", "FLOAT"),
        ("d.wav", "MS_ADPCM"), ("e.ogg", "VORBIS"), ("f.aiff", "PCM_16"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("frames", "rate", "channels"), [(1600, 8000, 1), (70001, 44100, 2), (1, 16000, 1)])
def test_headers_are_libsndfiles(tmp_path, name, subtype, frames, rate, channels):
    soundfile.write(tmp_path / name, np.zeros((frames, channels)), rate, subtype=subtype)
    info = soundfile.info(tmp_path / name)
    assert read_header(tmp_path / name) == AudioHeader(info.frames, info.samplerate, info.channels)


def wav_bytes(**options):
    file = io.BytesIO()
    soundfile.write(file, np.arange(1000) / 2000, 8000, format="WAV", **options)
    return file.getvalue()


def test_unusual_wav_headers(tmp_path):
    plain, path = wav_bytes(), tmp_path / "a.wav"
    where = plain.index(b"data")
    with_notes = plain[:where] + b"LIST" + (5001).to_bytes(4, "little") + bytes(5002) + plain[where:]
    streamed = plain[: where + 4] + b"\xff" * 4 + plain[where + 8 :]
    # Some programs take the header for audio when they write how long that is.
    careless = plain[: where + 4] + len(plain).to_bytes(4, "little") + plain[where + 8 :]
    for content in (plain, with_notes, streamed, careless):
        path.write_bytes(content)
        assert read_header(path) == AudioHeader(1000, 8000, 1)
    path.write_bytes(plain[:-600])
    with pytest.raises(ValueError, match=r"a.wav: .*promises 2000 bytes of audio, 600 are missing"):
        read_header(path)


def test_what_is_no_audio_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.wav"):
        read_header(tmp_path / "none.wav")
    for content in (b"", b"RIFF", b"fLaC", wav_bytes()[:30]):
        (tmp_path / "bad.wav").write_bytes(content)
        with pytest.raises(ValueError, match="bad.wav: cannot be read as audio"):
            read_header(tmp_path / "bad.wav")


def test_a_file_that_changed_is_named(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, 90000), 8000)
    header = read_header(path)
    assert read_samples(path, header, 100, 300).shape == (200, 1)
    with pytest.raises(ValueError, match="a.flac: expected 90001 samples .*, found 90000 .*; replace the file"):
        read_samples(path, header._replace(frames=90001), 0, 10)
    path.write_bytes(path.read_bytes()[:60000])
    with pytest.raises(ValueError, match="a.flac: cannot be read as audio"):
        read_samples(path, header, 80000, 90000)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_a_sample_that_is_not_finite_is_named(tmp_path, bad, subtype):
    samples = np.zeros((100, 2))
    samples[70, 1] = bad
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype=subtype)
    header = read_header(tmp_path / "a.wav")
    assert not read_samples(tmp_path / "a.wav", header, 0, 70).any()
    with pytest.raises(ValueError, match="a.wav: sample 70 is NaN or infinite; replace the file"):
        read_samples(tmp_path / "a.wav", header, 50, 90)


@settings(deadline=None, max_examples=200)
@given(
    data=st.data(),
    rates=st.sampled_from([(16000, 8000), (8000, 16000), (44100, 8000), (22050, 16000), (48000, 8000), (8000, 8000)]),
    frames=st.integers(1, 4000),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_a_slice_equals_the_whole_resampled_and_cut(data, rates, frames, dtype):
    signal = np.random.default_rng(frames).normal(size=frames).astype(dtype)
    whole = resample_poly(signal, rates[1], rates[0])
    assert len(whole) == resampled_length(frames, *rates)
    start, stop = sorted(data.draw(st.integers(0, len(whole))) for _ in range(2))
    reads = []

    def read(first, last):
        reads.append((first, last))
        return signal[first:last]

    part = resampled_slice(read, frames, *rates, start, stop)
    np.testing.assert_array_equal(part, whole[start:stop])
    assert part.dtype == whole.dtype and all(0 <= first <= last <= frames for first, last in reads)


def test_a_slice_reads_little():
    reads = []
    resampled_slice(lambda a, b: reads.append(b - a) or np.zeros(b - a, np.float32), 10**6, 16000, 8000, 4000, 5000)
    assert reads[0] < 2100
