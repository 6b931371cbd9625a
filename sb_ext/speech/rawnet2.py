"""RawNet2 (Jung et al. 2020): a speaker's embedding from the waveform, with the public code's arithmetic and names.

Two public versions differ. The weights that were published, ``rawnet2_best_weights.pt``, belong to the first, whose
blocks compute a norm and an activation at their entry and then pass them over (``preactivate: False`` here). The later,
cleaner one uses them.
"""

import math
import re

import torch
from torch import nn

# Of the public code.
NORM_EPS, SLOPE, MIN_HZ = 1e-6, 0.3, 50.0
# Far below the public code's rounding: keeps silence, which has no peak and no deviation, finite in both directions.
EPS = 1e-10


class SampleNorm(nn.Module):
    """Zero mean and unit deviation, then a scale and a shift for each of ``num_samples`` samples: ``[N, T]``."""

    def __init__(self, num_samples):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(num_samples)), nn.Parameter(torch.zeros(num_samples))

    def forward(self, waveform):
        """``[N, T]`` to ``[N, T]``."""
        deviation = waveform.var(-1, keepdim=True).clamp_min(EPS**2).sqrt()
        return self.gamma * (waveform - waveform.mean(-1, keepdim=True)) / (deviation + NORM_EPS) + self.beta


class SincConv(nn.Module):
    """Band-pass filters of which lower edge and bandwidth are learned (Ravanelli and Bengio 2018), in single precision.

    Arguments
    ---------
    num_filters, kernel_size : int
        The filters, and their odd length in samples.
    sample_rate : int
        Hz.
    """

    def __init__(self, num_filters, kernel_size, sample_rate):
        super().__init__()
        self.sample_rate = sample_rate
        lowest, highest = (2595 * math.log10(1 + hz / 700) for hz in (30, sample_rate / 2 - 2 * MIN_HZ))
        mel = torch.linspace(lowest, highest, num_filters + 1, dtype=torch.float64)
        edges = 700 * (10 ** (mel / 2595) - 1)
        self.low_hz_ = nn.Parameter(edges[:-1, None].float())
        self.band_hz_ = nn.Parameter(edges.diff()[:, None].float())
        half = kernel_size // 2
        place = torch.linspace(0, kernel_size / 2 - 1, half)
        window = 0.54 - 0.46 * torch.cos(2 * math.pi * place / kernel_size)
        radians = 2 * math.pi * torch.arange(-half, 0.0)[None] / sample_rate
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("radians", radians, persistent=False)

    def filters(self):
        """``[num_filters, 1, kernel_size]``, symmetric, one in the middle."""
        low = MIN_HZ + self.low_hz_.abs()
        high = (low + MIN_HZ + self.band_hz_.abs()).clamp(MIN_HZ, self.sample_rate / 2)
        left = ((high * self.radians).sin() - (low * self.radians).sin()) / (self.radians / 2) * self.window
        band = 2 * (high - low)
        return (torch.cat([left, band, left.flip(1)], 1) / band).unsqueeze(1)

    def forward(self, waveform):
        """``[N, T]`` to ``[N, num_filters, T - kernel_size + 1]``."""
        with torch.autocast(waveform.device.type, enabled=False):
            return nn.functional.conv1d(waveform.float().unsqueeze(1), self.filters())


class FeatureMapScaling(nn.Module):
    """Each feature map times and plus a gate, from the means of all (Jung et al. 2020, eq. 3): ``[N, F, L]``."""

    def __init__(self, num_filters):
        super().__init__()
        self.fc = nn.Linear(num_filters, num_filters)

    def forward(self, features):
        """``[N, F, L]`` to ``[N, F, L]``."""
        gate = self.fc(features.mean(-1)).sigmoid().unsqueeze(-1)
        return features * gate + gate


class ResidualBlock(nn.Module):
    """Two convolutions beside a skip connection, max pooling by three, feature map scaling."""

    def __init__(self, num_inputs, num_filters, preactivate):
        super().__init__()
        self.bn1 = nn.BatchNorm1d(num_inputs) if preactivate else None
        self.conv1 = nn.Conv1d(num_inputs, num_filters, 3, padding=1)
        self.bn2 = nn.BatchNorm1d(num_filters)
        self.conv2 = nn.Conv1d(num_filters, num_filters, 3, padding=1)
        self.conv_downsample = nn.Conv1d(num_inputs, num_filters, 1) if num_inputs != num_filters else None
        self.frm = FeatureMapScaling(num_filters)

    def forward(self, features):
        """``[N, F, L]`` to ``[N, num_filters, L // 3]``."""
        hidden = features if self.bn1 is None else _bend(self.bn1(features))
        hidden = self.conv2(_bend(self.bn2(self.conv1(hidden))))
        skip = features if self.conv_downsample is None else self.conv_downsample(features)
        return self.frm(nn.functional.max_pool1d(hidden + skip, 3))


