"""Training of speaker encoders: AM-softmax and cross-entropy written out."""

import pytest
import torch
from speechbrain.nnet.losses import AngularMargin

from sb_ext.contracts import MixtureBatch
from sb_ext.objectives.speaker_identification import SpeakerIdentification
from sb_ext.speech.identification import CosineHead, LinearHead, SpeakerIdentifier


class Means(torch.nn.Module):
    """Embeddings of three means."""

    def forward(self, waveform):
        return waveform.unflatten(1, (3, -1)).mean(-1)


@pytest.mark.parametrize("head, margin, scale", [(CosineHead, 0.2, 30.0), (LinearHead, 0.0, 1.0)])
def test_the_loss_is_the_papers(head, margin, scale):
    torch.manual_seed(0)
    model, speakers = SpeakerIdentifier(Means(), head(3, 5)), torch.tensor([[4], [0]])
    batch = MixtureBatch(["a", "b"], torch.randn(2, 30), None, speakers, torch.tensor([30, 30]))
    report = SpeakerIdentification(AngularMargin(margin, scale))(model, batch, 1)
    embeddings = model(batch.mixture).sources[:, 0]
    for row, speaker in enumerate(speakers[:, 0].tolist()):
        unit = embeddings[row] / embeddings[row].norm()
        if head is CosineHead:
            scores = torch.stack([unit @ direction / direction.norm() for direction in model.head.weight])
        else:
            scores = 10 * model.head.linear.weight @ unit + model.head.linear.bias
        parts = [scale * (score - margin * (place == speaker)) for place, score in enumerate(scores)]
        expected = torch.stack(parts).exp().sum().log() - parts[speaker]
        torch.testing.assert_close(report.loss[row], expected)
    best = model(batch.mixture).scores.argmax(1)
    assert report.keep.all() and report.log["accuracy"] == (best == speakers[:, 0]).float().mean()
