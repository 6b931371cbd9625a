"""Where attractors and embeddings lie, for the report to draw without the model: ``embedding_pictures.npz``.

====================  ==================================================================================
``ids``               ``[M]``, of each attractor's mixture
``attractors``        ``[M, D]``, those of inference
``speakers``          ``[M]``, whose attractor it is; -1 where the data do not tell
``map``               ``[M, 2]``, their t-SNE (SANet, Fig. 2); ``[0, 2]`` where there are too few
``bins``              ``[P, 2]``, principal components of a mixture's embeddings (k-means DANet, Fig. 1)
``dominant``          ``[P]``, the loudest source of each
``choices``           ``[K]``, names of ways to find attractors
``chosen``            ``[K, C, 2]``, what they find for that mixture, in the same components
``explained``         ``[2]``, the components' shares of the variance
====================  ==================================================================================
"""

import logging
import os

import numpy as np
import torch
from torch import nn

from sb_ext.assignment import best_permutation, reorder
from sb_ext.atomic import whole_file
from sb_ext.evaluation.hooks import Evaluation
from sb_ext.losses import NegSISDR

logger = logging.getLogger(__name__)

CHOICES = ("ideal", "euclidean", "spherical")
"""Marked in the plane where a model has them, with its own choice at inference."""
FEW = 10
"""So many different attractors at least make a map."""


class EmbeddingPictures(Evaluation):
    """The test's attractors, mapped by t-SNE, and the embeddings of its first mixture, projected by PCA.

    Mixtures with a silent source are passed over, and recordings without references.

    Arguments
    ---------
    folder : str
        The experiment's output folder.
    separator : sb_ext.separators.AttractorMasking
    attractors : int
        How many to map at most, those of the first mixtures.
    bins : int
        How many of the mixture's loudest bins to project at most.
    seed : int
        Of t-SNE.
    """

    def __init__(self, folder, separator, attractors=2000, bins=3000, seed=0):
        super().__init__()
        self.folder, self.separator = folder, separator
        self.attractors, self.bins, self.seed = attractors, bins, seed

    def start(self, stage):
        """Nothing seen yet."""
        self.ids, self.found, self.speakers, self.plane = [], [], [], {}

    @torch.no_grad()
    def update(self, batch, estimates, ordered):
        """Find the attractors of each item once more, cut to its own length."""
        for row, length in enumerate(batch.lengths.tolist() if batch.sources is not None else ()):
            sources = batch.sources[row : row + 1, :, :length]
            count = sources.shape[1]
            if len(self.ids) + count > self.attractors or not sources.any(-1).all():
                continue
            embedded = self.separator.embed(batch.mixture[row : row + 1, :length], sources)
            if not embedded.space.vectors.isfinite().all():
                continue
            separation = self.separator.separate(embedded, self.separator.inference, count)
            self.ids += [batch.ids[row]] * count
            self.found += _array(_in_order(separation, sources)[0]).tolist()
            self.speakers += [-1] * count if batch.speakers is None else batch.speakers[row].tolist()
            self.plane = self.plane or self._project(embedded, separation)

    def _project(self, embedded, separation):
        """The plane of a separation's loudest bins, with the attractors of every choice in it."""
        names, count = [name for name in CHOICES if name in self.separator.attractors], separation.attractors.shape[1]
        chosen = {name: self.separator.separate(embedded, name, count).attractors[0] for name in names}
        chosen.setdefault(self.separator.inference, separation.attractors[0])
        loudest = separation.mixture_magnitudes[0].argsort(descending=True)[: self.bins]
        points = separation.embeddings[0, loudest].to("cpu", torch.float64)
        axes, explained = principal_axes(points)
        marks = torch.stack(list(chosen.values())).to("cpu", torch.float64) @ axes
        return {
            "bins": _array(points @ axes),
            "dominant": separation.ideal[0, :, loudest].argmax(0).cpu().numpy(),
            "choices": np.array(list(chosen)),
            "chosen": _array(marks),
            "explained": _array(explained),
        }

    def finish(self, separate, stage):
        """Write the file, if there is anything to draw."""
        if not self.ids:
            return {}
        found = np.array(self.found, np.float32)
        tables = {"ids": np.array(self.ids), "attractors": found, "speakers": np.array(self.speakers)}
        path = os.path.join(self.folder, "embedding_pictures.npz")
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, map=neighbour_map(found, self.seed), **tables, **self.plane)
        return {}


def _in_order(separation, sources):
    """Attractors in the order of the sources that were separated with them."""
    permutation = best_permutation(NegSISDR().pairwise(separation.sources.float(), sources))
    return reorder(separation.attractors, permutation)


def _array(values):
    return values.float().cpu().numpy()


def principal_axes(points):
    """The two directions of largest variance, and their shares of it.

    Points are projected by ``points @ axes``, without a shift to their mean: the origin, from which directions are
    seen, stays the origin.

    Arguments
    ---------
    points : torch.Tensor
        ``[N, D]``.

    Returns
    -------
    axes : torch.Tensor
        ``[D, 2]``; the second is zero for D = 1.
    explained : torch.Tensor
        ``[2]``.

    Example
    -------
    >>> axes, explained = principal_axes(torch.tensor([[1.0, 5.0, 0.0], [3.0, 5.0, 0.0], [2.0, 5.0, 0.5]]))
    >>> axes.abs().mT.tolist(), round(float(explained[0]), 2)
    ([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], 0.92)
    """
    centred = points - points.mean(0)
    powers, axes = torch.linalg.eigh(centred.mT @ centred)
    explained = powers / powers.sum().clamp_min(torch.finfo(powers.dtype).tiny)
    return tuple(nn.functional.pad(values.flip(-1), (0, 1))[..., :2] for values in (axes, explained))


def neighbour_map(points, seed=0):
    """t-SNE in two dimensions: ``[M, D]`` to ``[M, 2]``, or to ``[0, 2]`` where fewer than FEW differ."""
    if len(np.unique(points, axis=0)) < FEW:
        return np.zeros((0, 2), np.float32)
    # Slow to import, and needed once, at the end.
    from sklearn.manifold import TSNE

    logger.info("Mapping %d attractors by t-SNE", len(points))
    return TSNE(perplexity=min(30, len(points) / 4), random_state=seed).fit_transform(points)
