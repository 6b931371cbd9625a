"""Masking by embeddings: each bin goes to the attractors that it is like (DANet, Chen et al. 2017, and its kin)."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from sb_ext.contracts import AttractorSeparation, Separator
from sb_ext.separators.counting import CosineCounting
from sb_ext.separators.embeddings import Embeddings
from sb_ext.separators.masking import EPS, Magnitude


@dataclass
class Embedded:
    """A mixture and what a separator's network says of its bins.

    Arguments
    ---------
    code : torch.Tensor
        ``[B, F, L]``, the filterbank's features of the mixture, complex for an STFT.
    magnitude : torch.Tensor
        ``[B, F, L]``.
    space : Embeddings
        Of ``[B, N, D]``; N = F x L.
    sources : torch.Tensor or None
        ``[B, C, N]``, magnitudes of the true sources.
    samples : int
        T.
    """

    code: torch.Tensor
    magnitude: torch.Tensor
    space: Embeddings
    sources: torch.Tensor | None
    samples: int

    @property
    def magnitudes(self):
        """``[B, N]``."""
        return self.magnitude.flatten(1)

    @cached_property
    def ideal(self):
        """The sources' shares of each bin, ``[B, C, N]``, or None."""
        return None if self.sources is None else self.sources / (self.sources.sum(1, keepdim=True) + EPS)

    def item(self, row):
        """One item of the batch."""
        own = slice(row, row + 1)
        sources = None if self.sources is None else self.sources[own]
        return Embedded(self.code[own], self.magnitude[own], self.space.item(row), sources, self.samples)


