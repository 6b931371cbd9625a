"""Speaker conditioning (Sun et al. 2022): first estimates tell who speaks, and that guides a second separation."""

import contextlib
import logging

import torch

from sb_ext.contracts import Separation, Separator

logger = logging.getLogger(__name__)


class Conditioned(Separator):
    """A basic separator's estimates are embedded, and the embeddings modulate a stack that separates the mixture again.

    The result can be embedded once more, and so on. The layers, where asked for, are the estimates of the passes, after
    those of the basic separator where it is trained too. Each pass is blind to the order of its sources: permuted
    estimates give permuted results.

    Arguments
    ---------
    basic : sb_ext.contracts.Separator
        It decides on the number of sources.
    embedding : sb_ext.speech.embeddings.SpeakerEmbedding
        ``[B, C, T]`` to ``[B, C, D]``.
    filterbank : sb_ext.filterbanks.LearnedFilterbank or alike
    stack : sb_ext.networks.film_stack.FilmStack
        ``[B, F, L]`` and ``[B, C, D]`` to masks ``[B, C, F, L]``.
    num_passes : int
        How often the stack runs, in training.
    inference_passes : int, optional
        The same in evaluation mode; as in training by default.
    freeze_basic : bool
        Whether the basic separator stays as it is.

    Raises
    ------
    ValueError
        If the parts do not fit one another.

    Example
    -------
    >>> from sb_ext.filterbanks import LearnedFilterbank
    >>> from sb_ext.networks import TemporalConvNet
    >>> from sb_ext.networks.film_stack import FilmStack
    >>> from sb_ext.separators import Masking
    >>> from sb_ext.speech.embeddings import SpeakerEmbedding
    >>> from sb_ext.speech.rawnet2 import RawNet2
    >>> basic = Masking(LearnedFilterbank(8), TemporalConvNet(8, 2, 4, 8, num_layers=1, num_stacks=1))
    >>> encoder = RawNet2(num_samples=2700, widths=[4, 8], kernel_size=31, cells=8, num_outputs=6, overlap=500)
    >>> stack = FilmStack(8, embedding_size=6, channels=4, num_layers=2, num_groups=2, hidden=4)
    >>> separator = Conditioned(basic, SpeakerEmbedding(encoder, 8000), LearnedFilterbank(8), stack, num_passes=2)
    >>> separation = separator(torch.randn(3, 500), layers=True)
    >>> separation.sources.shape, len(separation.layers)
    (torch.Size([3, 2, 500]), 2)
    """

    def __init__(self, basic, embedding, filterbank, stack, num_passes=1, inference_passes=None, freeze_basic=True):
        super().__init__()
        inference_passes = num_passes if inference_passes is None else inference_passes
        for name, passes in (("num_passes", num_passes), ("inference_passes", inference_passes)):
            if not isinstance(passes, int) or passes < 1:
                raise ValueError(f"{name}: expected a whole number of at least 1, received {passes!r}")
        if stack.embedding_size != embedding.num_outputs:
            raise ValueError(
                f"embedding_size: FiLM expects embeddings of {stack.embedding_size} numbers, the speaker encoder gives "
                f"{embedding.num_outputs}; set --separator '{{second: {{embedding_size: {embedding.num_outputs}}}}}'"
            )
        if stack.num_inputs != filterbank.num_bins:
            raise ValueError(
                f"stack.num_inputs: the filterbank gives {filterbank.num_bins} bins, received {stack.num_inputs}"
            )
        self.basic, self.embedding, self.filterbank, self.stack = basic, embedding, filterbank, stack
        self.num_passes, self.inference_passes, self.freeze_basic = num_passes, inference_passes, freeze_basic
        self.chooses_count = basic.chooses_count
        basic.requires_grad_(not freeze_basic)
        self.train(self.training)

    def train(self, mode=True):
        """As in torch; a frozen basic separator stays in evaluation mode."""
        super().train(mode)
        self.basic.train(mode and not self.freeze_basic)
        return self

    def forward(self, mixture, *, oracle=None, num_sources=None, layers=False):
        """See Separator."""
        if torch.is_grad_enabled() and self.training:
            self._check_reach(layers)
        with torch.no_grad() if self.freeze_basic else contextlib.nullcontext():
            first = self.basic(mixture, oracle=oracle, num_sources=num_sources).sources
        passes = self.num_passes if self.training else self.inference_passes
        estimates = (first, *self.refine(mixture, first, passes))
        return Separation(estimates[-1], estimates[self.freeze_basic :] if layers else ())

    def refine(self, mixture, estimates, passes):
        """The estimates of each pass, from ``mixture [B, T]`` and earlier ``estimates [B, C, T]``."""
        code = self.filterbank.encode(mixture)
        for _ in range(passes):
            result = self.stack(code, self.embedding(estimates))
            estimates = self.filterbank.decode(self.features(result, code.unsqueeze(1)), mixture.shape[-1])
            yield estimates

    def features(self, masks, code):
        """What is decoded, of the stack's result ``[B, C, F, L]`` and the mixture's ``code [B, 1, F, L]``."""
        return masks * code

    def check_training(self, layers):
        """See Separator; warns of passes that are not trained for themselves."""
        self._check_reach(layers)
        if self.num_passes > 1 and not layers:
            # Both estimates of an untrained pass are the mixture, of which both embeddings are then, and so the last
            # pass cannot tell its outputs apart: the best it can do is the mixture, which is where it stays.
            logger.warning(
                "num_passes: only the last of %d passes is trained, which learned nothing where it was tried; "
                "set --layers '!new:sb_ext.objectives.layer_wise.LayerWise'",
                self.num_passes,
            )

    def _check_reach(self, layers):
        if not (self.freeze_basic or layers or self.embedding.gradient):
            raise ValueError(
                "freeze_basic: False trains the basic separator, but no gradient would reach it; set --layers "
                "'!new:sb_ext.objectives.layer_wise.LayerWise', or --separator '{model: {embedding: {gradient: True}}}'"
            )


class ConditionedSynthesis(Conditioned):
    """As Conditioned, but the stack's result itself is decoded to waveforms; its activation must not be a mask's."""

    def features(self, masks, code):
        """See Conditioned."""
        return masks
