"""Stores of several numbers of sources as one, and batches that keep them apart."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speechbrain.dataio.sampler import ReproducibleRandomSampler
from torch.utils.data import BatchSampler

from sb_ext.data import merged as module
from sb_ext.data.loader import MixtureDataset, collate
from sb_ext.data.merged import AlikeSampler, Merged, alike_batches
from sb_ext.data.store import MixtureStore, Subset


class Constant(MixtureStore):
    """Mixture i of a store of C sources has 100 C + i everywhere."""

    def __init__(self, size, count, rate=8000):
        speakers = np.arange(size * count).reshape(size, count)
        super().__init__([f"{i}" for i in range(size)], np.full(size, 50 + count), speakers, rate, count)

    def _read(self, index, start, stop):
        value = np.full(stop - start, 100 * self.num_sources + index, np.float32)
        return value, np.tile(value, (self.num_sources, 1))


def store_of(sizes):
    return Merged([Constant(size, count) for count, size in sizes.items()], [f"{count}/" for count in sizes])


def test_every_mixture_is_its_own():
    store = pickle.loads(pickle.dumps(store_of({2: 3, 5: 1, 3: 2})))
    assert list(store.ids) == ["2/0", "2/1", "2/2", "5/0", "3/0", "3/1"] and len(store) == 6
    assert store.source_counts().tolist() == [2, 2, 2, 5, 3, 3] and store.num_sources == 5
    assert [int(store.read(i)[0][0]) for i in range(6)] == [200, 201, 202, 500, 300, 301]
    assert store.lengths.tolist() == [52, 52, 52, 55, 53, 53] and store.speakers[5].tolist() == [3, 4, 5]
    batch = collate([MixtureDataset(store)[4], MixtureDataset(store)[5]])
    assert batch.sources.shape == (2, 3, 53) and batch.speakers.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="one sample rate, received"):
        Merged([Constant(1, 2), Constant(1, 2, 16000)])


def test_some_of_several_numbers_of_sources():
    part = pickle.loads(pickle.dumps(Subset(store_of({2: 3, 5: 1, 3: 2}), [5, 3, 0])))
    assert list(part.ids) == ["3/1", "5/0", "2/0"] and part.source_counts().tolist() == [3, 5, 2]
    assert [part.speakers[i].tolist() for i in range(3)] == [[3, 4, 5], [0, 1, 2, 3, 4], [0, 1]]
    assert [len(part.read(i)[1]) for i in range(3)] == [3, 5, 2]


def batches_of_ranks(dataset, batch_size, seed, epoch, ranks):
    """What SpeechBrain makes of the sampler: each rank takes every so manieth item and cuts its own batches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "is_distributed_initialized", lambda: ranks > 1)
        patch.setattr(module.torch.distributed, "get_world_size", lambda: ranks)
        sampler = AlikeSampler(dataset, batch_size, seed)
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert len(order) == len(sampler)
    return [list(BatchSampler(order[rank::ranks], batch_size, drop_last=True)) for rank in range(ranks)]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from([2, 3, 4]), st.integers(1, 30), min_size=2), st.integers(1, 5), st.integers(1, 3),
    st.integers(1, 2), st.integers(0, 99),
)  # fmt: skip
def test_training_batches_are_alike_on_all_ranks(sizes, batch_size, ranks, passes, epoch):
    dataset = MixtureDataset(store_of(sizes), passes=passes)
    counts = dataset.source_counts()
    if min(sizes.values()) * passes < batch_size * ranks:
        with pytest.raises(ValueError, match=f"batch_size: {batch_size} on {ranks} device.* never be trained on"):
            batches_of_ranks(dataset, batch_size, 7, epoch, ranks)
        return
    batches = batches_of_ranks(dataset, batch_size, 7, epoch, ranks)
    assert batches == batches_of_ranks(dataset, batch_size, 7, epoch, ranks)
    for step in zip(*batches, strict=True):
        assert len({int(counts[item]) for batch in step for item in batch}) == 1
    items = [item for rank in batches for batch in rank for item in batch]
    assert len(items) == len(set(items))
    for count, size in sizes.items():
        assert (
            sum(counts[item] == count for item in items) == size * passes // (batch_size * ranks) * batch_size * ranks
        )


def test_the_order_changes_with_epoch_and_seed():
    dataset = MixtureDataset(store_of({2: 20, 3: 20}))
    orders = [batches_of_ranks(dataset, 4, seed, epoch, 1) for seed, epoch in ((1, 1), (1, 2), (2, 3))]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    kinds = [dataset.source_counts()[batch[0]] for batch in orders[0][0]]
    assert kinds != sorted(kinds)


def test_one_number_of_sources_keeps_the_order_of_before():
    dataset, before = MixtureDataset(Constant(23, 2)), ReproducibleRandomSampler(range(23), seed=5)
    sampler = AlikeSampler(dataset, 4, 5)
    for epoch in (1, 2):
        before.set_epoch(epoch)
        sampler.set_epoch(epoch)
        assert list(sampler) == list(before) and len(sampler) == 23
    assert alike_batches(dataset, 4, range(3, 12)) == [[3, 4, 5, 6], [7, 8, 9, 10], [11]]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=30), st.integers(1, 7))
def test_test_batches_are_alike_and_leave_nothing_out(counts, batch_size):
    class Mixtures:
        def source_counts(self):
            return np.array(counts)

    batches = alike_batches(Mixtures(), batch_size, range(len(counts)))
    assert sorted(item for batch in batches for item in batch) == list(range(len(counts)))
    assert all(len({counts[item] for item in batch}) == 1 and len(batch) <= batch_size for batch in batches)
