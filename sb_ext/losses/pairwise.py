"""Negative SNR and SI-SDR, for matched signals and for all pairs of estimates and targets.

Each loss comes in several forms with the same values. ``elementwise`` measures matched signals on the waveforms:
this is what gradients flow through. ``pairwise`` measures all pairs on the waveforms. ``scores`` measures all pairs
from inner products: one small matrix product instead of E x C passes over the samples, good enough to choose an
assignment by. ``from_products`` is the same with a gradient; the subtraction of large numbers loses its digits above
40 dB, so train on it only what does not match that well.
"""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

# Below any audible power sum, so that quiet signals are measured as loud ones are.
EPS = 1e-12
# Ratios end at -80 dB: a silent signal gives a finite value and no gradient.
FLOOR = 1e-8


@contextmanager
def full_precision(device):
    """Matrix products as exact as their dtype: SpeechBrain allows TF32, of ten bits, and autocast may take seven.

    Arguments
    ---------
    device : torch.device
        Where autocast is switched off.

    Example
    -------
    >>> with torch.autocast("cpu", torch.bfloat16), full_precision(torch.device("cpu")):
    ...     (torch.eye(2) @ torch.eye(2)).dtype
    torch.float32
    """
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed


def _neg_decibels(numerator, denominator):
    return -10 * torch.log10(numerator / denominator + FLOOR)


def _power(signals):
    # in one pass; a sum of squares would write the squares down first
    return torch.linalg.vector_norm(signals, dim=-1).square()


def _centred(signals):
    return signals - signals.mean(-1, keepdim=True)


def _alike(estimates, targets):
    dtype = torch.promote_types(estimates.dtype, targets.dtype)
    return torch.broadcast_tensors(estimates.to(dtype), targets.to(dtype))


def _check_pair(estimates, targets):
    if estimates.dim() != 3 or targets.dim() != 3:
        raise ValueError(
            "estimates and targets: expected [B, E, T] and [B, C, T], "
            f"received {list(estimates.shape)} and {list(targets.shape)}"
        )
    if estimates.shape[0] != targets.shape[0] or estimates.shape[2] != targets.shape[2]:
        raise ValueError(
            "estimates and targets: batch and samples must agree, "
            f"received {list(estimates.shape)} and {list(targets.shape)}"
        )


class _Mix(torch.autograd.Function):
    """``mixing [B, C, E]`` times ``estimates [B, E, T]``, in full precision both ways; keeps the small matrix only."""

    @staticmethod
    def forward(ctx, estimates, mixing):
        """See the class."""
        ctx.save_for_backward(mixing)
        with full_precision(estimates.device):
            return mixing @ estimates

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """Each estimate receives the gradient of what it went into."""
        (mixing,) = ctx.saved_tensors
        with full_precision(grad.device):
            return mixing.mT @ grad, None


class _Products(torch.autograd.Function):
    """Power of the estimates, inner products of all pairs, power of the targets, in one pass back.

    ``prepared`` may take the mean out: what comes back then has none, and goes to the signals as they were.
    """

    @staticmethod
    def forward(ctx, prepared, estimates, targets):
        """See the class."""
        ctx.dtypes = estimates.dtype, targets.dtype
        with full_precision(estimates.device):
            estimates, targets = prepared(estimates), prepared(targets)
            dtype = torch.promote_types(estimates.dtype, targets.dtype)
            ctx.save_for_backward(estimates.to(dtype), targets.to(dtype))
            return _power(estimates), estimates.to(dtype) @ targets.to(dtype).mT, _power(targets)

    @staticmethod
    @once_differentiable
    def backward(ctx, power, cross, target_power):
        """Both gradients; each only where asked for."""
        estimates, targets = ctx.saved_tensors
        found = [None, None]
        with full_precision(estimates.device):
            if ctx.needs_input_grad[1]:
                own = 2 * power.to(cross).unsqueeze(-1) * estimates
                found[0] = own.baddbmm_(cross, targets).to(ctx.dtypes[0])
            if ctx.needs_input_grad[2]:
                own = 2 * target_power.to(cross).unsqueeze(-1) * targets
                found[1] = own.baddbmm_(cross.mT, estimates).to(ctx.dtypes[1])
        return None, *found


