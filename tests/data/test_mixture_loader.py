"""Crops that depend on seed, epoch and item alone, and batches of them."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sb_ext.contracts import check_batch
from sb_ext.data.loader import MixtureDataset, collate
from sb_ext.data.store import MixtureStore


class Ramps(MixtureStore):
    """A sample says where it stands, so that a crop tells its start; sources are 1 and 2 higher."""

    def __init__(self, lengths=(5000, 300, 5000, 1000), num_sources=2):
        speakers = np.arange(len(lengths) * num_sources).reshape(len(lengths), num_sources) if num_sources else None
        super().__init__([f"m{i}" for i in range(len(lengths))], np.array(lengths), speakers, 8000, num_sources)

    def _read(self, index, start, stop):
        ramp = np.arange(start, stop, dtype=np.float32) + 1
        sources = [ramp + i + 1 for i in range(self.num_sources)]
        return ramp, np.stack(sources) if sources else None


def starts(dataset):
    return [int(item.mixture[0]) for item in dataset]


def test_whole_items_are_padded_to_the_longest():
    dataset = MixtureDataset(Ramps())
    batch = collate([dataset[1], dataset[3]])
    check_batch(batch)
    assert batch.ids == ["m1", "m3"] and batch.lengths.tolist() == [300, 1000] and batch.lengths.dtype == torch.int64
    assert batch.sources.shape == (2, 2, 1000) and batch.speakers.tolist() == [[2, 3], [6, 7]]
    assert batch.mixture[0, 299] == 300 and not batch.mixture[0, 300:].any() and not batch.sources[0, :, 300:].any()
    assert torch.equal(batch.sources[1, 1], batch.mixture[1] + 2)


def test_crops_have_one_length_and_short_items_say_so():
    dataset = MixtureDataset(Ramps(), segment=1000)
    batch = collate(list(dataset))
    check_batch(batch)
    assert batch.mixture.shape == (4, 1000) and batch.lengths.tolist() == [1000, 300, 1000, 1000]
    assert torch.equal(batch.sources[0, 0], batch.mixture[0] + 1)
    assert batch.mixture[1, 299] == 300 and not batch.mixture[1, 300:].any()


def test_a_crop_depends_on_seed_epoch_and_item_only():
    dataset, again = MixtureDataset(Ramps(), segment=100, seed=1), MixtureDataset(Ramps(), segment=100, seed=1)
    first = starts(dataset)
    assert first == starts(dataset) == starts(again) == [starts(again)[i] for i in range(4)]
    dataset.set_epoch(3)
    third = starts(dataset)
    again.set_epoch(2)
    again.set_epoch(3)
    assert third != first and starts(again) == third
    assert starts(MixtureDataset(Ramps(), segment=100, seed=2)) != first


def test_passes_go_through_the_store_again_with_other_crops():
    dataset = MixtureDataset(Ramps(), segment=100, seed=1, passes=3)
    first = starts(dataset)
    assert len(first) == len(dataset) == 12 and [item.id for item in dataset] == ["m0", "m1", "m2", "m3"] * 3
    assert first[:4] == starts(MixtureDataset(Ramps(), segment=100, seed=1)) and first[4:8] != first[:4]
    with pytest.raises(ValueError, match="passes must be a whole number, at least 1, received 0"):
        MixtureDataset(Ramps(), passes=0)


@pytest.mark.parametrize("passes", [1, 2])
def test_iterating_a_dataset_ends(passes):
    dataset = MixtureDataset(Ramps(), passes=passes)
    for index in (-1, 4 * passes):
        with pytest.raises(IndexError, match=f"index {index} of {4 * passes} items"):
            dataset[index]


def test_crops_are_uniform_and_reach_both_ends():
    dataset = MixtureDataset(Ramps(lengths=(14,)), segment=10)
    counts = np.zeros(5)
    for epoch in range(2000):
        dataset.set_epoch(epoch)
        counts[int(dataset[0].mixture[0]) - 1] += 1
    assert counts.sum() == 2000 and (abs(counts - 400) < 100).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing_and_hear_of_the_epoch(workers):
    dataset, alone = MixtureDataset(Ramps(), segment=100, seed=4), MixtureDataset(Ramps(), segment=100, seed=4)
    loader = DataLoader(dataset, batch_size=2, collate_fn=collate, num_workers=workers, persistent_workers=workers > 0)
    for epoch in range(3):
        dataset.set_epoch(epoch)
        alone.set_epoch(epoch)
        assert [int(row[0]) for batch in loader for row in batch.mixture] == starts(alone)


def test_recordings_without_references():
    batch = collate(list(MixtureDataset(Ramps(num_sources=0), segment=400)))
    check_batch(batch)
    assert batch.sources is None and batch.speakers is None


def test_batches_of_different_kinds_are_refused():
    two, three, none = (MixtureDataset(Ramps(num_sources=count))[0] for count in (2, 3, 0))
    with pytest.raises(ValueError, match="agree in their number of sources, received m0: 2, m0: 3"):
        collate([two, three])
    with pytest.raises(ValueError, match="received m0: 2, m0: None"):
        collate([two, none])
    with pytest.raises(ValueError, match="number of speakers"):
        collate([two, two._replace(speakers=None)])


@pytest.mark.parametrize("segment", [0, -5, 2.5])
def test_a_segment_is_a_number_of_samples(segment):
    with pytest.raises(ValueError, match=f"whole number of samples, at least 1, received {segment}"):
        MixtureDataset(Ramps(), segment=segment)


def test_a_curriculum_changes_the_length_of_crops_from_an_epoch_on():
    dataset = MixtureDataset(Ramps(), segment=1000, curriculum={2: 200, 4: 600})
    lengths = []
    for epoch in range(1, 6):
        dataset.set_epoch(epoch)
        batch = collate(list(dataset))
        lengths.append(batch.mixture.shape[-1])
        assert batch.lengths.tolist() == [min(length, lengths[-1]) for length in (5000, 300, 5000, 1000)]
    assert lengths == [1000, 200, 200, 600, 600]
    with pytest.raises(ValueError, match="segment must be a whole number of samples, at least 1, received 0"):
        MixtureDataset(Ramps(), segment=1000, curriculum={1: 0})
