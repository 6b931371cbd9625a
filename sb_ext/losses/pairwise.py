"""Negative SNR and SI-SDR, for matched signals and for all pairs of estimates and targets.

Each loss comes in three forms with the same values. ``elementwise`` measures matched signals on the waveforms:
this is what gradients flow through. ``pairwise`` measures all pairs on the waveforms. ``scores`` measures all pairs
from inner products: one small matrix product instead of E x C passes over the samples, good enough to choose an
assignment by, but not to train on, since the subtraction of large numbers loses its digits above 40 dB.
"""

import torch

# Below any audible power sum, so that quiet signals are measured as loud ones are.
EPS = 1e-12
# Ratios end at -80 dB: a silent signal gives a finite value and no gradient.
FLOOR = 1e-8


def _decibels(numerator, denominator):
    return 10 * torch.log10(numerator / (denominator + EPS) + FLOOR)


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


def _mixed_products(estimates, targets, mixing):
    """Power of each mixed estimate and its inner product with its target, both ``[B, P, C]``."""
    gram = estimates @ estimates.mT
    power = torch.einsum("pce,bef,pcf->bpc", mixing, gram, mixing)
    cross = torch.einsum("pce,bec->bpc", mixing, estimates @ targets.mT)
    return power, cross


class PairwiseLoss:
    """A loss of matched signals, called with ``[..., T]`` and ``[..., T]``, that can measure all pairs as well."""

    def pairwise(self, estimates, targets):
        """Loss of all pairs: ``[B, E, T]`` and ``[B, C, T]`` give ``[B, E, C]``, in dB."""
        _check_pair(estimates, targets)
        return self(estimates.unsqueeze(2), targets.unsqueeze(1))


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
        return self._from_powers(targets.square().sum(-1), (targets - estimates).square().sum(-1))

    def scores(self, estimates, targets):
        """``pairwise`` from inner products, without gradient; for choosing assignments only."""
        _check_pair(estimates, targets)
        with torch.no_grad(), torch.autocast(estimates.device.type, enabled=False):
            estimates, targets = estimates.float(), targets.float()
            target_power = targets.square().sum(-1).unsqueeze(1)
            cross = estimates @ targets.mT
            noise = estimates.square().sum(-1).unsqueeze(2) + target_power - 2 * cross
            return self._from_powers(target_power, noise.clamp_min(0))

    def mixed_scores(self, estimates, targets, mixing):
        """Loss of ``mixing [P, C, E]`` times the estimates beside the targets: ``[B, P, C]``, from inner products."""
        target_power = targets.square().sum(-1).unsqueeze(1)
        power, cross = _mixed_products(estimates, targets, mixing)
        return self._from_powers(target_power, (power + target_power - 2 * cross).clamp_min(0))

    def _from_powers(self, target, noise):
        return -_decibels(target, noise + self.ceiling * target)


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
        estimates = estimates - estimates.mean(-1, keepdim=True)
        targets = targets - targets.mean(-1, keepdim=True)
        power = targets.square().sum(-1, keepdim=True)
        projection = (estimates * targets).sum(-1, keepdim=True) / (power + EPS) * targets
        return -_decibels(projection.square().sum(-1), (projection - estimates).square().sum(-1))

    def scores(self, estimates, targets):
        """``pairwise`` from inner products, without gradient; for choosing assignments only."""
        _check_pair(estimates, targets)
        with torch.no_grad(), torch.autocast(estimates.device.type, enabled=False):
            estimates = estimates.float() - estimates.float().mean(-1, keepdim=True)
            targets = targets.float() - targets.float().mean(-1, keepdim=True)
            power = targets.square().sum(-1).unsqueeze(1)
            cross = estimates @ targets.mT
            projected = cross.square() / (power + EPS)
            rest = estimates.square().sum(-1).unsqueeze(2) - projected
            return -_decibels(projected, rest.clamp_min(0))

    def mixed_scores(self, estimates, targets, mixing):
        """Loss of ``mixing [P, C, E]`` times the estimates beside the targets: ``[B, P, C]``, from inner products."""
        estimates = estimates - estimates.mean(-1, keepdim=True)
        targets = targets - targets.mean(-1, keepdim=True)
        power, cross = _mixed_products(estimates, targets, mixing)
        projected = cross.square() / (targets.square().sum(-1).unsqueeze(1) + EPS)
        return -_decibels(projected, (power - projected).clamp_min(0))


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