class PairwiseLoss:
    """A loss of matched signals, called with ``[..., T]`` and ``[..., T]``, that can measure all pairs as well.

    A subclass says in ``_from_products`` how it follows from the estimates' power, the inner products and the targets'
    power, and in ``_prepared`` what is done to the signals before.
    """

    def pairwise(self, estimates, targets):
        """Loss of all pairs: ``[B, E, T]`` and ``[B, C, T]`` give ``[B, E, C]``, in dB."""
        _check_pair(estimates, targets)
        return self(estimates.unsqueeze(2), targets.unsqueeze(1))

    @torch.no_grad()
    def scores(self, estimates, targets):
        """``from_products`` without gradient, for choosing assignments."""
        return self.from_products(estimates, targets)

    def from_products(self, estimates, targets):
        """``pairwise`` from inner products; its gradient is right for pairs below 40 dB."""
        _check_pair(estimates, targets)
        power, cross, target_power = _Products.apply(self._prepared, estimates, targets)
        return self._from_products(power.unsqueeze(2), cross, target_power.unsqueeze(1))

    @torch.no_grad()
    def mixed_scores(self, estimates, targets, mixing):
        """Loss of ``mixing [P, C, E]`` times the estimates beside the targets: ``[B, P, C]``, from inner products."""
        with full_precision(estimates.device):
            estimates, targets = self._prepared(estimates), self._prepared(targets)
            rows = mixing.flatten(0, 1)
            power = (rows @ (estimates @ estimates.mT) * rows).sum(-1).unflatten(1, mixing.shape[:2])
            cross = (mixing * (targets @ estimates.mT).unsqueeze(1)).sum(-1)
            return self._from_products(power, cross, _power(targets).unsqueeze(1))

    def mixed(self, estimates, targets, mixing):
        """Loss of ``mixing [B, C, E]`` times the estimates beside the targets: ``[B, C]``, in dB; differentiable."""
        return self(_Mix.apply(estimates, mixing), targets)

    def _prepared(self, signals):
        return signals.to(torch.promote_types(signals.dtype, torch.float32))


class NegSNR(PairwiseLoss):
    """Negative signal-to-noise ratio with a soft ceiling: ``-10 log10(|s|^2 / (|s - e|^2 + 10^(-max/10) |s|^2))``.

    Arguments
    ---------
    snr_max : float or None
        The ceiling in dB (30 in MixIT, Wisdom et al. 2020, eq. 2, and in MixCycle); None for no ceiling.

    Example
    -------
    >>> target = torch.randn(1, 2, 800, generator=torch.manual_seed(0))
    >>> [round(value, 2) for value in NegSNR(snr_max=30)(target, target)[0].tolist()]
    [-30.0, -30.0]
    """

    def __init__(self, snr_max=None):
        self.ceiling = 0.0 if snr_max is None else 10 ** (-snr_max / 10)

    def __call__(self, estimates, targets):
        """Loss of matched signals: ``[..., T]`` and ``[..., T]`` give ``[...]``, in dB."""
        noise = F.mse_loss(*_alike(estimates, targets), reduction="none").sum(-1)
        return self._from_noise(noise, _power(targets))

    def mixed(self, estimates, targets, mixing):
        """Loss of ``mixing [B, C, E]`` times the estimates beside the targets: ``[B, C]``, in dB; differentiable."""
        return self._from_noise(_Distance.apply(estimates, targets, mixing), _power(targets))

    def _from_products(self, power, cross, target_power):
        return self._from_noise((power + target_power - 2 * cross).clamp_min(0), target_power)

    def _from_noise(self, noise, target_power):
        return _neg_decibels(target_power, noise + (self.ceiling * target_power + EPS))