class RawNet2(nn.Module):
    """Waveforms of any length to speaker embeddings.

    Shorter ones than ``num_samples`` are repeated. Of longer ones, training takes a piece at random, and evaluation the
    mean embedding of windows that overlap by ``overlap`` samples: the public code's three ways.

    Arguments
    ---------
    sample_rate : int
        Hz.
    num_samples : int
        59,049 in the public code; at least 3^7 plus the length of the sinc filters.
    widths : list of int
        Filters of the sinc convolution and the first two blocks, then of the other four.
    kernel_size : int
        Of the sinc filters, odd.
    cells : int
        Of the GRU.
    num_outputs : int
        D, the size of an embedding.
    overlap : int
        In samples.
    preactivate : bool
        False for the published weights.

    Example
    -------
    >>> encoder = RawNet2(num_samples=2700, widths=[4, 8], kernel_size=31, cells=8, num_outputs=6, overlap=500)
    >>> [encoder.eval()(torch.randn(3, length)).shape[1] for length in (100, 2700, 9000)]
    [6, 6, 6]
    """

    def __init__(
        self, sample_rate=16000, num_samples=59049, widths=(128, 256), kernel_size=251, cells=1024, num_outputs=1024,
        overlap=11810, preactivate=True,
    ):  # fmt: skip
        super().__init__()
        _check(num_samples, widths, kernel_size, overlap)
        self.sample_rate, self.num_samples, self.num_outputs = sample_rate, num_samples, num_outputs
        self.overlap = overlap
        narrow, wide = widths
        self.ln = SampleNorm(num_samples)
        self.first_conv = SincConv(narrow, kernel_size, sample_rate)
        self.first_bn = nn.BatchNorm1d(narrow)
        sizes = [narrow, narrow, narrow, wide, wide, wide, wide]
        for place, (before, after) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            block = ResidualBlock(before, after, preactivate and place > 0)
            self.add_module(f"block{place}", nn.Sequential(block))
        self.bn_before_gru = nn.BatchNorm1d(wide)
        self.gru = nn.GRU(wide, cells, batch_first=True)
        self.fc1_gru = nn.Linear(cells, num_outputs)

    def train(self, mode=True):
        """As in torch, but for the GRU: cuDNN refuses its backward pass in evaluation, and it has no dropout."""
        super().train(mode)
        self.gru.train()
        return self

    def forward(self, waveform):
        """Embed ``[N, T]`` as ``[N, D]``."""
        waveform = waveform.float()
        waveform = waveform / waveform.abs().amax(-1, keepdim=True).clamp_min(EPS)
        pieces = self.pieces(waveform)
        embeddings = self.embed(torch.cat(pieces))
        return embeddings.reshape(len(pieces), len(waveform), -1).mean(0)

    def pieces(self, waveform):
        """``[N, T]`` as a list of ``[N, num_samples]``."""
        length, size = waveform.shape[-1], self.num_samples
        if length <= size:
            return [waveform.repeat(1, -(-size // length))[:, :size]]
        if self.training:
            start = int(torch.randint(length - size + 1, ()))
            return [waveform[:, start : start + size]]
        step = size - self.overlap
        starts = [*range(0, length - size + 1, step), length - size]
        return [waveform[:, start : start + size] for start in starts]

    def embed(self, waveform):
        """``[N, num_samples]`` to ``[N, D]``."""
        hidden = nn.functional.max_pool1d(self.first_conv(self.ln(waveform)).abs(), 3)
        hidden = _bend(self.first_bn(hidden))
        for place in range(6):
            hidden = getattr(self, f"block{place}")(hidden)
        hidden = _bend(self.bn_before_gru(hidden)).transpose(1, 2)
        return self.fc1_gru(self.gru(hidden)[0][:, -1])

    def _load_from_state_dict(self, state_dict, prefix, *arguments):
        own = {name: state_dict.pop(name) for name in list(state_dict) if name.startswith(prefix)}
        own = translated({name.removeprefix(prefix): value for name, value in own.items()})
        first = "block1.0.conv1.weight" in own and "block1.0.bn1.weight" not in own
        if first and self.block1[0].bn1 is not None:
            raise ValueError(
                "preactivate: these weights are of RawNet2's first public version, whose blocks do without a norm at "
                "their entry; set preactivate: False"
            )
        state_dict.update({prefix + name: value for name, value in own.items()})
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def translated(state):
    """Weights of either public version under this module's names.

    The classifier goes; of the first version, so do the norms that have no effect.

    Arguments
    ---------
    state : dict
        Name to tensor.

    Example
    -------
    >>> translated({"fc_attention3.0.bias": 1, "block1.0.bn1.bias": 2, "fc2_gru.bias": 3})
    {'block3.0.frm.fc.bias': 1}
    """
    first = any(name.startswith("fc_attention") for name in state)
    state = {name: value for name, value in state.items() if not name.startswith("fc2_gru.")}
    if first:
        state = {name: value for name, value in state.items() if ".bn1." not in name}
    return {re.sub(r"^fc_attention(\d)\.0\.", r"block\1.0.frm.fc.", name): value for name, value in state.items()}


def _bend(features):
    return nn.functional.leaky_relu(features, SLOPE)


def _check(num_samples, widths, kernel_size, overlap):
    if len(widths) != 2:
        raise ValueError(f"widths: expected two, of the first layers and of the others, received {list(widths)}")
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size: expected an odd number of samples, received {kernel_size}")
    least = 3**7 + kernel_size - 1
    if num_samples < least:
        raise ValueError(
            f"num_samples: seven poolings by three and sinc filters of {kernel_size} samples need at least {least}, "
            f"received {num_samples}"
        )
    if not 0 <= overlap < num_samples:
        raise ValueError(f"overlap: expected 0 to num_samples - 1 = {num_samples - 1}, received {overlap}")
