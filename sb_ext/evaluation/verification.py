"""How well embeddings tell speakers apart that were not heard in training: the equal error rate."""

import numpy as np
import torch
from speechbrain.utils.metric_stats import EER

from sb_ext.evaluation.hooks import Evaluation

# Of which all pairs are listed before some are drawn: two million of them.
MOST_ITEMS = 2000


class EqualErrorRate(Evaluation):
    """Speaker verification by cosine, on trial pairs drawn from the items of a validation or a test.

    Gives ``eer`` and ``verified``, 1 - ``eer``, by which to choose checkpoints; NaN where there is no pair of one kind,
    or an embedding is not finite. Under DDP each rank draws from its share at validation.

    Arguments
    ---------
    trials : int
        At most so many of each kind: of one speaker, and of two.
    seed : int
        Of the draw.
    """

    gives = ("eer", "verified")

    def __init__(self, trials=5000, seed=1234, stages=("VALID", "TEST"), every=1):
        super().__init__(stages, every)
        self.trials, self.seed = trials, seed

    def start(self, stage):
        """Forget the embeddings of the last stage."""
        self.embeddings, self.speakers = [], []

    def update(self, batch, estimates, ordered):
        """Keep a batch's embeddings, ``[B, 1, D]``."""
        self.embeddings.append(estimates[:, 0].cpu())
        self.speakers.append(batch.speakers[:, 0].cpu())

    def finish(self, separate, stage):
        """The rates."""
        embeddings = torch.nn.functional.normalize(torch.cat(self.embeddings).double())
        trials = draw_trials(torch.cat(self.speakers).numpy(), self.trials, self.seed)
        scores = [(embeddings[pairs[:, 0]] * embeddings[pairs[:, 1]]).sum(1) for pairs in trials]
        # NaN among the scores would give a rate of zero, the best there is.
        measurable = all(map(len, trials)) and bool(torch.cat(scores).isfinite().all())
        eer = EER(*scores)[0] if measurable else float("nan")
        return {"eer": eer, "verified": 1 - eer}


def draw_trials(speakers, count, seed):
    """Pairs of items by one speaker, and pairs by two.

    Arguments
    ---------
    speakers : np.ndarray
        ``[N]``.
    count : int
        At most so many of each.
    seed : int

    Returns
    -------
    same, other : np.ndarray
        ``[M, 2]``, places in ``speakers``, each pair once.

    Example
    -------
    >>> same, other = draw_trials(np.array([7, 8, 7]), 10, seed=0)
    >>> same.tolist(), other.tolist()
    ([[0, 2]], [[0, 1], [1, 2]])
    """
    rng = np.random.default_rng(seed)
    items = np.sort(rng.permutation(len(speakers))[:MOST_ITEMS])
    pairs = items[np.stack(np.triu_indices(len(items), 1), 1)]
    alike = speakers[pairs[:, 0]] == speakers[pairs[:, 1]]
    return tuple(_some(pairs[kind], count, rng) for kind in (alike, ~alike))


def _some(pairs, count, rng):
    return pairs[np.sort(rng.permutation(len(pairs))[:count])]
