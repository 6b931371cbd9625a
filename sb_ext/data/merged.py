"""Several stores as one, whatever their numbers of sources, and batches whose items have as many each."""

import numpy as np
import torch
from speechbrain.dataio.sampler import ReproducibleRandomSampler
from speechbrain.utils.distributed import is_distributed_initialized

from sb_ext.data.store import MixtureStore


class _Chained:
    """Sequences one after the other, without a copy; ``prefixes`` go before what they hold."""

    def __init__(self, sequences, bounds, prefixes=None):
        self.sequences, self.bounds, self.prefixes = sequences, bounds, prefixes

    def __len__(self):
        return int(self.bounds[-1])

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {len(self)}")
        part = int(np.searchsorted(self.bounds, index, "right")) - 1
        value = self.sequences[part][int(index - self.bounds[part])]
        return self.prefixes[part] + value if self.prefixes else value


class Merged(MixtureStore):
    """Stores of one sample rate, one after the other; ``num_sources`` is the largest of theirs.

    Arguments
    ---------
    stores : list of MixtureStore
    prefixes : list of str, optional
        Put before the ids of each store, which would not be unique otherwise.

    Example
    -------
    >>> class Silence(MixtureStore):
    ...     def _read(self, index, start, stop):
    ...         return np.zeros(stop - start, np.float32), np.zeros((self.num_sources, stop - start), np.float32)
    >>> two, three = (Silence(["a"], np.array([800]), np.zeros((1, count)), 8000, count) for count in (2, 3))
    >>> both = Merged([two, three], ["two/", "three/"])
    >>> both.ids[1], both.read(1)[1].shape, both.source_counts().tolist()
    ('three/a', (3, 800), [2, 3])
    """

    def __init__(self, stores, prefixes=None):
        self.stores = list(stores)
        self.bounds = np.cumsum([0, *map(len, self.stores)])
        rates = sorted({store.sample_rate for store in self.stores})
        if len(rates) != 1:
            raise ValueError(f"Merged: expected stores of one sample rate, received {rates} Hz")
        speakers = [store.speakers for store in self.stores]
        super().__init__(
            _Chained([store.ids for store in self.stores], self.bounds, prefixes),
            np.concatenate([store.lengths for store in self.stores]),
            None if any(column is None for column in speakers) else _Chained(speakers, self.bounds),
            rates[0],
            max(store.num_sources for store in self.stores),
        )

    def source_counts(self):
        """How many sources each mixture has, ``[N]``."""
        return np.concatenate([store.source_counts() for store in self.stores])

    def _read(self, index, start, stop):
        part = int(np.searchsorted(self.bounds, index, "right")) - 1
        return self.stores[part].read(index - int(self.bounds[part]), start, stop)


def merged(stores):
    """The only one of some stores, or all of them merged."""
    return stores[0] if len(stores) == 1 else Merged(stores)


class AlikeSampler(ReproducibleRandomSampler):
    """A random order in which each batch has items of one number of sources, the same on any number of DDP ranks.

    With a single number of sources it is SpeechBrain's own order. Otherwise what does not fill a batch is left out of
    the epoch, a different remainder each time.

    Arguments
    ---------
    dataset : MixtureDataset
    batch_size : int
        Of one rank.
    seed : int

    Raises
    ------
    ValueError
        If the mixtures of one of several numbers of sources do not fill a batch.
    """

    def __init__(self, dataset, batch_size, seed):
        super().__init__(dataset, seed=seed)
        ranks = torch.distributed.get_world_size() if is_distributed_initialized() else 1
        counts = dataset.source_counts()
        # The ranks take turns item by item, so that their batches of one step lie in one stretch.
        self.stretch = batch_size * ranks
        self.kinds = [torch.from_numpy(np.flatnonzero(counts == count)) for count in np.unique(counts)]
        for count, kind in zip(np.unique(counts), self.kinds, strict=True):
            if len(self.kinds) > 1 and len(kind) < self.stretch:
                raise ValueError(
                    f"batch_size: {batch_size} on {ranks} device(s) is more than the {len(kind)} training mixtures of "
                    f"{count} speakers, which would never be trained on; set a smaller --batch_size or give more data"
                )

    def __len__(self):
        if len(self.kinds) == 1:
            return super().__len__()
        return sum(len(kind) // self.stretch for kind in self.kinds) * self.stretch

    def __iter__(self):
        if len(self.kinds) == 1:
            return super().__iter__()
        self.generator.manual_seed(self.seed + self.epoch)
        stretches = [stretch for kind in self.kinds for stretch in self._stretches(kind)]
        order = torch.randperm(len(stretches), generator=self.generator).tolist()
        return iter([item for place in order for item in stretches[place]])

    def _stretches(self, kind):
        kind = kind[torch.randperm(len(kind), generator=self.generator)]
        whole = len(kind) // self.stretch
        return kind[: whole * self.stretch].view(whole, self.stretch).tolist()


def alike_batches(dataset, batch_size, indices):
    """Cut ``indices``, in their order, into batches of items with one number of sources; the last ones may be smaller.

    Example
    -------
    >>> class Mixtures:
    ...     def source_counts(self):
    ...         return np.array([2, 3, 2, 2])
    >>> alike_batches(Mixtures(), 2, range(4))
    [[0, 2], [3], [1]]
    """
    counts, indices = dataset.source_counts(), np.asarray(indices, np.int64)
    kinds = [indices[counts[indices] == count] for count in np.unique(counts[indices])]
    return [kind[i : i + batch_size].tolist() for kind in kinds for i in range(0, len(kind), batch_size)]
