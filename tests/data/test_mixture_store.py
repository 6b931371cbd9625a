"""The interface of stores, subsets of them, and strings in flat arrays."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sb_ext.data.store import MixtureStore, Subset, TextColumn, random_subset


class Ramps(MixtureStore):
    """Mixture i is i, i + 1, ...; its one source the negative."""

    def __init__(self, count=20):
        lengths = np.arange(100, 100 + count)
        super().__init__([f"m{i}" for i in range(count)], lengths, np.arange(count)[:, None], 8000, 1)

    def _read(self, index, start, stop):
        mixture = np.arange(index + start, index + stop, dtype=np.float32)
        return mixture, -mixture[None]


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_a_text_column_is_a_list_of_str(strings):
    column = pickle.loads(pickle.dumps(TextColumn.of(strings)))
    assert list(column) == strings and len(column) == len(strings)
    assert [column[-i - 1] for i in range(len(strings))] == strings[::-1]
    with pytest.raises(IndexError, match=f"of {len(strings)} strings"):
        column[len(strings)]


def test_a_subset_reads_what_it_was_given():
    store, part = Ramps(), Subset(Ramps(), [7, 3])
    assert (
        list(part.ids) == ["m7", "m3"] and part.lengths.tolist() == [107, 103] and part.speakers.tolist() == [[7], [3]]
    )
    for left, right in zip(part.read(0, 5, 9), store.read(7, 5, 9), strict=True):
        np.testing.assert_array_equal(left, right)
    with pytest.raises(IndexError, match="indices from 3 to 20 of 20"):
        Subset(store, [3, 20])


@pytest.mark.parametrize(("fraction", "count"), [(0.05, 1), (0.001, 1), (0.5, 10), (1, 20)])
def test_a_random_subset_is_seeded_and_in_order(fraction, count):
    part = random_subset(Ramps(), fraction, seed=5)
    numbers = [int(name[1:]) for name in part.ids]
    assert len(part) == count and (np.diff(numbers) > 0).all()
    assert list(part.ids) == list(random_subset(Ramps(), fraction, seed=5).ids)
    draws = {tuple(random_subset(Ramps(), fraction, seed=seed).ids) for seed in range(8)}
    assert len(draws) > 1 or count == 20


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_a_fraction_outside_its_range(fraction):
    with pytest.raises(ValueError, match=f"fraction must lie above 0 and at most 1, received {fraction}"):
        random_subset(Ramps(), fraction, seed=0)


def test_an_empty_store_has_no_subset():
    with pytest.raises(ValueError, match="holds no mixtures"):
        random_subset(Ramps(0), 0.5, seed=0)


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 4), (0, 101), (101, None)])
def test_slices_stay_inside(start, stop):
    with pytest.raises(ValueError, match="mixture m0 has 100 samples, received the slice"):
        Ramps().read(0, start, stop)


def test_no_such_mixture():
    for index in (-1, 20):
        with pytest.raises(IndexError, match=f"index {index} of 20"):
            Ramps().read(index)
