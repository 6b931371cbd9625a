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
from sklearn.manifold import TSNE

from sb_ext.assignment import best_permutation, reorder
from sb_ext.atomic import whole_file
from sb_ext.evaluation.hooks import Evaluation
from sb_ext.losses import NegSISDR

logger = logging.getLogger(__name__)

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

    def __init__(self, folder, separator, attractors=4000, bins=3000, seed=0):
        super().__init__()
        self.folder, self.separator = folder, separator
        self.attractors, self.bins, self.seed = attractors, bins, seed

    def start(self, stage):
        """Nothing seen yet."""
        self.ids, self.found, self.speakers, self.plane = [], [], [], {}

    @torch.no_grad()
    def update(self, batch, estimates, ordered):
        """Find the attractors of each item, cut to its own length, once more."""
        if batch.sources is None:
            return
        for row, length in enumerate(batch.lengths.tolist()):
            sources = batch.sources[row : row + 1, :, :length]
            count = sources.shape[1]
            if len(self.ids) + count > self.attractors or not sources.any(-1).all():
                continue
            separation = self.separator(batch.mixture[row : row + 1, :length], oracle=sources, num_sources=count)
            self.ids += [batch.ids[row]] * count
            self.found += _in_order(separation, sources).float().cpu().numpy()[0].tolist()
            self.speakers += [-1] * count if batch.speakers is None else batch.speakers[row].tolist()
            self.plane = self.plane or self._project(separation)

    def _project(self, separation):
        """The plane of a separation's loudest bins, in which the attractors of every choice are marked."""
        found = separation.space, separation.weights, separation.ideal, separation.attractors.shape[1]
        names = [name for name in ("ideal", "euclidean", "spherical") if name in self.separator.attractors]
        chosen = {name: self.separator.attractors[name](*found)[0] for name in names}
        if self.separator.inference not in chosen:
            chosen[self.separator.inference] = separation.attractors[0]
        loudest = separation.mixture_magnitudes[0].argsort(descending=True)[: self.bins]
        points = separation.embeddings[0, loudest].double()
        axes, explained = principal_axes(points)
        return {
            "bins": _array(points @ axes),
            "dominant": separation.ideal[0, :, loudest].argmax(0).cpu().numpy().astype(np.int8),
            "choices": np.array(list(chosen)),
            "chosen": _array(torch.stack(list(chosen.values())).double() @ axes),
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

    They are not shifted to the mean: the origin, where directions begin, stays the origin.

    Arguments
    ---------
    points : torch.Tensor
        ``[N, D]``.

    Returns
    -------
    axes : torch.Tensor
        ``[D, 2]``, the second zero for D = 1.
    explained : torch.Tensor
        ``[2]``.

    Example
    -------
    >>> axes, explained = principal_axes(torch.tensor([[1.0, 5.0, 0.0], [3.0, 5.0, 0.0], [2.0, 5.0, 0.5]]))
    >>> axes.abs().round(decimals=2).T.tolist(), round(float(explained[0]), 2)
    ([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], 0.92)
    """
    powers, axes = torch.linalg.eigh((points - points.mean(0)).T.cov(correction=0).reshape(2 * points.shape[1:]))
    return axes, powers


def neighbour_map(points, seed=0):
    """t-SNE in two dimensions: ``[M, D]`` to ``[M, 2]``, or to ``[0, 2]`` where fewer than FEW differ."""
    if len(np.unique(points, axis=0)) < FEW:
        return np.zeros((0, 2), np.float32)
    logger.info("Mapping %d attractors by t-SNE", len(points))
    return TSNE(perplexity=min(30, len(points) / 4), random_state=seed).fit_transform(points)
