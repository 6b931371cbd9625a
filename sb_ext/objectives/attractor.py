"""Training of embeddings and attractors: a sum of named terms."""

import torch

from sb_ext.assignment import pit, pit_loss
from sb_ext.contracts import LossReport, Objective
from sb_ext.losses.compactness import compactness_loss
from sb_ext.losses.deep_clustering import deep_clustering_loss
from sb_ext.objectives.pit import require_sources
from sb_ext.separators.attractors import dominance


class AttractorLearning(Objective):
    """A separator that sees the true sources while training, and what its separation costs, term by term.

    Arguments
    ---------
    terms : dict
        Name to a term of this module: called with the separation and the batch, it gives ``[B]``.

    Example
    -------
    >>> from sb_ext.contracts import MixtureBatch, Separation
    >>> from sb_ext.losses import NegSNR
    >>> sources = torch.randn(3, 2, 400)
    >>> batch = MixtureBatch(list("abc"), sources.sum(1), sources, None, torch.full((3,), 400))
    >>> objective = AttractorLearning({"reconstruction": Reconstruction(NegSNR(30))})
    >>> objective(lambda mixture, oracle, num_sources: Separation(oracle), batch, epoch=1).loss.round().tolist()
    [-30.0, -30.0, -30.0]
    """

    def __init__(self, terms):
        super().__init__()
        self.terms = dict(terms)

    def forward(self, separator, batch, epoch):
        """See Objective."""
        sources = require_sources(batch, self)
        separation = separator(batch.mixture, oracle=sources, num_sources=sources.shape[1])
        costs = {name: term.weight * term(separation, batch) for name, term in self.terms.items()}
        log = {name: cost.detach().mean() for name, cost in costs.items()} if len(costs) > 1 else {}
        return LossReport.of_all(sum(costs.values()), **log)


class Reconstruction:
    """A loss of the estimated waveforms, in their best order (SANet, eq. 6).

    Arguments
    ---------
    loss : sb_ext.losses.NegSISDR or alike
    weight : float
    """

    def __init__(self, loss, weight=1.0):
        self.loss, self.weight = loss, weight

    def __call__(self, separation, batch):
        return pit_loss(self.loss, separation.sources, batch.sources)[0]


class MagnitudeError:
    """Mean squared error of the masked mixture's magnitudes (DANet, eq. 3).

    Arguments
    ---------
    permute : bool
        Whether in the best order: for attractors that do not know whose they are (k-means DANet, ADANet).
    weight : float
    """

    def __init__(self, permute=False, weight=1.0):
        self.permute, self.weight = permute, weight

    def __call__(self, separation, batch):
        estimates = separation.masks * separation.mixture_magnitudes.unsqueeze(1)
        targets = separation.source_magnitudes
        if not self.permute:
            return (estimates - targets).square().mean((1, 2))
        columns = [(estimates - target.unsqueeze(1)).square().mean(-1) for target in targets.unbind(1)]
        return pit(torch.stack(columns, 2))[0]


class SpeakerLoss:
    """Attractors of one speaker together, of different speakers apart, across the batch (SANet, eq. 7).

    Arguments
    ---------
    loss : sb_ext.losses.CircleLoss
    weight : float
        Lambda 1.
    """

    def __init__(self, loss, weight=1.0):
        self.loss, self.weight = loss, weight

    def __call__(self, separation, batch):
        if batch.speakers is None:
            raise ValueError(
                f"speaker: this data set does not say who speaks (first item: {batch.ids[0]!r}); "
                "take data with speakers, or leave the term out (sanet_no_speaker_loss.yaml)"
            )
        attractors = separation.attractors.flatten(0, 1)
        # A source that is silent in this segment has none.
        there = attractors.detach().square().sum(-1) > 0
        return self.loss(attractors[there], batch.speakers.flatten()[there]).expand(len(batch))


class Compactness:
    """Embeddings near the attractor of the source that dominates them (SANet, eq. 8).

    As in the authors' code, it moves the embeddings to the attractor, which is held still.

    Arguments
    ---------
    weight : float
        Lambda 2.
    """

    def __init__(self, weight=5.0):
        self.weight = weight

    def __call__(self, separation, batch):
        attractors = torch.nn.functional.normalize(separation.attractors.detach(), dim=-1)
        return compactness_loss(separation.space.products(attractors), separation.ideal, separation.weights)


class DeepClustering:
    """``|V V^T - Y Y^T|^2`` over the bins that count (DPCL).

    Arguments
    ---------
    weight : float
    """

    def __init__(self, weight=1.0):
        self.weight = weight

    def __call__(self, separation, batch):
        memberships = dominance(separation.ideal).mT
        return deep_clustering_loss(separation.embeddings, memberships, separation.weights)