class _Distance(torch.autograd.Function):
    """``|s - mixing e|^2`` ``[B, C]`` in one product forward and one backward; keeps the residual."""

    @staticmethod
    def forward(ctx, estimates, targets, mixing):
        """See the class."""
        with full_precision(estimates.device):
            residual = torch.baddbmm(targets, mixing, estimates, alpha=-1)
        ctx.save_for_backward(residual, mixing)
        return _power(residual)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """Both gradients; with respect to the targets only where asked for."""
        residual, mixing = ctx.saved_tensors
        grad = 2 * grad.unsqueeze(-1)
        with full_precision(residual.device):
            return (-grad * mixing).mT @ residual, grad * residual if ctx.needs_input_grad[1] else None, None


class _Projection(torch.autograd.Function):
    """Power of the estimates along the zero-mean targets and beside them: ``|a s|^2`` and ``|e - a s|^2``, ``[...]``.

    Keeps one signal for the backward pass. What rounding left of the target in the rest, which weighs above 60 dB, is
    measured and taken out of the gradient.
    """

    @staticmethod
    def forward(ctx, estimates, targets):
        """See the class."""
        aim = _centred(targets)
        power = _power(aim).unsqueeze(-1) + EPS
        scale = (estimates * aim).sum(-1, keepdim=True) / power
        rest = torch.addcmul(estimates, scale, aim, value=-1)
        rest -= rest.mean(-1, keepdim=True)
        left = (rest * aim).sum(-1, keepdim=True) / power
        ctx.save_for_backward(targets, rest, scale, left)
        return (scale.square() * power).squeeze(-1), _power(rest)

    @staticmethod
    @once_differentiable
    def backward(ctx, along, beside):
        """Both gradients; with respect to the targets only where asked for."""
        targets, rest, scale, left = ctx.saved_tensors
        along, beside = 2 * along.unsqueeze(-1), 2 * beside.unsqueeze(-1)
        estimates_grad = (beside * rest).addcmul_(along * scale - beside * left, _centred(targets))
        return estimates_grad, (along - beside) * scale * rest if ctx.needs_input_grad[1] else None


class NegSISDR(PairwiseLoss):
    """Negative scale-invariant signal-to-distortion ratio of zero-mean signals (Le Roux et al. 2019, eq. 3 and 4).

    ``-10 log10(|a s|^2 / |a s - e|^2)`` with ``a = <e, s> / |s|^2``. SI-SNR is the same measure.

    Example
    -------
    >>> target, estimate = torch.randn(2, 1, 2, 800, generator=torch.manual_seed(0))
    >>> loss = NegSISDR()
    >>> torch.allclose(loss(3 * estimate + 0.5, target), loss(estimate, target), atol=1e-3)
    True
    """

    def __call__(self, estimates, targets):
        """Loss of matched signals: ``[..., T]`` and ``[..., T]`` give ``[...]``, in dB."""
        projected, rest = _Projection.apply(*_alike(estimates, targets))
        return _neg_decibels(projected, rest + EPS)

    def _prepared(self, signals):
        return _centred(super()._prepared(signals))

    def _from_products(self, power, cross, target_power):
        projected = cross.square() / (target_power + EPS)
        return _neg_decibels(projected, (power - projected).clamp_min(0) + EPS)


def pairwise_neg_snr(estimates, targets, snr_max=None):
    """Negative SNR of all pairs, in dB: ``[B, E, T]`` and ``[B, C, T]`` give ``[B, E, C]``. See NegSNR.

    Example
    -------
    >>> pairwise_neg_snr(torch.randn(3, 4, 800), torch.randn(3, 2, 800)).shape
    torch.Size([3, 4, 2])
    """
    return NegSNR(snr_max).pairwise(estimates, targets)


def pairwise_neg_sisdr(estimates, targets):
    """Negative SI-SDR of all pairs, in dB: ``[B, E, T]`` and ``[B, C, T]`` give ``[B, E, C]``. See NegSISDR.

    Example
    -------
    >>> pairwise_neg_sisdr(torch.randn(3, 4, 800), torch.randn(3, 2, 800)).shape
    torch.Size([3, 4, 2])
    """
    return NegSISDR().pairwise(estimates, targets)
