"""Long mixtures in bounded memory: overlapping chunks whose speakers are kept in one order."""

import torch

from sb_ext.assignment import best_permutation, reorder

# Found with benchmarks/inference.py: no swap at a border, and as good as one pass over the whole.
CHUNK_SECONDS = 30.0
OVERLAP_SECONDS = 5.0
# A new order must fit twice as well as the old one: a separator of its own accord mostly keeps its outputs' order, so
# that an overlap in which little can be told apart should not change it.
RELUCTANCE = 0.5
# An overlap counts as heard with a tenth of the power that a chunk has on average.
HEARD = 0.1


def in_chunks(separate, read, length, chunk, overlap):
    """Separate a mixture of any length, a chunk at a time; one no longer than a chunk in one pass.

    Where two chunks overlap, the new one's estimates are put in the order of the old one's and faded in over the whole
    overlap; estimates that add up to the mixture still do. An overlap in which too little is heard to tell the sources
    apart is made longer, up to half a chunk.

    Arguments
    ---------
    separate : callable
        ``[1, T]`` to ``[1, C, T]``.
    read : callable
        ``read(start, stop)`` gives these samples of the mixture, ``[1, T]``.
    length, chunk, overlap : int
        In samples, of the mixture, of a chunk, and of what two chunks share at least.

    Yields
    ------
    torch.Tensor
        ``[1, C, n]``, one after the other; together ``[1, C, length]``.

    Raises
    ------
    ValueError
        Unless the overlap is at least one sample and at most half a chunk.

    Example
    -------
    >>> mixture = torch.randn(1, 1000)
    >>> blocks = in_chunks(lambda part: torch.stack([part, 0 * part], 1), lambda a, b: mixture[:, a:b], 1000, 300, 100)
    >>> torch.allclose(torch.cat(list(blocks), -1)[:, 0], mixture, atol=1e-6)
    True
    """
    if not 1 <= overlap <= chunk // 2:
        raise ValueError(f"overlap: expected 1 to {chunk // 2} samples, half a chunk, received {overlap}")
    if length <= chunk:
        yield separate(read(0, length))
        return
    start, held, order = 0, separate(read(0, chunk)), None
    while start + chunk < length:
        following = min(start + chunk - _shared(held, overlap), length - chunk)
        shared = start + chunk - following
        estimates = separate(read(following, following + chunk))
        order = align(estimates, held, shared, order)
        estimates = reorder(estimates, order)
        fade = (torch.arange(shared, device=held.device) + 0.5) / shared
        estimates[..., :shared] = torch.lerp(held[..., -shared:], estimates[..., :shared], fade)
        yield held[..., :-shared]
        start, held = following, estimates
    yield held


def most_sources(separate, read, length, chunk, probes=8):
    """The largest number of sources that ``separate`` counts in chunks spread over a mixture; arguments as in_chunks's.

    Example
    -------
    >>> most_sources(lambda part: torch.zeros(1, int(part.max()), 9), lambda a, b: torch.arange(a, b)[None], 4, 2)
    3
    """
    starts = torch.linspace(0, length - chunk, min(probes, -(-length // chunk))).long().tolist()
    return max(separate(read(start, start + chunk)).shape[1] for start in starts)


def align(estimates, held, shared, order=None):
    """Which estimate of a chunk goes on with which of the chunk before.

    Arguments
    ---------
    estimates, held : torch.Tensor
        ``[1, C, T]``, of this chunk and of the one before.
    shared : int
        In samples: the overlap.
    order : torch.Tensor, optional
        ``[1, C]``, what was given for the chunk before; the separator's own order by default.

    Returns
    -------
    torch.Tensor
        ``[1, C]``, as sb_ext.assignment.best_permutation gives it.
    """
    new, old = estimates[..., :shared].float(), held[..., -shared:].float()
    powers = new.square().sum(-1).unsqueeze(2) + old.square().sum(-1).unsqueeze(1)
    # Never 0: in silence, too, the old order must be the nearer one.
    distance = (powers - 2 * new @ old.mT).clamp_min(torch.finfo(torch.float32).tiny)
    order = torch.arange(distance.shape[1], device=distance.device).unsqueeze(0) if order is None else order
    kept = distance.gather(1, order.unsqueeze(1))
    return best_permutation(distance.scatter(1, order.unsqueeze(1), RELUCTANCE * kept))


def _shared(held, overlap):
    """How much of the end of a chunk ``held [1, C, T]`` tells its sources apart: ``overlap`` samples or more."""
    sources, samples = held.shape[1:]
    # Power from the end on, of the quietest but one: the last source is where the others are not.
    heard = held[0].float().square().flip(-1).cumsum(-1).sort(0, descending=True)[0][max(sources - 2, 0)]
    enough = int(torch.searchsorted(heard, HEARD * overlap / samples * heard[-1:])) + 1
    return min(max(enough, overlap), samples // 2)
