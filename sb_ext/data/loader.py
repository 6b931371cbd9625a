"""From stores to batches: crops that depend on seed, epoch and item alone, and padding."""

from typing import NamedTuple

import numpy as np
import torch
from speechbrain.utils.distributed import is_distributed_initialized
from torch import nn
from torch.utils.data import Dataset, default_collate

from sb_ext.contracts import MixtureBatch


class MixtureItem(NamedTuple):
    """One mixture or a crop of it: ``mixture [T]``, ``sources [C, T]`` or None, ``speakers [C]`` or None.

    ``length`` says how many of the T samples are real; what follows them is zero.
    """

    id: str
    mixture: torch.Tensor
    sources: torch.Tensor | None
    speakers: torch.Tensor | None
    length: int


class MixtureDataset(Dataset):
    """The mixtures of a store, whole or as random crops.

    The crop of item ``i`` in epoch ``e`` depends on ``(seed, e, i)`` only: not on the workers, nor on what was read
    before. A resumed run that sets its epoch therefore equals one that was not interrupted.

    Arguments
    ---------
    store : MixtureStore
    segment : int, optional
        Samples of a crop; shorter mixtures are padded with zeros. None gives whole mixtures.
    seed : int
    curriculum : dict, optional
        Epoch to samples of a crop from that epoch on, in place of ``segment``: short ones first, say.
    passes : int
        How often an epoch goes through the store, with other crops each time: longer epochs for small stores.

    Raises
    ------
    ValueError
        If the segment or the passes are not positive.

    Example
    -------
    >>> from sb_ext.data.store import MixtureStore
    >>> class Ramp(MixtureStore):
    ...     def _read(self, index, start, stop):
    ...         return np.arange(start, stop, dtype=np.float32), None
    >>> dataset = MixtureDataset(Ramp(["a", "b"], np.array([9000, 100]), None, 8000, 0), segment=200)
    >>> batch = collate([dataset[0], dataset[1]])
    >>> batch.mixture.shape, batch.lengths.tolist()
    (torch.Size([2, 200]), [200, 100])
    """

    def __init__(self, store, segment=None, seed=0, passes=1, curriculum=None):
        segments = {0: segment, **(curriculum or {})}
        for samples in segments.values():
            if samples is not None and (samples != int(samples) or samples < 1):
                raise ValueError(
                    f"MixtureDataset.segment must be a whole number of samples, at least 1, received {samples}"
                )
        if passes != int(passes) or passes < 1:
            raise ValueError(f"MixtureDataset.passes must be a whole number, at least 1, received {passes}")
        self.passes = int(passes)
        self.store, self.seed = store, int(seed)
        self.segments = {epoch: None if samples is None else int(samples) for epoch, samples in segments.items()}
        # In shared memory, since loader workers that persist keep the copy of this object they were started with.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch):
        """Choose the epoch, before its loader is iterated; workers that persist hear of it too."""
        self._epoch[0] = int(epoch)

    def source_counts(self):
        """How many sources each item has, ``[N]``."""
        return np.tile(self.store.source_counts(), self.passes)

    @property
    def segment(self):
        """Samples of a crop in this epoch, or None."""
        now = int(self._epoch[0])
        return self.segments[max(epoch for epoch in self.segments if epoch <= now)]

    def __len__(self):
        return len(self.store) * self.passes

    def __getitem__(self, draw):
        if not 0 <= draw < len(self):
            # Plain iteration over a dataset ends at this error; without it, the modulo would go on for ever.
            raise IndexError(f"MixtureDataset: index {draw} of {len(self)} items")
        index = int(draw) % len(self.store)
        length = int(self.store.lengths[index])
        start, stop, segment = 0, length, self.segment
        if segment is not None and length > segment:
            rng = np.random.default_rng([self.seed, int(self._epoch[0]), int(draw)])
            start = int(rng.integers(length - segment + 1))
            stop = start + segment
        mixture, sources = self.store.read(index, start, stop)
        padding = max(0, (segment or 0) - length)
        if padding:
            mixture = np.pad(mixture, (0, padding))
            sources = None if sources is None else np.pad(sources, ((0, 0), (0, padding)))
        return MixtureItem(
            id=self.store.ids[index],
            mixture=torch.from_numpy(mixture),
            sources=None if sources is None else torch.from_numpy(sources),
            speakers=None if self.store.speakers is None else torch.tensor(self.store.speakers[index]),
            length=stop - start,
        )


def share_of_rank(dataset):
    """The items that this DDP rank validates, as a sampler: every item falls to one rank, all to a single process."""
    if not is_distributed_initialized():
        return range(len(dataset))
    return range(torch.distributed.get_rank(), len(dataset), torch.distributed.get_world_size())


def collate(items):
    """A batch of items, padded with zeros to the longest.

    Arguments
    ---------
    items : list of MixtureItem

    Returns
    -------
    MixtureBatch

    Raises
    ------
    ValueError
        If the items differ in their number of sources, or only some of them have sources or speakers.
    """
    _check_alike(items)
    longest = max(item.mixture.shape[-1] for item in items)
    first = items[0]
    return MixtureBatch(
        ids=[item.id for item in items],
        mixture=_padded([item.mixture for item in items], longest),
        sources=None if first.sources is None else _padded([item.sources for item in items], longest),
        speakers=None if first.speakers is None else torch.stack([item.speakers for item in items]),
        lengths=torch.tensor([item.length for item in items], dtype=torch.int64),
    )


def _check_alike(items):
    for what in ("sources", "speakers"):
        counts = [None if getattr(item, what) is None else len(getattr(item, what)) for item in items]
        if len(set(counts)) > 1:
            listed = ", ".join(f"{item.id}: {count}" for item, count in zip(items, counts, strict=True))
            raise ValueError(
                f"collate: the items of a batch must agree in their number of {what}, received {listed}; "
                "batch mixtures of one number of sources together"
            )


def _padded(tensors, longest):
    short = [longest - tensor.shape[-1] for tensor in tensors]
    tensors = [nn.functional.pad(one, (0, gap)) if gap else one for one, gap in zip(tensors, short, strict=True)]
    # In a worker, torch's own puts the batch where the main process reads it: no copy, and a fraction of the memory.
    return default_collate(tensors)
