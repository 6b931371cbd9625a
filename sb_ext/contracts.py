"""What flows between the rooms of the house: a batch goes in, a separation and a loss report come out.

Every tensor has the layout ``[B, C, T]``: batch, sources, samples.
"""

from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass
class MixtureBatch:
    """Mixtures with, where they are known, their references.

    Arguments
    ---------
    ids : list of str
        One stable name a mixture, the same in every run.
    mixture : torch.Tensor
        ``[B, T]``, zero behind each item's length.
    sources : torch.Tensor or None
        ``[B, C, T]``; None for recordings without references.
    speakers : torch.Tensor or None
        ``[B, C]``, int64 speaker numbers.
    lengths : torch.Tensor
        ``[B]``, int64, in samples.

    Example
    -------
    >>> batch = MixtureBatch(["a", "b"], torch.zeros(2, 800), None, None, torch.tensor([800, 640]))
    >>> len(batch), batch.to("cpu").lengths.tolist()
    (2, [800, 640])
    """

    ids: list
    mixture: torch.Tensor
    sources: torch.Tensor | None
    speakers: torch.Tensor | None
    lengths: torch.Tensor

    def __len__(self):
        return len(self.ids)

    def _map(self, move):
        tensors = (self.mixture, self.sources, self.speakers, self.lengths)
        return MixtureBatch(self.ids, *(None if tensor is None else move(tensor) for tensor in tensors))

    def to(self, device, non_blocking=True):
        """The batch on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self):
        """The batch in page-locked memory, for faster copies to a GPU."""
        return self._map(torch.Tensor.pin_memory)


def check_batch(batch):
    """Raise ValueError where a batch breaks the contract, naming the field and what was received.

    Example
    -------
    >>> check_batch(MixtureBatch(["a"], torch.zeros(1, 8), torch.zeros(1, 2, 7), None, torch.tensor([8])))
    Traceback (most recent call last):
    ValueError: MixtureBatch.sources: expected [1, C, 8] beside a mixture [1, 8], received [1, 2, 7]
    """
    if batch.mixture.dim() != 2 or batch.mixture.shape[0] != len(batch.ids):
        raise ValueError(
            f"MixtureBatch.mixture: expected [{len(batch.ids)}, T] for {len(batch.ids)} ids, "
            f"received {list(batch.mixture.shape)}"
        )
    size, samples = batch.mixture.shape
    sources, speakers = batch.sources, batch.speakers
    if sources is not None and (sources.dim() != 3 or (sources.shape[0], sources.shape[2]) != (size, samples)):
        raise ValueError(
            f"MixtureBatch.sources: expected [{size}, C, {samples}] beside a mixture [{size}, {samples}], "
            f"received {list(sources.shape)}"
        )
    if sources is not None and speakers is not None and speakers.shape != sources.shape[:2]:
        raise ValueError(f"MixtureBatch.speakers: expected {list(sources.shape[:2])}, received {list(speakers.shape)}")
    if batch.lengths.shape != (size,) or int(batch.lengths.max()) > samples:
        raise ValueError(
            f"MixtureBatch.lengths: expected [{size}] values of at most {samples} samples, "
            f"received {batch.lengths.tolist()}"
        )


@dataclass
class Separation:
    """What a separator gives: ``sources [B, C, T]`` and, when asked, one estimate a block in ``layers``."""

    sources: torch.Tensor
    layers: tuple = ()


@dataclass
class AttractorSeparation(Separation):
    """What a separator gives that masks by the likeness of embeddings and attractors.

    Arguments
    ---------
    space : sb_ext.separators.embeddings.Embeddings
        Of ``[B, N, D]``, one a bin; N = bins x frames. ``embeddings`` gives them as a tensor.
    attractors : torch.Tensor
        ``[B, C, D]``.
    masks : torch.Tensor
        ``[B, C, N]``.
    weights : torch.Tensor
        ``[B, N]``, how much each bin counts; zero for padding and silence.
    ideal : torch.Tensor or None
        ``[B, C, N]``, the ideal masks, where the true sources were given.
    mixture_magnitudes : torch.Tensor
        ``[B, N]``.
    source_magnitudes : torch.Tensor or None
        ``[B, C, N]``, where the true sources were given.
    """

    space: tuple = None
    attractors: torch.Tensor | None = None
    masks: torch.Tensor | None = None
    weights: torch.Tensor = None
    ideal: torch.Tensor | None = None
    mixture_magnitudes: torch.Tensor = None
    source_magnitudes: torch.Tensor | None = None

    @property
    def embeddings(self):
        """``[B, N, D]``, of unit length where the separator takes them so."""
        return self.space.tensor()


@dataclass
class LossReport:
    """What an objective gives.

    Arguments
    ---------
    loss : torch.Tensor
        ``[B]``, one value a row, in dB for the SNR family; differentiable.
    keep : torch.Tensor
        ``[B]``, bool; only kept rows enter the step.
    log : dict
        Name to number or scalar tensor, averaged over the epoch by the Brain.
    """

    loss: torch.Tensor
    keep: torch.Tensor
    log: dict = field(default_factory=dict)

    @classmethod
    def of_all(cls, loss, **log):
        """A report that keeps every row."""
        return cls(loss, torch.ones_like(loss, dtype=torch.bool), log)


class Separator(nn.Module):
    """Turns mixtures into source estimates."""

    chooses_count = False
    """Whether it can give any number of sources; it is then asked for as many as a test's mixture has."""

    separates = True
    """Whether what it gives is sources; a speaker encoder, trained in a separator's place, gives embeddings."""

    def forward(self, mixture, *, oracle=None, num_sources=None, layers=False):
        """Separate ``mixture [B, T]``.

        Arguments
        ---------
        mixture : torch.Tensor
            ``[B, T]``.
        oracle : torch.Tensor, optional
            ``[B, C, T]``, the true sources, read only by oracle separators and by attractor training.
        num_sources : int, optional
            How many sources to give, where the separator can choose.
        layers : bool
            Whether to give one estimate a block as well.

        Returns
        -------
        Separation
        """
        raise NotImplementedError

    def count(self, mixture):
        """How many sources it finds in each ``mixture [B, T]``: ``[B]``, int64; of those that choose their number."""
        raise NotImplementedError

    def check_training(self, layers):
        """Raise ValueError where training, with or without ``layers``, would not reach all that is to be trained."""

    def check_count(self, num_sources):
        """Raise ValueError for a number of sources that it cannot give although it chooses; most can give any."""


class Objective(nn.Module):
    """A training method: asks a separator for estimates and says what they cost."""

    def forward(self, separator, batch, epoch):
        """The loss of ``separator`` on ``batch`` in ``epoch`` (counted from 1), as a LossReport.

        The separator is handed in and only ever called, so that it may be wrapped by DDP or compiled.
        """
        raise NotImplementedError

    def prepare(self, separator):
        """Make room for what is kept of the separator (a copy, say), before checkpoints are read; most keep nothing.

        Raises ValueError where the separator cannot be trained in this way.
        """
        separator.check_training(layers=False)

    def on_validation(self, stats, epoch):
        """Hear the validation figures of an epoch; objectives that change their ways by them override this."""