class AttractorMasking(Separator):
    """Features, embeddings, attractors, masks by similarity, decoder.

    Attractors come from one choice while training and from another at inference; any choice that a model holds can be
    taken at inference, whatever it was trained with.

    Arguments
    ---------
    filterbank : sb_ext.filterbanks.Stft, LearnedFilterbank or alike
    network : nn.Module
        ``[B, F, L]`` to a tuple that ends with ``[B, D, F, L]``, an embedding a bin.
    attractors : dict
        Name to a module of sb_ext.separators.attractors.
    inference : str
        Which of them is used outside training.
    training_attractors : str or None
        Which is used while training; None: none, the embeddings alone are trained (DPCL).
    similarity : sb_ext.separators.similarities.Similarity
    weighting : callable
        Of sb_ext.separators.weighting: which bins attractors are formed of.
    clustering_weighting : callable, optional
        The same for k-means and for counting, where that differs.
    features : nn.Module, optional
        Between magnitude and network; the plain magnitude by default.
    unit_norm : bool
        Whether embeddings count as of unit length.
    counting : nn.Module, optional
        Embeddings and weights to the number of sources ``[B]``, where that is not given; CosineCounting by default.
    enhancement : nn.Module, optional
        Masked and mixture magnitudes, ``[B, C, F, L]`` and ``[B, F, L]``, to better masks ``[B, C, F, L]`` (DPCL++).
    freeze_filterbank : bool
        Whether the filterbank is left as it is (SANet's second stage).

    Example
    -------
    >>> from sb_ext.clustering import KMeans
    >>> from sb_ext.filterbanks import Stft
    >>> from sb_ext.networks import TemporalConvNet
    >>> from sb_ext.separators import attractors, similarities, weighting
    >>> network = TemporalConvNet(33, 4, 8, 16, num_layers=1, num_stacks=1, activation=torch.nn.Identity)
    >>> separator = AttractorMasking(
    ...     Stft(64, 32), network, {"euclidean": attractors.KMeansAttractors(KMeans())}, "euclidean",
    ...     similarity=similarities.DotProduct(), weighting=weighting.LoudestBins(),
    ... )
    >>> separator.eval()(torch.randn(2, 500), num_sources=3).sources.shape
    torch.Size([2, 3, 500])
    """

    chooses_count = True

    def __init__(
        self, filterbank, network, attractors, inference, training_attractors=None, similarity=None, weighting=None,
        clustering_weighting=None, features=None, unit_norm=False, counting=None, enhancement=None,
        freeze_filterbank=False,
    ):  # fmt: skip
        super().__init__()
        if network.num_inputs != filterbank.num_bins:
            raise ValueError(
                f"network.num_inputs: the filterbank gives {filterbank.num_bins} bins, received {network.num_inputs}"
            )
        for key, name in (("inference", inference), ("training_attractors", training_attractors)):
            if name not in attractors and not (key == "training_attractors" and name is None):
                raise ValueError(f"{key}: expected one of {', '.join(attractors)}, received {name!r}")
        self.filterbank, self.network, self.attractors = filterbank, network, nn.ModuleDict(attractors)
        self.inference, self.training_attractors = inference, training_attractors
        self.similarity, self.weighting = similarity, weighting
        self.clustering_weighting = weighting if clustering_weighting is None else clustering_weighting
        self.features = Magnitude() if features is None else features
        self.unit_norm, self.enhancement = unit_norm, enhancement
        self.counting = CosineCounting() if counting is None else counting
        if freeze_filterbank:
            filterbank.requires_grad_(False)

    def forward(self, mixture, *, oracle=None, num_sources=None, layers=False):
        """See Separator; gives an AttractorSeparation.

        ``oracle`` gives the ideal masks, and attractors where these are chosen. Without ``num_sources`` their number is
        that of ``oracle`` while training or with ideal attractors, and estimated otherwise: an item with fewer sources
        than another of its batch then has silence behind them.
        """
        embedded = self.embed(mixture, oracle)
        name = self.training_attractors if self.training else self.inference
        if num_sources is None and oracle is not None and (self.training or name == "ideal"):
            num_sources = oracle.shape[1]
        if name is None:
            empty = mixture.new_zeros(len(mixture), 0, mixture.shape[-1])
            return self._separation(empty, embedded, self.weighting(embedded.magnitudes))
        if num_sources is None:
            return self._count_first(embedded, name)
        separation = self.separate(embedded, name, num_sources)
        separation.layers = (separation.sources,) if layers else ()
        return separation

    def embed(self, mixture, oracle=None):
        """What does not depend on how attractors are found: the mixture ``[B, T]`` as Embedded."""
        code = self.filterbank.encode(mixture)
        magnitude = code.abs()
        vectors = self.network(self.features(magnitude))[-1].flatten(2).mT
        sources = None if oracle is None else self.filterbank.encode(oracle).abs().flatten(2)
        space = Embeddings.of(vectors, self.unit_norm)
        return Embedded(code, magnitude, space, sources, mixture.shape[-1])

    def separate(self, embedded, name, num_sources):
        """Separate with the attractors that ``name`` gives.

        Arguments
        ---------
        embedded : Embedded
            From ``embed``.
        name : str
            Of the separator's attractors.
        num_sources : int
            C.

        Returns
        -------
        AttractorSeparation
        """
        weights = self._weights(embedded, name)
        attractors = self.attractors[name](embedded.space, weights, embedded.ideal, num_sources)
        if self.training and "fixed" in self.attractors:
            self.attractors["fixed"].observe(attractors)
        masks = self.similarity.masks(self.similarity(embedded.space, attractors))
        magnitude, code = embedded.magnitude, embedded.code
        if self.enhancement is not None:
            masked = masks.unflatten(-1, magnitude.shape[1:]) * magnitude.unsqueeze(1)
            masks = self.enhancement(masked, magnitude).flatten(2)
        masked = masks.float().unflatten(-1, code.shape[1:]) * code.unsqueeze(1)
        sources = self.filterbank.decode(masked, embedded.samples)
        return self._separation(sources, embedded, weights, attractors=attractors, masks=masks)

    def count(self, mixture):
        """See Separator."""
        return self._counts(self.embed(mixture))

    def check_count(self, num_sources):
        """See Separator; anchors and fixed attractors are so many and no more."""
        self.attractors[self.inference].check_count(num_sources)

    def _weights(self, embedded, name):
        weighting = self.clustering_weighting if self.attractors[name].clusters else self.weighting
        return weighting(embedded.magnitudes)

    def _counts(self, embedded):
        return self.counting(embedded.space.vectors, self.clustering_weighting(embedded.magnitudes))

    @staticmethod
    def _separation(sources, embedded, weights, **found):
        return AttractorSeparation(
            sources,
            space=embedded.space,
            weights=weights,
            ideal=embedded.ideal,
            mixture_magnitudes=embedded.magnitudes,
            source_magnitudes=embedded.sources,
            **found,
        )

    def _count_first(self, embedded, name):
        counts, most = self._counts(embedded).tolist(), self.attractors[name].most
        counts = [min(count, most or count) for count in counts]
        items = [self.separate(embedded.item(row), name, count).sources for row, count in enumerate(counts)]
        padded = [nn.functional.pad(item, (0, 0, 0, max(counts) - item.shape[1])) for item in items]
        return self._separation(torch.cat(padded), embedded, self._weights(embedded, name))

    def load_sanet(self, state):
        """Take the weights of the authors' SANet (github.com/fjiang9/sanet), for a TemporalConvNet of the same size.

        Arguments
        ---------
        state : dict
            The entry ``state_dict`` of its checkpoint.
        """
        for part, name in (("encoder", "encoder.conv"), ("decoder", "decoder.deconv")):
            getattr(self.filterbank, part).load_state_dict({"weight": state[f"{name}.weight"]})
        scope = "danet.embedding_net."
        network = {name.removeprefix(scope): value for name, value in state.items() if name.startswith(scope)}
        self.network.load_torchaudio({_torchaudio_name(name): value for name, value in network.items()})


SANET_NAMES = {"LN": "input_norm", "BN": "input_conv", "output.0": "output_prelu", "output.1": "output_conv"}
SANET_BLOCK = ("conv1d", "nonlinearity1", "reg1", "dconv1d", "nonlinearity2", "reg2")


def _torchaudio_name(name):
    """What a weight of the authors' TCN is called in torchaudio's."""
    module, _, kind = name.rpartition(".")
    if not module.startswith("TCN."):
        return f"{SANET_NAMES[module]}.{kind}"
    _, place, part = module.split(".")
    part = f"conv_layers.{SANET_BLOCK.index(part)}" if part in SANET_BLOCK else part
    return f"conv_layers.{place}.{part}.{kind}"
