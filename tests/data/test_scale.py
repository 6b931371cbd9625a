"""Many mixtures: a rank's share, a random part, the place to resume at, and what a worker holds."""

import pickle
import runpy
from pathlib import Path

import numpy as np
import pytest
from speechbrain.dataio.dataloader import make_dataloader
from speechbrain.dataio.sampler import DistributedSamplerWrapper, ReproducibleRandomSampler
from speechbrain.utils.checkpoints import Checkpointer
from torch.utils.data import DataLoader

from sb_ext.data.librimix import OnTheFlyLibriMix
from sb_ext.data.loader import MixtureDataset, collate
from sb_ext.data.packed import PackedMixtures
from sb_ext.data.store import random_subset

COUNT = 20_000
BATCH = 64


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A pack of as many mixtures, without audio."""
    folder = tmp_path_factory.mktemp("scale")
    scale = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "scale.py"))
    return scale["pack"](OnTheFlyLibriMix(folder, scale["write_corpus"](folder, COUNT)), folder / "pack")


def test_the_pack_is_that_of_the_metadata(store):
    assert len(store) == COUNT == len(set(store.ids)) and (store.lengths == 96000).all()
    assert store.speakers[-1].tolist() == [int(name.split("-")[0]) for name in store.ids[COUNT - 1].split("_")]


def order_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return np.array(list(sampler))


@pytest.mark.parametrize("ranks", [2, 3, 7])
def test_the_ranks_share_what_one_process_has(store, ranks):
    """Disjoint, complete but for less than one each, and batch by batch the same mixtures as in one larger batch."""
    whole = ReproducibleRandomSampler(store, seed=3)
    shares = [
        DistributedSamplerWrapper(
            ReproducibleRandomSampler(store, seed=3), num_replicas=ranks, rank=rank, drop_last=True, shuffle=False
        )
        for rank in range(ranks)
    ]
    for epoch in (1, 2):
        expected, found = order_of(whole, epoch), np.stack([order_of(share, epoch) for share in shares], 1)
        assert found.shape == (COUNT // ranks, ranks) and len(np.unique(found)) == found.size
        np.testing.assert_array_equal(found.flatten(), expected[: found.size])
    assert (order_of(whole, 1) != order_of(whole, 2)).any()


def test_a_random_part_is_the_same_in_every_run(store):
    part, again = (random_subset(PackedMixtures(store.folder), 0.05, seed=1) for _ in range(2))
    assert len(set(part.ids)) == COUNT // 20 and list(part.ids) == list(again.ids)
    np.testing.assert_array_equal(part.speakers, store.speakers[part.indices])
    assert list(random_subset(store, 0.05, seed=2).ids) != list(part.ids)
    assert random_subset(store, 1, seed=1) is store


def test_a_part_holds_numbers_only(store):
    """Ids are looked up: a copy of them would be copied again into each worker that is spawned."""
    part = random_subset(store, 0.5, seed=1)
    assert len(pickle.dumps(part)) < len(part) * 8 + 5000
    assert pickle.loads(pickle.dumps(part)).ids[17] == part.ids[17] == store.ids[int(part.indices[17])]


def ids_of(loader):
    return [batch.ids for batch in loader]


def loader_of(dataset, workers):
    return make_dataloader(
        dataset, sampler=ReproducibleRandomSampler(dataset, seed=5), batch_size=BATCH, num_workers=workers,
        collate_fn=collate, drop_last=True,
    )  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_is_resumed_at_its_place(store, workers, tmp_path):
    dataset = MixtureDataset(random_subset(store, 0.05, seed=1), segment=80, seed=1)
    expected, loader = ids_of(loader_of(dataset, 0)), loader_of(dataset, workers)
    batches = iter(loader)
    begun = [next(batches).ids for _ in range(7)]
    Checkpointer(tmp_path, {"loader": loader}).save_checkpoint(end_of_epoch=False)
    resumed = loader_of(dataset, workers)
    Checkpointer(tmp_path, {"loader": resumed}).recover_if_possible()
    assert begun + ids_of(resumed) == expected and len(expected) == COUNT // 20 // BATCH
    assert ids_of(resumed) == expected


def test_a_worker_lays_its_batches_where_they_are_read(store):
    """In memory of its own first, a batch of 128 crops cost each worker 700 MB: the heap does not give back."""
    dataset = MixtureDataset(store, segment=800)

    def shared(items):
        batch = collate(items)
        return batch.mixture.is_shared() and batch.sources.is_shared()

    loader = DataLoader(dataset, batch_size=4, num_workers=1, collate_fn=shared)
    assert next(iter(loader)) and not shared([dataset[0]])
