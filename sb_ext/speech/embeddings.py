"""Speaker encoders behind one interface: ``encoder(waveform [N, T])`` at ``encoder.sample_rate`` gives ``[N, D]``."""

import torch
import torchaudio
from torch import nn

# What telephones carry; below it there is too little of a voice.
LEAST_RATE = 8000


class FeatureEncoder(nn.Module):
    """SpeechBrain's speaker encoders with the features that they take, such as ECAPA-TDNN and x-vectors.

    Arguments
    ---------
    features : nn.Module
        ``[N, T]`` to ``[N, L, F]``, such as speechbrain.lobes.features.Fbank.
    normalize : nn.Module
        Of these and relative lengths, such as speechbrain.processing.features.InputNormalization by sentence.
    network : nn.Module
        ``[N, L, F]`` to ``[N, 1, D]``.
    num_outputs : int
        D.
    sample_rate : int
        Hz.

    Example
    -------
    >>> from speechbrain.lobes.features import Fbank
    >>> from speechbrain.lobes.models.Xvector import Xvector
    >>> from speechbrain.processing.features import InputNormalization
    >>> network = Xvector(tdnn_channels=[8] * 5, lin_neurons=6, in_channels=24)
    >>> encoder = FeatureEncoder(Fbank(n_mels=24), InputNormalization(norm_type="sentence"), network, 6)
    >>> encoder(torch.randn(3, 900)).shape
    torch.Size([3, 6])
    """

    def __init__(self, features, normalize, network, num_outputs, sample_rate=16000):
        super().__init__()
        self.features, self.normalize, self.network = features, normalize, network
        self.num_outputs, self.sample_rate = num_outputs, sample_rate

    def forward(self, waveform):
        """``[N, T]`` to ``[N, D]``; less than half a second is repeated, as convolutions reach further."""
        repeats = -(-self.sample_rate // 2 // waveform.shape[-1])
        features = self.features(waveform.float().repeat(1, max(1, repeats)))
        features = self.normalize(features, torch.ones(len(features), device=features.device))
        return self.network(features).squeeze(1)

    def _load_from_state_dict(self, state_dict, prefix, *arguments):
        # SpeechBrain's published weights are the network's alone; what the features keep is constant.
        if not any(name.startswith(f"{prefix}network.") for name in state_dict):
            for name in [name for name in state_dict if name.startswith(prefix)]:
                state_dict[f"{prefix}network.{name.removeprefix(prefix)}"] = state_dict.pop(name)
            state_dict.update(self.features.state_dict(prefix=f"{prefix}features."))
            state_dict.update(self.normalize.state_dict(prefix=f"{prefix}normalize."))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


class SpeakerEmbedding(nn.Module):
    """The speakers' embeddings of source estimates, at any sample rate.

    Arguments
    ---------
    encoder : nn.Module
        RawNet2, FeatureEncoder or alike.
    sample_rate : int
        Of the estimates, in Hz; they are resampled to the encoder's.
    gradient : bool
        Whether a gradient goes through the encoder to the estimates.
    frozen : bool
        Whether the encoder's weights and statistics stay as they are.

    Example
    -------
    >>> from sb_ext.speech.rawnet2 import RawNet2
    >>> encoder = RawNet2(num_samples=2700, widths=[4, 8], kernel_size=31, cells=8, num_outputs=6, overlap=500)
    >>> SpeakerEmbedding(encoder, sample_rate=8000)(torch.randn(2, 3, 1000)).shape
    torch.Size([2, 3, 6])
    """

    def __init__(self, encoder, sample_rate, gradient=False, frozen=True):
        super().__init__()
        if not isinstance(sample_rate, int) or sample_rate < LEAST_RATE:
            raise ValueError(
                f"sample_rate: speaker encoders take a whole number of at least {LEAST_RATE} Hz, "
                f"received {sample_rate}; set --sample_rate {encoder.sample_rate}"
            )
        self.encoder, self.sample_rate, self.gradient, self.frozen = encoder, sample_rate, gradient, frozen
        self.encoder.requires_grad_(not frozen)
        self.train(self.training)

    @property
    def num_outputs(self):
        """D."""
        return self.encoder.num_outputs

    def train(self, mode=True):
        """As in torch; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        self.encoder.train(mode and not self.frozen)
        return self

    def forward(self, estimates):
        """``[B, C, T]`` to ``[B, C, D]``."""
        wanted = torch.is_grad_enabled() and (self.gradient or not self.frozen)
        with torch.set_grad_enabled(wanted):
            waveforms = (estimates if self.gradient else estimates.detach()).flatten(0, 1).float()
            waveforms = torchaudio.functional.resample(waveforms, self.sample_rate, self.encoder.sample_rate)
            return self.encoder(waveforms).unflatten(0, estimates.shape[:2])
