"""Parts of a convolution block whose backward pass is written out: fewer passes over memory, and less of it kept.

Autograd's own backward of these parts makes a full-size copy for every slice, product and slope. Where another
backend fuses by itself (a GPU's kernels; ``torch.compile``, for PReLU and norm) or computes in lower precision, the
plain form is used.
"""

import torch
from torch import nn
from torch.autograd.function import once_differentiable


def _written_out(features):
    """Whether the backward passes below are the faster ones for ``features``."""
    lower = features.dtype != torch.float32 or torch.is_autocast_enabled(features.device.type)
    return features.device.type == "cpu" and not lower and not torch.compiler.is_compiling()


def _padded(features, reach):
    """``features [..., L]`` between ``reach`` zeros on both sides.

    A concatenation where it is compiled: padding is fused into all that reads it, with a comparison an element.
    """
    if not torch.compiler.is_compiling():
        return nn.functional.pad(features, (reach, reach))
    zeros = features.new_zeros(*features.shape[:-1], reach)
    return torch.cat([zeros, features, zeros], -1)


def _shifted_sum(padded, weight, start, dilation, frames):
    """``start + sum_k weight[:, k] padded[..., k dilation:]``, for ``padded [B, H, L + 2 reach]``: ``[B, H, L]``."""
    # In place is faster, but a compiled autograd.Function then gives gradients of zero (torch 2.11).
    add = torch.addcmul if torch.compiler.is_compiling() else torch.Tensor.addcmul_
    total = torch.addcmul(start, padded[..., :frames], weight[:, :, 0])
    for tap in range(1, weight.shape[-1]):
        total = add(total, padded[..., tap * dilation : tap * dilation + frames], weight[:, :, tap])
    return total


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, weight, bias, dilation):
        reach, frames = dilation * (weight.shape[-1] - 1) // 2, features.shape[-1]
        padded = _padded(features, reach)
        ctx.save_for_backward(padded, weight)
        ctx.dilation, ctx.reach = dilation, reach
        return _shifted_sum(padded, weight, bias.unsqueeze(-1), dilation, frames)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        padded, weight = ctx.saved_tensors
        frames = gradient.shape[-1]
        spread = _padded(gradient, ctx.reach)
        to_features = _shifted_sum(spread, weight.flip(-1), gradient.new_zeros(1), ctx.dilation, frames)
        places = range(0, weight.shape[-1] * ctx.dilation, ctx.dilation)
        taps = [(padded[..., place : place + frames] * gradient).sum((0, 2)) for place in places]
        return to_features, torch.stack(taps, -1).unsqueeze(1), gradient.sum((0, 2)), None


class _PReLUNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, slope, scale, shift, eps):
        sizes = features.shape
        bent = nn.functional.prelu(features, slope)
        normed, mean, deviation = torch.native_group_norm(bent, scale, shift, *sizes, 1, eps)
        ctx.save_for_backward(features, slope, scale, mean, deviation)
        return normed

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        features, slope, scale, mean, deviation = ctx.saved_tensors
        sizes = features.shape
        # Bent once more instead of kept: half the memory for one quick pass.
        bent = nn.functional.prelu(features, slope)
        to_bent, to_scale, to_shift = torch.ops.aten.native_group_norm_backward(
            gradient.contiguous(), bent, mean, deviation, scale, *sizes, 1, [True, True, True]
        )
        # Into memory that is at hand: fresh pages cost many times what is computed.
        to_slope = torch.clamp_max(features, 0, out=bent).mul_(to_bent).sum().reshape(1)
        to_features = torch.ops.aten.leaky_relu_backward(to_bent, features, slope.item(), False)
        return to_features, to_slope, to_scale, to_shift, None


class DepthwiseConv(nn.Module):
    """Dilated depthwise convolution that keeps the length, as shifted multiply-adds: ``[B, H, L]`` to ``[B, H, L]``.

    Three multiply-adds over contiguous memory beat the generic grouped convolution on CPUs; on a GPU it is the other
    way round, so the choice follows the device.
    """

    def __init__(self, channels, kernel_size, dilation):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: expected an odd number, received {kernel_size}")
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel_size))
        self.bias = nn.Parameter(torch.empty(channels))
        self.dilation, self.reach = dilation, dilation * (kernel_size - 1) // 2
        bound = kernel_size**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, features):
        """``[B, H, L]`` to ``[B, H, L]``."""
        compiled = torch.compiler.is_compiling() and features.device.type == "cpu"
        if compiled or _written_out(features):
            return _Depthwise.apply(features, self.weight, self.bias, self.dilation)
        if features.is_cuda:
            return nn.functional.conv1d(
                features, self.weight, self.bias, padding=self.reach, dilation=self.dilation, groups=len(self.bias)
            )
        padded = _padded(features, self.reach)
        return _shifted_sum(padded, self.weight, self.bias.unsqueeze(-1), self.dilation, features.shape[-1])


class PReLUNorm(nn.Sequential):
    """PReLU of one slope, then global layer norm (Luo and Mesgarani 2019, eq. 5 to 7): ``[B, H, L]`` to the same."""

    def __init__(self, channels, eps):
        super().__init__(nn.PReLU(), nn.GroupNorm(1, channels, eps=eps))

    def forward(self, features):
        """``[B, H, L]`` to ``[B, H, L]``."""
        if not _written_out(features):
            return super().forward(features)
        bend, norm = self
        return _PReLUNorm.apply(features.contiguous(), bend.weight, norm.weight, norm.bias, norm.eps)
