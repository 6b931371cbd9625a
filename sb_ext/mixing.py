"""Making new mixtures inside a batch: sums of mixtures, shuffled sources, cyclic remixing.

All of it draws from torch's global random state on the CPU, which the checkpoints hold, so that a resumed run draws
what the uninterrupted one would have drawn.
"""

import torch


def _check_size(size, count):
    if size < count:
        raise ValueError(
            f"batch: {size} mixtures leave no {count} different ones to mix; "
            f"set batch_size to at least {count}, and drop smaller last batches"
        )


def _circle(size, count):
    """``[size, count]``: row b holds ``count`` neighbours on a random circle of ``size`` items, starting anywhere."""
    _check_size(size, count)
    place = torch.arange(size).unsqueeze(1) + torch.arange(count)
    return torch.randperm(size)[place % size]


class CyclicGroups:
    """Groups every item with random other ones: one group an item, each item in ``count`` groups.

    Example
    -------
    >>> groups = CyclicGroups()(5, 2)
    >>> groups.shape, bool((groups[:, 0] != groups[:, 1]).all())
    (torch.Size([5, 2]), True)
    """

    def __call__(self, size, count):
        """``[size, count]``, int64; no group holds an item twice."""
        return _circle(size, count)


class DisjointGroups:
    """Groups items so that each is used once, as the public MixCycle code does: ``size // count`` groups.

    Example
    -------
    >>> sorted(DisjointGroups()(4, 2).flatten().tolist())
    [0, 1, 2, 3]
    """

    def __call__(self, size, count):
        """``[size // count, count]``, int64; items that fill no group are left out."""
        _check_size(size, count)
        return torch.randperm(size)[: size // count * count].reshape(-1, count)


def shuffle_sources(sources):
    """Dynamic mixing inside the batch (PIT-DM): all sources of ``[B, C, T]`` dealt out anew at random.

    Returns
    -------
    torch.Tensor
        ``[B, C, T]``; their sums are the new mixtures.

    Example
    -------
    >>> sources = torch.arange(6.0).reshape(3, 2, 1)
    >>> sorted(shuffle_sources(sources).flatten().tolist())
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """
    batch, count, samples = sources.shape
    order = torch.randperm(batch * count).to(sources.device)
    return sources.reshape(batch * count, samples)[order].reshape(batch, count, samples)


def deal(estimates, donor, index):
    """``[B, C, T]`` dealt out anew: part c of row b is output ``index[b, c]`` of mixture ``donor[b, c]``."""
    return estimates[donor.to(estimates.device), index.to(estimates.device)]


class RandomIndexPairing:
    """MixCycle's pairing (eq. 5 and 6): each mixture gives away its outputs in random order, one to a new mixture.

    Each estimate is dealt once. With two outputs, half of the new mixtures hold one output index twice and the other
    half hold different ones.

    Example
    -------
    >>> estimates = torch.arange(8.0).reshape(4, 2, 1)
    >>> remixed = RandomIndexPairing()(estimates)
    >>> (remixed // 2)[:, 0].ne((remixed // 2)[:, 1]).all().item(), sorted(remixed.flatten().tolist())
    (True, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    """

    def draw(self, size, count):
        """Donors and output indices of ``size`` new mixtures of ``count`` parts, both ``[size, count]``."""
        donor = _circle(size, count)
        order = torch.stack([torch.randperm(count) for _ in range(size)])
        return donor, order[donor, torch.arange(count)]

    def __call__(self, estimates):
        """Estimates ``[B, C, T]`` dealt out anew, ``[B, C, T]``; no two of a row come from the same mixture."""
        return deal(estimates, *self.draw(*estimates.shape[:2]))


class SameIndexPairing(RandomIndexPairing):
    """Pairs estimates of one output index only: first outputs of C mixtures together, second outputs together, …

    A split that belongs to the output and not to the speaker (a band, a loudness, a half of the time) gives mixtures
    whose parts lie on the same side of that split, so that the split cannot separate them and earns nothing. Each
    estimate is dealt once where C divides B.

    Example
    -------
    >>> estimates = torch.arange(8.0).reshape(4, 2, 1)
    >>> remixed = SameIndexPairing()(estimates)
    >>> (remixed % 2)[:, 0].eq((remixed % 2)[:, 1]).all().item(), sorted(remixed.flatten().tolist())
    (True, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    """

    def draw(self, size, count):
        """Donors and output indices of ``size`` new mixtures of ``count`` parts, both ``[size, count]``."""
        donor = _circle(size, count)
        return donor, (torch.arange(size) % count).unsqueeze(1).expand(size, count)


class CrossIndexPairing(RandomIndexPairing):
    """Pairs estimates of different output indices only; self-evaluation compares it with SameIndexPairing.

    Example
    -------
    >>> estimates = torch.arange(8.0).reshape(4, 2, 1)
    >>> remixed = CrossIndexPairing()(estimates)
    >>> (remixed % 2)[:, 0].ne((remixed % 2)[:, 1]).all().item()
    True
    """

    def draw(self, size, count):
        """Donors and output indices of ``size`` new mixtures of ``count`` parts, both ``[size, count]``."""
        donor = _circle(size, count)
        return donor, torch.randperm(count).expand(size, count)
