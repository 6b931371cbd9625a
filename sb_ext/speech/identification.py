"""What a speaker encoder is trained as: a model that says which of the training speakers is heard."""

from dataclasses import dataclass

import torch
from speechbrain.lobes.models.ECAPA_TDNN import Classifier
from torch import nn

from sb_ext.contracts import Separation, Separator

# The norm of an embedding before the classifier, in RawNet2's public code.
NORM = 10


@dataclass
class Identification(Separation):
    """Embeddings in place of sources, ``[B, 1, D]``, with ``scores [B, K]`` of the training speakers."""

    scores: torch.Tensor = None


class LinearHead(nn.Module):
    """Scores for cross-entropy, of embeddings of unit direction as in RawNet2's public code: ``[B, D]`` to ``[B, K]``.

    Arguments
    ---------
    num_inputs, num_classes : int
        D and K.
    """

    def __init__(self, num_inputs, num_classes):
        super().__init__()
        self.linear = nn.Linear(num_inputs, num_classes)

    def forward(self, embeddings):
        """``[B, D]`` to ``[B, K]``."""
        return self.linear(NORM * nn.functional.normalize(embeddings))


class CosineHead(Classifier):
    """SpeechBrain's cosines with one direction a speaker, for AM-softmax (Wang et al. 2018): ``[B, D]`` to ``[B, K]``.

    Arguments
    ---------
    num_inputs, num_classes : int
        D and K.
    """

    def __init__(self, num_inputs, num_classes):
        super().__init__(num_inputs, out_neurons=num_classes)

    def forward(self, embeddings):
        """``[B, D]`` to ``[B, K]``."""
        return super().forward(embeddings.unsqueeze(1)).squeeze(1)


class SpeakerIdentifier(Separator):
    """A speaker encoder with a classifier; stands where a separator does, so that the one Brain trains it too.

    Arguments
    ---------
    encoder : nn.Module
        RawNet2 or alike.
    head : nn.Module
        LinearHead or CosineHead.

    Example
    -------
    >>> from sb_ext.speech.rawnet2 import RawNet2
    >>> encoder = RawNet2(num_samples=2700, widths=[4, 8], kernel_size=31, cells=8, num_outputs=6, overlap=500)
    >>> found = SpeakerIdentifier(encoder, CosineHead(6, 4))(torch.randn(2, 3000))
    >>> found.sources.shape, found.scores.shape
    (torch.Size([2, 1, 6]), torch.Size([2, 4]))
    """

    separates = False

    def __init__(self, encoder, head):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, mixture, *, oracle=None, num_sources=None, layers=False):
        """Embed utterances of one speaker each, ``[B, T]``."""
        embeddings = self.encoder(mixture)
        return Identification(embeddings.unsqueeze(1), scores=self.head(embeddings))
