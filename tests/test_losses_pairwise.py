"""The SNR family against torchmetrics, Asteroid and float64 formulas; gradients; what is silent or misshapen."""

import numpy as np
import pytest
import torch
from asteroid.losses import PairwiseNegSDR
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio, signal_noise_ratio

from sb_ext.losses import NegSISDR, NegSNR, pairwise_neg_sisdr, pairwise_neg_snr

LOSSES = {"snr": NegSNR(), "snr30": NegSNR(30), "sisdr": NegSISDR()}


def noisy(snr, batch=2, count=2, samples=4000, seed=0):
    """Estimates at ``snr`` dB, and their targets: both ``[B, C, T]``, at the level of speech, with an offset."""
    generator = torch.Generator().manual_seed(seed)
    targets = 0.1 * torch.randn(batch, count, samples, generator=generator, dtype=torch.float64) + 0.01
    noise = torch.randn(batch, count, samples, generator=generator, dtype=torch.float64)
    scale = targets.square().sum(-1, keepdim=True).sqrt() / noise.square().sum(-1, keepdim=True).sqrt()
    return (targets + 10 ** (-snr / 20) * scale * noise).float(), targets.float()


def thresholded_snr(estimate, target, snr_max):
    """Wisdom et al. 2020, eq. 2, in float64."""
    estimate, target = np.asarray(estimate, np.float64), np.asarray(target, np.float64)
    tau = 0 if snr_max is None else 10 ** (-snr_max / 10)
    power = np.sum(target**2)
    return -10 * np.log10(power / (np.sum((target - estimate) ** 2) + tau * power))


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 4, 2), (2, 2, 3)])
def test_pairwise_sisdr_equals_torchmetrics_for_every_pair(shape):
    batch, num_estimates, num_targets = shape
    torch.manual_seed(0)
    targets = torch.randn(batch, num_targets, 4000) + 0.3
    estimates = torch.randn(batch, num_estimates, num_targets) @ targets + 0.5 * torch.randn(batch, num_estimates, 4000)
    ours = pairwise_neg_sisdr(estimates, targets)
    assert ours.shape == shape
    for e in range(num_estimates):
        for c in range(num_targets):
            theirs = -scale_invariant_signal_distortion_ratio(estimates[:, e], targets[:, c], zero_mean=True)
            torch.testing.assert_close(ours[:, e, c], theirs, atol=1e-3, rtol=1e-4)


def test_pairwise_sisdr_equals_asteroid():
    torch.manual_seed(1)
    targets = torch.randn(4, 3, 4000)
    estimates = torch.randn(4, 3, 3) @ targets + torch.randn(4, 3, 4000)
    torch.testing.assert_close(
        pairwise_neg_sisdr(estimates, targets), PairwiseNegSDR("sisdr")(estimates, targets), atol=1e-3, rtol=1e-4
    )


@pytest.mark.parametrize("snr_max", [None, 30, 10])
@pytest.mark.parametrize("snr", [-20, 0, 20, 50])
def test_pairwise_snr_equals_the_thresholded_snr_of_mixit(snr, snr_max):
    estimates, targets = noisy(snr)
    ours = pairwise_neg_snr(estimates, targets, snr_max)
    for b, e, c in np.ndindex(*ours.shape):
        assert float(ours[b, e, c]) == pytest.approx(thresholded_snr(estimates[b, e], targets[b, c], snr_max), abs=2e-3)


def test_snr_without_a_ceiling_equals_torchmetrics():
    estimates, targets = noisy(12)
    torch.testing.assert_close(
        NegSNR()(estimates, targets), -signal_noise_ratio(estimates, targets, zero_mean=False), atol=1e-3, rtol=1e-4
    )


@pytest.mark.parametrize("name", LOSSES)
def test_elementwise_is_the_diagonal_of_pairwise(name):
    estimates, targets = noisy(8, count=3)
    diagonal = LOSSES[name].pairwise(estimates, targets).diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(LOSSES[name](estimates, targets), diagonal)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("snr", [-10, 0, 15, 30])
def test_scores_equal_pairwise_at_moderate_snr(name, snr):
    estimates, targets = noisy(snr, count=3)
    scores, exact = LOSSES[name].scores(estimates, targets), LOSSES[name].pairwise(estimates, targets)
    # A correlation near zero has few digits in dB, on either way: compare what an assignment could choose.
    near = exact < 20
    torch.testing.assert_close(scores[near], exact[near], atol=2e-2, rtol=1e-3)
    assert near.diagonal(dim1=1, dim2=2).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("snr", [-10, 0, 15, 30, 60, 100])
def test_scores_choose_what_pairwise_chooses(name, snr):
    estimates, targets = noisy(snr, batch=8, count=4)
    order = torch.tensor([2, 0, 3, 1])
    scores = LOSSES[name].scores(estimates[:, order], targets)
    # Column c: the estimate of target c.
    assert scores.argmin(1).tolist() == [[1, 3, 0, 2]] * 8
    assert scores.argmin(1).equal(LOSSES[name].pairwise(estimates[:, order], targets).argmin(1))


def test_scores_carry_no_gradient():
    estimates, targets = noisy(5)
    for loss in LOSSES.values():
        assert not loss.scores(estimates.requires_grad_(), targets).requires_grad


