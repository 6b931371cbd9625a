"""Frozen self-supervised speech models, as a measure that losses look through."""

import json
import math

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torchaudio.functional import resample

from sb_ext.speech.cache import RepresentationCache, fingerprint
from sb_ext.speech.checkpoint import load_speech_model
from sb_ext.values import LAYER, POSITIVE, check_choice

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# As transformers' feature extractor.
EPS = 1e-7
# Rates whose ratio needs more phases than that make resampling the slowest part of all.
MAX_PHASES = 1000
# Entries of a configuration that decide nothing.
ORIGIN = ("_name_or_path", "transformers_version")


class Representation(nn.Module):
    """A frozen wav2vec 2.0, HuBERT or WavLM: waveforms in, vectors out, and gradients back to the waveforms.

    The model is no part of the module tree: it stays in evaluation mode, its weights are in no optimiser and no
    checkpoint, yet it moves to a device with this module.

    Arguments
    ---------
    source : str
        A folder in Hugging Face's format, or a hub name.
    sample_rate : int
        Of what comes in, in Hz; it is resampled to what the model takes.
    layer : int or list of float
        0 is what goes into the first block, n what comes out of block n, -1 the model's output (the context network's,
        as in the paper). A list weighs layers 0 to the last.
    precision : str
        Of the model: fp32, bf16 or fp16. Normalisation, resampling and what comes out are in fp32.
    scale : float
        Of what comes out. The paper's weights and margin go with its model; distances grow with the square of this.
    segment_seconds : float, optional
        Of the crops to come, to know before training if they are long enough.
    cache_folder : str, optional
        Keeps the targets' representations; see RepresentationCache for when that helps.

    Raises
    ------
    ValueError, FileNotFoundError
        As load_speech_model's, and for arguments that do not go with the model.
    """

    def __init__(
        self, source, sample_rate=16000, layer=-1, precision="fp32", scale=1.0, segment_seconds=None, cache_folder=None
    ):
        super().__init__()
        check_choice("precision", precision, PRECISIONS)
        if not POSITIVE.holds(scale):
            raise ValueError(f"scale: expected {POSITIVE.words}, received {scale!r}")
        weighted = isinstance(layer, (list, tuple))
        if not LAYER.holds(list(layer) if weighted else layer):
            raise ValueError(f"layer: expected {LAYER.words}, received {layer!r}")
        speech_model = load_speech_model(source, all_layers=weighted)
        self.config, extractor = speech_model.model.config, speech_model.feature_extractor
        self.sample_rate, self.scale, self.half = sample_rate, scale, precision == "fp16"
        self.normalize, self.model_rate = extractor.do_normalize, extractor.sampling_rate
        self._check_rate()
        if segment_seconds is not None:
            self._check_length(round(segment_seconds * sample_rate), "segment_seconds")
        weights = _layer_weights(layer, self.config.num_hidden_layers) if weighted else None
        self.register_buffer("weights", weights, persistent=False)
        if not weighted:
            _shorten(speech_model.model, layer)
        # In a tuple, modules are not registered.
        self._held = (speech_model.to(PRECISIONS[precision]).eval(),)
        self._check_finite(source)
        about = (layer, precision, scale, sample_rate, self.normalize, self.model_rate, _settings(self.config))
        self.cache = RepresentationCache(cache_folder, fingerprint(speech_model, about)) if cache_folder else None

    @property
    def speech_model(self):
        """The frozen model, as SpeechBrain wraps it."""
        return self._held[0]

    def _apply(self, fn, recurse=True):
        self.speech_model._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def forward(self, signals):
        """``[N, T]`` to ``[N, L, D]``, differentiable; ValueError where ``T`` is too short for one vector."""
        self._check_length(signals.shape[-1])
        with torch.autocast(signals.device.type, enabled=False):
            signals = self._prepared(signals.to(torch.promote_types(signals.dtype, torch.float32)))
            vectors = _rescaled(self._vectors, signals) if self.half else self._vectors(signals)
        return self.scale * vectors

    @torch.no_grad()
    def of_targets(self, signals):
        """The same without gradient, from the disk where it is known."""
        return self(signals) if self.cache is None else self.cache(signals, self)

    def _prepared(self, signals):
        if self.sample_rate != self.model_rate:
            signals = resample(signals, self.sample_rate, self.model_rate)
        if self.normalize:
            variance, mean = torch.var_mean(signals, -1, correction=0, keepdim=True)
            signals = (signals - mean) / (variance + EPS).sqrt()
        return signals

    def _vectors(self, signals):
        dtype = next(self.speech_model.parameters()).dtype
        vectors = self.speech_model.extract_features(signals.to(dtype)).to(signals.dtype)
        if self.weights is None:
            return vectors
        return torch.tensordot(self.weights.to(vectors), vectors, 1)

    @torch.no_grad()
    def _check_finite(self, source):
        """What a damaged file gives would be known only by a training that takes no step."""
        needed = math.ceil(2 * self.receptive_field * self.sample_rate / self.model_rate)
        noise = torch.rand(1, needed, generator=torch.Generator().manual_seed(0))
        if not self(noise).isfinite().all():
            raise ValueError(
                f"speech_model: what {source} gives is not finite; its file is damaged, get it anew, or its precision "
                "does not suffice, set it to fp32"
            )

    def _check_rate(self):
        rate = self.sample_rate
        if not (isinstance(rate, int) and rate > 0 and self.model_rate // math.gcd(rate, self.model_rate) < MAX_PHASES):
            raise ValueError(
                f"sample_rate: the speech model takes {self.model_rate} Hz, to which {rate} Hz cannot be resampled "
                "with reasonable effort; set --sample_rate to 8000, 16000 or another multiple of 100"
            )

    def _check_length(self, samples, key="signals"):
        needed = math.ceil(self.receptive_field * self.sample_rate / self.model_rate)
        if samples < needed:
            raise ValueError(
                f"{key}: {samples} samples at {self.sample_rate} Hz are shorter than the receptive field of the speech "
                f"model, {needed} samples ({1000 * needed / self.sample_rate:.0f} ms); give longer segments"
            )

    @property
    def receptive_field(self):
        """Samples behind one vector, at the model's rate."""
        field, hop = 1, 1
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            field, hop = field + (kernel - 1) * hop, hop * stride
        return field


def _layer_weights(weights, num_blocks):
    if len(weights) != num_blocks + 1:
        raise ValueError(
            f"layer: expected {num_blocks + 1} weights, one for the first block's input and one for each of the "
            f"{num_blocks} blocks, received {len(weights)}"
        )
    return torch.tensor([float(weight) for weight in weights])


def _settings(config):
    """All of a model's configuration but where it came from."""
    settings = config.to_dict()
    return json.dumps({key: settings[key] for key in sorted(settings) if key not in ORIGIN}, default=str)


def _shorten(model, layer):
    """Take away the blocks behind ``layer``, so that nobody computes them."""
    depth = len(model.encoder.layers)
    if not -1 <= layer <= depth:
        raise ValueError(f"layer: expected 0 to {depth}, -1 for the model's output, or {depth + 1} weights: {layer!r}")
    if layer >= 0:
        del model.encoder.layers[layer:]
        if model.config.do_stable_layer_norm:
            # There the norm behind the last block makes the model's output.
            model.encoder.layer_norm = nn.Identity()


def _rescaled(run, signals):
    """``run(signals)``, whose backward pass sees gradients of up to one: fp16 would lose what a mean leaves of them."""
    scale = []
    return _Enlarge.apply(run(_Reduce.apply(signals, scale)), scale)


class _Enlarge(torch.autograd.Function):
    @staticmethod
    def forward(ctx, vectors, scale):
        ctx.scale = scale
        return vectors.view_as(vectors)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        ctx.scale[:] = [grad.abs().amax().clamp_min(torch.finfo(grad.dtype).tiny)]
        return grad / ctx.scale[0], None


class _Reduce(_Enlarge):
    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return grad * ctx.scale[0], None
