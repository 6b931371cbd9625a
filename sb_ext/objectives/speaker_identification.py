"""Training of speaker encoders: which of the training speakers is it?"""

from torch import nn

from sb_ext.contracts import LossReport, Objective


class SpeakerIdentification(Objective):
    """Cross-entropy over the training speakers, with or without a margin.

    Arguments
    ---------
    margin : nn.Module
        Of scores and one-hot targets ``[B, K]``: speechbrain.nnet.losses.AngularMargin (with a CosineHead: AM-softmax),
        or the same with margin 0 and scale 1 (with a LinearHead: plain cross-entropy).

    Example
    -------
    >>> import torch
    >>> from speechbrain.nnet.losses import AngularMargin
    >>> from sb_ext.contracts import MixtureBatch
    >>> from sb_ext.speech.identification import Identification
    >>> batch = MixtureBatch(["a"], torch.zeros(1, 8), None, torch.tensor([[1]]), torch.tensor([8]))
    >>> found = Identification(None, scores=torch.tensor([[0.0, 1.0]]))
    >>> SpeakerIdentification(AngularMargin(0.0, 1.0))(lambda mixture: found, batch, epoch=1).loss
    tensor([0.3133])
    """

    def __init__(self, margin):
        super().__init__()
        self.margin = margin

    def forward(self, separator, batch, epoch):
        """See Objective."""
        scores, speakers = separator(batch.mixture).scores.float(), batch.speakers[:, 0]
        targets = nn.functional.one_hot(speakers, scores.shape[1]).to(scores.dtype)
        loss = nn.functional.cross_entropy(self.margin(scores, targets), speakers, reduction="none")
        return LossReport.of_all(loss, accuracy=(scores.argmax(1) == speakers).float().mean())