@pytest.mark.parametrize("name", LOSSES)
def test_mixed_scores_equal_the_loss_of_the_mixed_estimates(name):
    estimates, targets = noisy(3, count=4)
    mixing = torch.tensor([[[1.0, 0, 1, 0], [0, 1, 0, 1]], [[1, 1, 1, 0], [0, 0, 0, 1]], [[0, 1, 1, 0], [1, 0, 0, 1]]])
    mixtures = torch.stack([targets[:, 0] + targets[:, 2], targets[:, 1] + targets[:, 3]], 1)
    ours = LOSSES[name].mixed_scores(estimates, mixtures, mixing)
    for way, matrix in enumerate(mixing):
        exact = LOSSES[name](matrix @ estimates, mixtures)
        torch.testing.assert_close(ours[:, way], exact, atol=2e-2, rtol=1e-3)


def by_definition(name, estimates, targets):
    """Each loss as its paper writes it, for float64."""
    if name == "sisdr":
        estimates, targets = (x - x.mean(-1, keepdim=True) for x in (estimates, targets))
        targets = (estimates * targets).sum(-1, keepdim=True) / targets.square().sum(-1, keepdim=True) * targets
    power = targets.square().sum(-1)
    ceiling = 1e-3 * power if name == "snr30" else 0
    return -10 * torch.log10(power / ((targets - estimates).square().sum(-1) + ceiling))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("snr", [-10, 0, 20, 40, 60, 80])
@pytest.mark.parametrize("scale, offset", [(1, 0), (0.3, 0.02)])
def test_values_and_gradients_are_exact_up_to_80_db(name, snr, scale, offset):
    estimates, targets = noisy(snr, samples=24000)
    estimates = scale * estimates + offset if name == "sisdr" else estimates
    single = estimates.clone().requires_grad_()
    double = estimates.double().requires_grad_()
    value, expected = LOSSES[name](single, targets), by_definition(name, double, targets.double())
    torch.testing.assert_close(value.double(), expected, atol=1e-3, rtol=0)
    value.sum().backward()
    expected.sum().backward()
    assert (single.grad.double() - double.grad).norm() / double.grad.norm() < 1e-3


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("form", ["__call__", "pairwise"])
def test_gradients_of_estimates_and_targets_are_the_numerical_ones(name, form):
    signals = [x.double().requires_grad_() for x in noisy(5, samples=20)]
    torch.autograd.gradcheck(getattr(LOSSES[name], form), signals)


def test_second_derivatives_are_refused_where_they_would_be_wrong():
    estimates, targets = noisy(5)
    value = NegSISDR()(estimates.requires_grad_(), targets).sum()
    (gradient,) = torch.autograd.grad(value, estimates, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("snr_max", [20, 30])
def test_the_ceiling_is_the_loss_of_an_exact_estimate(snr_max):
    _, targets = noisy(0)
    torch.testing.assert_close(NegSNR(snr_max)(targets, targets), torch.full((2, 2), -float(snr_max)))


def test_sisdr_ignores_scale_and_offset_of_the_estimate():
    estimates, targets = noisy(10)
    for scale in (1e-2, 7.0, -3.0):
        torch.testing.assert_close(
            NegSISDR()(scale * estimates + 0.4, targets), NegSISDR()(estimates, targets), atol=1e-2, rtol=0
        )


def test_sisdr_measures_a_very_quiet_estimate_like_a_loud_one():
    """A saturated mask leaves amplitudes like these; absolute guards against zero must not pass for the measure."""
    estimates, targets = noisy(-10)
    torch.testing.assert_close(NegSISDR()(1e-6 * estimates, targets), NegSISDR()(estimates, targets), atol=5e-2, rtol=0)
    torch.testing.assert_close(
        NegSISDR().scores(1e-6 * estimates, targets), NegSISDR().scores(estimates, targets), atol=0.1, rtol=0
    )


def test_sisdr_of_silence_is_worse_than_of_noise():
    """Or else a model that is silent at one output improves every source that is quieter than its mixture."""
    estimates, targets = noisy(-20)
    assert (NegSISDR()(0 * estimates, targets) > NegSISDR()(estimates, targets)).all()
    # Asteroid's value: nothing of the target is in it.
    assert PairwiseNegSDR("sisdr")(0 * estimates, targets).min() > 70


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("silent", ["estimate", "target", "both", "neither, but equal"])
def test_silence_and_exact_estimates_give_finite_losses_and_gradients(name, silent):
    estimates, targets = noisy(0)
    if silent.startswith("neither"):
        estimates = targets.clone()
    if silent in ("estimate", "both"):
        estimates[:, 0] = 0
    if silent in ("target", "both"):
        targets[:, 1] = 0
        estimates[:, 1] *= silent == "target"
    loss = LOSSES[name]
    estimates.requires_grad_()
    value = loss(estimates, targets)
    value.sum().backward()
    assert value.isfinite().all() and estimates.grad.isfinite().all()
    assert loss.pairwise(estimates, targets).isfinite().all() and loss.scores(estimates, targets).isfinite().all()


@pytest.mark.parametrize("function", [pairwise_neg_snr, pairwise_neg_sisdr, NegSNR().scores, NegSISDR().scores])
@pytest.mark.parametrize(
    "estimates, targets, said",
    [((2, 800), (2, 2, 800), r"\[2, 800\]"), ((2, 2, 800), (3, 2, 800), r"\[3, 2, 800\]"),
     ((2, 2, 800), (2, 2, 799), r"\[2, 2, 799\]")],
)  # fmt: skip
def test_wrong_shapes_are_named(function, estimates, targets, said):
    with pytest.raises(ValueError, match="estimates and targets.*" + said):
        function(torch.zeros(estimates), torch.zeros(targets))
