"""Masking by embeddings: each bin goes to the attractors that it is like (DANet, Chen et al. 2017, and its kin)."""

import sys

import torch
from torch import nn

from sb_ext.contracts import AttractorSeparation, Separator
from sb_ext.separators.attractors import KMeansAttractors
from sb_ext.separators.counting import CosineCounting
from sb_ext.separators.embeddings import Embeddings
from sb_ext.separators.masking import EPS, Magnitude


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

    def forward(self, mixture, *, oracle=None, num_sources=None, layers=False, inference=None):
        """See Separator; gives an AttractorSeparation, with the attractors that ``inference`` names, if given.

        ``oracle`` gives the ideal masks, and attractors where these are chosen. Without ``num_sources`` their number is
        that of ``oracle`` while training, and estimated otherwise: an item with fewer sources than another of its batch
        then has silence behind them.
        """
        code = self.filterbank.encode(mixture)
        magnitudes = code.abs().flatten(1)
        name = inference or (self.training_attractors if self.training else self.inference)
        clustered = name is not None and isinstance(self.attractors[name], KMeansAttractors)
        weights = (self.clustering_weighting if clustered else self.weighting)(magnitudes)
        sources = None if oracle is None else self.filterbank.encode(oracle).abs().flatten(2)
        ideal = None if sources is None else sources / (sources.sum(1, keepdim=True) + EPS)
        found = {"space": self.embed(code.abs()), "weights": weights, "ideal": ideal}
        found |= {"mixture_magnitudes": magnitudes, "source_magnitudes": sources}
        if name is None:
            return AttractorSeparation(mixture.new_zeros(len(mixture), 0, mixture.shape[-1]), **found)
        if num_sources is None and oracle is not None and (self.training or name == "ideal"):
            num_sources = oracle.shape[1]
        if num_sources is None:
            return self._count_first(mixture, code, found, name)
        separation = self._separate(mixture, code, found, name, num_sources)
        separation.layers = (separation.sources,) if layers else ()
        return separation

    def embed(self, magnitude):
        """Embeddings of ``[B, N, D]`` from magnitudes ``[B, F, L]``; N = F x L."""
        return Embeddings.of(self.network(self.features(magnitude))[-1].flatten(2).mT, self.unit_norm)

    def count(self, mixture):
        """The number of sources in ``mixture [B, T]``, estimated: ``[B]``, int64."""
        magnitude = self.filterbank.encode(mixture).abs()
        return self.counting(self.embed(magnitude).vectors, self.clustering_weighting(magnitude.flatten(1)))

    def check_count(self, num_sources):
        """See Separator; anchors and fixed attractors are so many and no more."""
        chosen = self.attractors[self.inference]
        if hasattr(chosen, "check_count"):
            chosen.check_count(num_sources)

    def _separate(self, mixture, code, found, name, num_sources):
        attractors = self.attractors[name](found["space"], found["weights"], found["ideal"], num_sources)
        if self.training and "fixed" in self.attractors:
            self.attractors["fixed"].observe(attractors)
        similarities = self.similarity(found["space"], attractors)
        masks = self.similarity.masks(similarities)
        if self.enhancement is not None:
            magnitude = code.abs()
            masked = masks.unflatten(-1, magnitude.shape[1:]) * magnitude.unsqueeze(1)
            masks = self.enhancement(masked, magnitude).flatten(2)
        masked = masks.float().unflatten(-1, code.shape[1:]) * code.unsqueeze(1)
        sources = self.filterbank.decode(masked, mixture.shape[-1])
        layered = {"attractors": attractors, "similarities": similarities, "masks": masks}
        return AttractorSeparation(sources, **found, **layered)

    def _count_first(self, mixture, code, found, name):
        most = getattr(self.attractors[name], "most", sys.maxsize)
        counts = self.counting(found["space"].vectors, found["weights"]).clamp(max=most).tolist()
        items = []
        for row, count in enumerate(counts):
            own = {key: None if value is None else _row(value, row) for key, value in found.items()}
            item = self._separate(mixture[row : row + 1], code[row : row + 1], own, name, count)
            items.append(nn.functional.pad(item.sources, (0, 0, 0, max(counts) - count)))
        return AttractorSeparation(torch.cat(items), **found)

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


def _row(value, row):
    return value.item(row) if isinstance(value, Embeddings) else value[row : row + 1]
