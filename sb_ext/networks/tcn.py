"""Conv-TasNet's temporal convolutional network (Luo and Mesgarani 2019), arranged for speed.

Two things differ from the usual implementation while the function stays the same: the residual and the skip
convolution of a block are one matrix product, and the depthwise convolution is a sum of shifted products.
"""

import torch
from torch import nn

from sb_ext.networks.fused import DepthwiseConv, PReLUNorm

# Conv-TasNet's value, which the public implementations of the papers use as well.
NORM_EPS = 1e-8
# Asteroid's names and torchaudio's
ASTEROID = {"bottleneck.0": "input_norm", "bottleneck.1": "input_conv", "TCN": "conv_layers"}
ASTEROID |= {"shared_block": "conv_layers", "res_conv": "res_out", "skip_conv": "skip_out", "gamma": "weight"}
ASTEROID |= {"mask_net.0": "output_prelu", "mask_net.1": "output_conv", "beta": "bias"}


class ConvBlock(nn.Module):
    """1x1 convolution, PReLU, norm, depthwise convolution, PReLU, norm, then residual and skip in one product."""

    def __init__(self, bottleneck, hidden, skip, kernel_size, dilation, last=False):
        super().__init__()
        self.expand = nn.Conv1d(bottleneck, hidden, 1)
        self.first = PReLUNorm(hidden, NORM_EPS)
        self.depthwise = DepthwiseConv(hidden, kernel_size, dilation)
        self.second = PReLUNorm(hidden, NORM_EPS)
        # The last block's residual would go nowhere.
        self.parts = [skip] if last else [bottleneck, skip]
        self.project = nn.Conv1d(hidden, sum(self.parts), 1)
        self.last = last

    def forward(self, features):
        """``[B, N, L]`` to the features for the next block, ``[B, N, L]``, and the skip part, ``[B, S, L]``."""
        hidden = self.second(self.depthwise(self.first(self.expand(features))))
        projected = self.project(hidden)
        if self.last:
            return features, projected
        residual, skip = projected.split(self.parts, 1)
        return features + residual, skip


class TemporalConvNet(nn.Module):
    """Features to masks, in stacks of blocks whose dilation doubles.

    Arguments
    ---------
    num_inputs : int
        F, input channels.
    num_outputs : int
        E, sources to give a mask for.
    bottleneck, hidden, kernel_size, num_layers, num_stacks : int
        Conv-TasNet's B, H, P, X and R.
    activation : type of nn.Module
        Of the masks; sigmoid in MixCycle and in Conv-TasNet's best configuration.
    skip : int, optional
        Conv-TasNet's Sc, channels of the skip connections; the bottleneck's by default.

    Example
    -------
    >>> network = TemporalConvNet(257, 2, bottleneck=16, hidden=32, num_layers=2, num_stacks=2)
    >>> [mask.shape for mask in network(torch.rand(3, 257, 20), layers=True)]
    [torch.Size([3, 2, 257, 20]), torch.Size([3, 2, 257, 20])]
    """

    def __init__(
        self,
        num_inputs,
        num_outputs,
        bottleneck=128,
        hidden=512,
        kernel_size=3,
        num_layers=4,
        num_stacks=3,
        activation=nn.Sigmoid,
        skip=None,
    ):
        super().__init__()
        self.num_inputs, self.num_outputs, self.num_layers = num_inputs, num_outputs, num_layers
        self.norm = nn.GroupNorm(1, num_inputs, eps=NORM_EPS)
        self.squeeze = nn.Conv1d(num_inputs, bottleneck, 1)
        depth, skip = num_layers * num_stacks, bottleneck if skip is None else skip
        self.blocks = nn.ModuleList(
            ConvBlock(bottleneck, hidden, skip, kernel_size, 2 ** (place % num_layers), last=place == depth - 1)
            for place in range(depth)
        )
        self.head = nn.Sequential(nn.PReLU(), nn.Conv1d(skip, num_inputs * num_outputs, 1), activation())

    def forward(self, features, layers=False):
        """Masks of ``features [B, F, L]``: a tuple of ``[B, E, F, L]``, one a stack when ``layers``, else the last."""
        hidden = self.squeeze(self.norm(features))
        total, sums = 0, []
        for place, block in enumerate(self.blocks, start=1):
            hidden, skip = block(hidden)
            total = total + skip
            if place == len(self.blocks) or (layers and place % self.num_layers == 0):
                sums.append(total)
        return tuple(self._masks(part) for part in sums)

    def _masks(self, features):
        batch, _, frames = features.shape
        return self.head(features).reshape(batch, self.num_outputs, self.num_inputs, frames)

    def load_torchaudio(self, state):
        """Take the weights of ``torchaudio.models.conv_tasnet.MaskGenerator``, which the public MixCycle code trains.

        Arguments
        ---------
        state : dict
            Its ``state_dict()``.
        """
        own = {}
        rename = {"input_norm": "norm", "input_conv": "squeeze", "output_prelu": "head.0", "output_conv": "head.1"}
        parts = {"conv_layers.0": "expand", "conv_layers.1": "first.0", "conv_layers.2": "first.1"}
        parts |= {"conv_layers.3": "depthwise", "conv_layers.4": "second.0", "conv_layers.5": "second.1"}
        for name, value in state.items():
            scope, _, rest = name.partition(".")
            if scope != "conv_layers":
                own[f"{rename[scope]}.{rest}"] = value
                continue
            place, _, rest = rest.partition(".")
            module, _, kind = rest.rpartition(".")
            if module in parts:
                own[f"blocks.{place}.{parts[module]}.{kind}"] = value
        for place, block in enumerate(self.blocks):
            ways = ["skip_out"] if block.last else ["res_out", "skip_out"]
            for kind in ("weight", "bias"):
                merged = torch.cat([state[f"conv_layers.{place}.{way}.{kind}"] for way in ways])
                own[f"blocks.{place}.project.{kind}"] = merged
        self.load_state_dict(own)

    def load_asteroid(self, state):
        """Take the weights of ``asteroid.masknn.TDConvNet``, the ``masker`` of Asteroid's ConvTasNet.

        Arguments
        ---------
        state : dict
            Its ``state_dict()``; with skip connections, as Asteroid's default is.
        """
        renamed = {}
        for name, value in state.items():
            for theirs, torchaudios in ASTEROID.items():
                name = name.replace(theirs, torchaudios)
            renamed[name] = value
        self.load_torchaudio(renamed)
