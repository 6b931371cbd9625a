"""Recordings without references: one's own, and REAL-M's."""

import hashlib

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from sb_ext.data.realm import RealM, in_validation
from sb_ext.data.recordings import Recordings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    (root / "day/one").mkdir(parents=True)
    soundfile.write(root / "day/one/stereo.flac", rng.uniform(-1, 1, (9001, 2)), 16000)
    soundfile.write(root / "day/odd.WAV", rng.uniform(-1, 1, 5000), 11025)
    soundfile.write(root / "b.wav", rng.uniform(-1, 1, 3000), 8000)
    (root / "notes.txt").write_text("not audio")
    (root / "._b.wav").write_text("left by another system")
    return root


def test_recordings_are_averaged_resampled_and_sorted(folder):
    store = Recordings(folder, 8000)
    assert list(store.ids) == ["b.wav", "day/odd.WAV", "day/one/stereo.flac"]
    assert (store.num_sources, store.speakers, store.sample_rate) == (0, None, 8000)
    for index, name in enumerate(store.ids):
        samples, rate = soundfile.read(folder / name, dtype="float32", always_2d=True)
        mixture, sources = store.read(index)
        assert sources is None and len(mixture) == store.lengths[index] and mixture.dtype == np.float32
        np.testing.assert_array_equal(mixture, resample_poly(samples.mean(axis=1), 8000, rate))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(index=st.integers(0, 2), ends=st.tuples(st.integers(0, 5000), st.integers(0, 5000)))
def test_a_crop_is_a_slice_of_the_whole(folder, index, ends):
    store = Recordings(folder, 8000)
    start, stop = sorted(min(end, int(store.lengths[index])) for end in ends)
    np.testing.assert_array_equal(store.read(index, start, stop)[0], store.read(index)[0][start:stop])


def test_files_in_an_order_of_ones_own(folder):
    files = [folder / "day/odd.WAV", str(folder / "b.wav")]
    assert list(Recordings(files, 8000).ids) == ["day/odd.WAV", "b.wav"]
    assert list(Recordings(files[:1], 8000).ids) == ["odd.WAV"]
    with pytest.raises(ValueError, match="b.wav is named more than once"):
        Recordings([*files, files[1]], 8000)


def test_folders_and_files_that_cannot_serve(tmp_path):
    with pytest.raises(FileNotFoundError, match="none is not a folder"):
        Recordings(tmp_path / "none", 8000)
    with pytest.raises(ValueError, match="is empty"):
        Recordings(tmp_path, 8000)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="holds no recordings; expected .wav or .flac"):
        Recordings(tmp_path, 8000)
    with pytest.raises(ValueError, match="an empty list"):
        Recordings([], 8000)
    with pytest.raises(FileNotFoundError, match="gone.wav"):
        Recordings([tmp_path / "gone.wav"], 8000)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    with pytest.raises(ValueError, match="empty.wav: holds no samples"):
        Recordings(tmp_path, 8000)
    (tmp_path / "empty.wav").unlink()
    (tmp_path / "corrupt.wav").write_bytes(b"RIFF and nothing more")
    with pytest.raises(ValueError, match="corrupt.wav: cannot be read as audio"):
        Recordings(tmp_path, 8000)


# --- REAL-M ---


@pytest.fixture(scope="module")
def real_m(tmp_path_factory):
    root = tmp_path_factory.mktemp("realm")
    for number in range(60):
        name = f"{'early_' if number % 10 == 0 else ''}mix{number}.wav"
        path = root / "audio_files_converted_8000Hz" / f"2021-0{number % 3}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.full(100 + number, number / 100), 8000)
    return root


def test_real_m_splits_by_the_hash_of_the_name(real_m):
    train, valid, test = (RealM(real_m, split) for split in ("train", "valid", "test"))
    names = [path.relative_to(real_m).parts[1:] for path in real_m.rglob("*.wav") if not path.name.startswith("early")]

    def percent(name):
        return int.from_bytes(hashlib.sha1(name.encode()).digest(), "big") % 2**27 * (100.0 / (2**27 - 1))

    assert list(valid.ids) == list(test.ids) == sorted("/".join(name) for name in names if percent(name[1]) < 20)
    assert list(train.ids) == sorted("/".join(name) for name in names if percent(name[1]) >= 20)
    assert len(train) + len(valid) == 54 and len(valid) > 3
    number = int(train.ids[5].split("mix")[1].removesuffix(".wav"))
    mixture, sources = train.read(5)
    assert sources is None and train.num_sources == 0 and len(mixture) == 100 + number
    np.testing.assert_allclose(mixture, number / 100, atol=1e-4)


def test_about_a_fifth_is_kept_for_validation():
    assert abs(np.mean([in_validation(f"recording-{i}.wav") for i in range(5000)]) - 0.2) < 0.02


def test_real_m_that_cannot_serve(real_m, tmp_path):
    with pytest.raises(ValueError, match="split must be train, valid or test, received 'dev'"):
        RealM(real_m, "dev")
    with pytest.raises(ValueError, match="no recordings at"):
        RealM(tmp_path, "train")
    path = tmp_path / "audio_files_converted_8000Hz/a/a.wav"
    path.parent.mkdir(parents=True)
    soundfile.write(path, np.zeros(100), 16000)
    with pytest.raises(ValueError, match="a.wav: expected 8000 Hz in 1 channel, found 16000 Hz in 1"):
        RealM(tmp_path, "train")
    with pytest.raises(ValueError, match="none of the 1 recordings .* falls to the split 'valid'"):
        RealM(tmp_path, "valid")
