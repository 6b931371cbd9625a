"""Packs: lossless, complete or not there, cheap to pass on."""

import json
import logging
import multiprocessing
import os
import pickle
import signal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sb_ext.data.packed import PackedMixtures, open_or_pack, pack
from sb_ext.data.store import MixtureStore, Subset


class Noises(MixtureStore):
    """Mixtures of 16-bit values drawn from their numbers."""

    def __init__(self, count=150, num_sources=2):
        lengths = np.arange(count) % 37 + 1
        speakers = np.arange(count * num_sources).reshape(count, num_sources) if num_sources else None
        super().__init__([f"übung/{i}" for i in range(count)], lengths, speakers, 8000, num_sources)

    def _read(self, index, start, stop):
        shape = 1 + self.num_sources, int(self.lengths[index])
        values = np.random.default_rng(index).integers(-32768, 32768, shape)[:, start:stop]
        samples = (values / 32768).astype(np.float32)
        return samples[0], samples[1:] if self.num_sources else None


class Dying(Noises):
    """Kills its process, or raises, half-way."""

    def __init__(self, error=None):
        super().__init__()
        self.error = error

    def _read(self, index, start, stop):
        if index == 100:
            if self.error:
                raise self.error
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._read(index, start, stop)


def assert_same(store, other):
    assert list(store.ids) == list(other.ids)
    assert (store.sample_rate, store.num_sources) == (other.sample_rate, other.num_sources)
    np.testing.assert_array_equal(store.lengths, other.lengths)
    np.testing.assert_array_equal(store.speakers, other.speakers)
    for index in range(len(store)):
        mixture, sources = store.read(index)
        expected, expected_sources = other.read(index)
        np.testing.assert_array_equal(mixture, expected)
        np.testing.assert_array_equal(sources, expected_sources)
        assert mixture.dtype == np.float32


@pytest.mark.parametrize("num_sources", [0, 1, 3])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_pack_equals_what_was_packed(tmp_path, num_sources, workers):
    store = Noises(num_sources=num_sources)
    packed = pack(store, tmp_path / "deep" / "pack", {"from": "noise"}, workers)
    assert_same(packed, store)
    assert_same(PackedMixtures(tmp_path / "deep" / "pack", in_memory=True), store)
    assert packed.fingerprint == {"from": "noise"}


def test_a_pack_of_a_subset_of_a_pack(tmp_path):
    first = pack(Noises(), tmp_path / "first")
    second = pack(Subset(first, [9, 4, 140]), tmp_path / "second")
    assert_same(second, Subset(Noises(), [9, 4, 140]))


def test_a_pack_travels_as_the_name_of_its_folder(tmp_path):
    packed = pack(Noises(), tmp_path / "pack")
    travelling = pickle.dumps(packed)
    assert len(travelling) < 500
    assert_same(pickle.loads(travelling), packed)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(index=st.integers(0, 149), ends=st.tuples(st.integers(0, 37), st.integers(0, 37)))
def test_a_crop_is_a_slice_of_the_whole(tmp_path, index, ends):
    packed = open_or_pack(Noises, tmp_path / "pack", {})
    start, stop = sorted(min(end, int(packed.lengths[index])) for end in ends)
    mixture, sources = packed.read(index)
    part, part_sources = packed.read(index, start, stop)
    np.testing.assert_array_equal(part, mixture[start:stop])
    np.testing.assert_array_equal(part_sources, sources[:, start:stop])


def test_a_killed_pack_leaves_nothing_that_looks_complete(tmp_path):
    folder = tmp_path / "pack"
    process = multiprocessing.get_context("fork").Process(target=pack, args=(Dying(), folder))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert any("partial" in path.name for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match="holds no packed mixtures"):
        PackedMixtures(folder)
    assert_same(open_or_pack(Noises, folder, {}), Noises())
    assert not any("partial" in path.name for path in tmp_path.iterdir())


def test_a_failed_pack_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="disk on fire"):
        pack(Dying(OSError("disk on fire")), tmp_path / "pack")
    assert [path.name for path in tmp_path.iterdir()] == [".pack.lock"]


def test_open_or_pack_packs_once_and_again_when_the_data_changed(tmp_path, caplog):
    calls = []

    def factory():
        calls.append(len(calls))
        return Noises(count=10 * len(calls))

    settings = {"split": "dev", "rates": (8000,)}
    assert len(open_or_pack(factory, tmp_path / "pack", settings)) == 10
    assert len(open_or_pack(factory, tmp_path / "pack", settings)) == 10 and len(calls) == 1
    with caplog.at_level(logging.WARNING):
        old = PackedMixtures(tmp_path / "pack")
        assert len(open_or_pack(factory, tmp_path / "pack", {"split": "test"}, in_memory=True)) == 20
    assert "'split': 'dev'" in caplog.text and "packing it again" in caplog.text
    # Who still reads the old pack goes on reading it.
    assert_same(old, Noises(count=10))


def test_what_is_no_pack_is_neither_read_nor_deleted(tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="holds no packed mixtures"):
        open_or_pack(Noises, tmp_path / "pack", {})
    with pytest.raises(FileExistsError, match="exists already"):
        pack(Noises(), tmp_path / "pack")
    assert (tmp_path / "pack" / "thesis.tex").exists()


def test_packs_that_cannot_be_read(tmp_path):
    pack(Noises(), tmp_path / "pack")
    with open(tmp_path / "pack" / "audio.pcm16", "ab") as file:
        file.write(b"!")
    with pytest.raises(ValueError, match="audio.pcm16: expected .* bytes, found"):
        PackedMixtures(tmp_path / "pack")
    header = json.loads((tmp_path / "pack" / "header.json").read_text())
    (tmp_path / "pack" / "header.json").write_text(json.dumps(header | {"format": 99}))
    with pytest.raises(ValueError, match="packed in format 99, expected 1"):
        PackedMixtures(tmp_path / "pack")


def test_stores_that_cannot_be_packed(tmp_path):
    with pytest.raises(ValueError, match="holds no mixtures"):
        pack(Noises(count=0), tmp_path / "pack")
    liar = Noises()
    liar._read = lambda index, start, stop: (np.zeros(3, np.float32), np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"mixture übung/0: \(3, 3\) samples read"):
        pack(liar, tmp_path / "pack")
