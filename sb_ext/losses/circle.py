"""Circle loss over the attractors of a batch: one speaker's together, different speakers' apart."""

import torch
from speechbrain.utils.distributed import is_distributed_initialized
from torch import nn


class CircleLoss:
    """Circle loss (Sun et al. 2020, eq. 6; SANet, eq. 7) over all pairs of attractors in the batch, and of all ranks.

    ``softplus(log sum_j exp(g a_n (s_n - m)) + log sum_i exp(-g a_p (s_p - 1 + m)))`` with ``a_n = [s_n + m]_+`` and
    ``a_p = [1 + m - s_p]_+``, which carry no gradient.

    Arguments
    ---------
    margin, scale : float
        m and g; 0.25 and 15 in SANet.

    Example
    -------
    >>> attractors = torch.eye(4)[[0, 1, 0, 1]]
    >>> [round(CircleLoss()(attractors, torch.tensor(labels)).item(), 2) for labels in ([5, 6, 5, 6], [5, 6, 6, 5])]
    [0.8, 29.51]
    """

    def __init__(self, margin=0.25, scale=15.0):
        self.margin, self.scale = margin, scale

    def __call__(self, attractors, speakers):
        """The loss of ``attractors [N, D]`` whose ``speakers [N]`` are known; zero where a kind of pair lacks."""
        attractors, speakers = _of_all_ranks(attractors, speakers)
        attractors = nn.functional.normalize(attractors, dim=-1)
        first, second = torch.triu_indices(len(speakers), len(speakers), 1, device=attractors.device)
        cosines = (attractors @ attractors.T)[first, second]
        same = speakers[first] == speakers[second]
        if not same.any() or same.all():
            return cosines.sum() * 0
        positive, negative = cosines[same], cosines[~same]
        pull = (1 + self.margin - positive.detach()).clamp_min(0) * (positive - 1 + self.margin)
        push = (negative.detach() + self.margin).clamp_min(0) * (negative - self.margin)
        return nn.functional.softplus((self.scale * push).logsumexp(0) + (-self.scale * pull).logsumexp(0))


def _of_all_ranks(attractors, speakers):
    """Those of every DDP rank, in the order of the ranks; gradients flow to the rank they came from."""
    if not is_distributed_initialized() or torch.distributed.get_world_size() == 1:
        return attractors, speakers
    from torch.distributed.nn.functional import all_gather

    ranks = torch.distributed.get_world_size()
    counts = [speakers.new_zeros(()) for _ in range(ranks)]
    torch.distributed.all_gather(counts, speakers.new_tensor(len(speakers)))
    # Ranks may hold batches of different numbers of speakers: all are sent as long as the longest.
    longest = int(max(counts))
    missing = longest - len(speakers)
    labels = [speakers.new_empty(longest) for _ in range(ranks)]
    torch.distributed.all_gather(labels, nn.functional.pad(speakers, (0, missing)))
    parts = all_gather(nn.functional.pad(attractors, (0, 0, 0, missing)))
    whole = [torch.cat([part[:count] for part, count in zip(each, counts, strict=True)]) for each in (parts, labels)]
    return whole[0], whole[1]
