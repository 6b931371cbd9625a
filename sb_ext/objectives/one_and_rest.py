"""One-and-rest permutation invariant training (OR-PIT; Takahashi et al. 2019)."""

import torch

from sb_ext.assignment import reorder
from sb_ext.contracts import LossReport, Objective
from sb_ext.objectives.pit import require_sources


def one_and_rest(loss, outputs, sources):
    """Loss of a split under the best choice of the source that was split off.

    ``min_i loss(output_1, s_i) + loss(output_2, sum_{j != i} s_j) / (C - 1)`` (eq. 3). Of a single source the first
    output alone counts: what silence costs is not defined.

    Arguments
    ---------
    loss : sb_ext.losses.NegSNR or alike
    outputs : torch.Tensor
        ``[B, 2, T]``, one source and the rest.
    sources : torch.Tensor
        ``[B, C, T]``.

    Returns
    -------
    loss : torch.Tensor
        ``[B]``, in dB; differentiable.
    left : torch.Tensor
        ``[B, C - 1, T]``, the sources of which the rest consists.

    Example
    -------
    >>> from sb_ext.losses import NegSNR
    >>> sources = torch.randn(1, 3, 400)
    >>> outputs = torch.stack([sources[:, 1], sources[:, 0] + sources[:, 2]], 1)
    >>> value, left = one_and_rest(NegSNR(30), outputs, sources)
    >>> round(value.item()), left.equal(sources[:, [0, 2]])
    (-45, True)
    """
    count = sources.shape[1]
    if count == 1:
        return loss(outputs[:, 0], sources[:, 0]), sources[:, :0]
    rests = sources.sum(1, keepdim=True) - sources
    costs = loss.scores(outputs[:, :1], sources) + loss.scores(outputs[:, 1:], rests) / (count - 1)
    chosen = costs.squeeze(1).argmin(-1, keepdim=True)
    one, rest = loss(outputs, torch.cat([reorder(sources, chosen), reorder(rests, chosen)], 1)).unbind(1)
    places = torch.arange(count, device=chosen.device).expand(len(chosen), -1)
    others = places[places != chosen].view(-1, count - 1)
    return one + rest / (count - 1), reorder(sources, others)


class OneAndRest(Objective):
    """A separator of two outputs learns to split one source and the rest, and its own rest again.

    The loss is the mean over the splits of a step; a rest goes into the next split without gradient. Batches may
    differ in their number of sources. Under DDP the ranks may then split differently often, which a separator with
    buffers (an STFT's window) does not allow: DDP hands them round at every call.

    Arguments
    ---------
    loss : sb_ext.losses.NegSNR or alike
    recursion : float
        Probability that a step goes on splitting until a single source is left; otherwise it splits the mixture only.
    single : float
        Probability that such a step splits that single source as well: its first output must give it back, by which
        sb_ext.separators.OneAndRest knows where to stop. Beyond the paper, which trains a classifier for that.

    Raises
    ------
    ValueError
        If a probability is none, or a mixture has fewer than two sources.

    Example
    -------
    >>> from sb_ext.contracts import MixtureBatch, Separation
    >>> from sb_ext.losses import NegSNR
    >>> sources = torch.randn(4, 3, 400)
    >>> batch = MixtureBatch(list("abcd"), sources.sum(1), sources, None, torch.full((4,), 400))
    >>> separator = lambda mixture, num_sources: Separation(torch.stack([mixture] * 2, 1) / 2)
    >>> report = OneAndRest(NegSNR(30), single=1.0)(separator, batch, epoch=1)
    >>> report.loss.shape, report.log
    (torch.Size([4]), {'splits': 3})
    """

    def __init__(self, loss, recursion=1.0, single=0.0):
        super().__init__()
        for name, value in (("recursion", recursion), ("single", single)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: expected a probability of 0 to 1, received {value}")
        self.loss, self.chances = loss, (recursion, single)

    def forward(self, separator, batch, epoch):
        """See Objective; the log counts the splits of a step."""
        left, rest = require_sources(batch, self), batch.mixture
        if left.shape[1] < 2:
            raise ValueError(
                f"OneAndRest: a mixture of {left.shape[1]} source cannot be split; set num_speakers to more"
            )
        losses, splits = [], self._splits(left.shape[1])
        for _ in range(splits):
            outputs = separator(rest, num_sources=2).sources
            loss, left = one_and_rest(self.loss, outputs, left)
            losses.append(loss)
            rest = outputs[:, 1].detach()
        return LossReport.of_all(torch.stack(losses).mean(0), splits=splits)

    def _splits(self, count):
        recursive, single = (draw < chance for draw, chance in zip(torch.rand(2).tolist(), self.chances, strict=True))
        return count - 1 + single if recursive else 1
