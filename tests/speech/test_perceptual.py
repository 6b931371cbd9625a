"""Distances of representations beside a literal double loop, and their place in every supervised objective."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sb_ext.assignment import pit_loss, reorder
from sb_ext.brain import SeparationBrain
from sb_ext.contracts import MixtureBatch, Separation
from sb_ext.evaluation.averages import Averages
from sb_ext.losses import NegSISDR
from sb_ext.losses.perceptual import PerceptualLoss, Triplet, WeightedSum, negative_distances, positive_distances
from sb_ext.objectives import PIT, KeptAssignment, PITDynamicMixing, SampleDropout
from sb_ext.objectives.label_assignment import SinkhornAssignment
from sb_ext.objectives.layer_wise import LayerWise
from sb_ext.speech.representation import Representation

INTEGRATIONS = [WeightedSum(), WeightedSum(negative=0), WeightedSum(positive=0), Triplet(), Triplet(margin=1.0)]


class Frames(torch.nn.Module):
    """Stands for a speech model: frames of eight samples through a fixed matrix; counts its calls."""

    def __init__(self):
        super().__init__()
        self.register_buffer("matrix", torch.randn(8, 5, generator=torch.Generator().manual_seed(0)), persistent=False)
        self.calls = []

    def forward(self, signals):
        self.calls.append(list(signals.shape))
        return (signals.unfold(-1, 8, 8) @ self.matrix.to(signals.dtype)).tanh()

    def of_targets(self, signals):
        with torch.no_grad():
            return self(signals)


class Layers(torch.nn.Module):
    """A separator of two layers; its estimates are parameters, so that gradients can be read off."""

    def __init__(self, estimates):
        super().__init__()
        self.layers = torch.nn.ParameterList(estimates)

    def forward(self, mixture, layers=False):
        return Separation(self.layers[-1], tuple(self.layers) if layers else ())


def draw(size=3, count=2, samples=80, seed=0, dtype=torch.float64):
    """Targets, and estimates near them in another order."""
    generator = torch.Generator().manual_seed(seed)
    sources, noise = torch.randn(2, size, count, samples, generator=generator, dtype=dtype)
    return sources, (sources + 0.7 * noise).roll(1, 1)


def batch_of(sources):
    ids = [f"item{place}" for place in range(len(sources))]
    return MixtureBatch(ids, sources.sum(1), sources, None, torch.full((len(sources),), sources.shape[-1]))


def literal(phi, estimates, targets, reduction):
    """Eq. 3 and 4 as they are written: loops over examples, sources and frames."""
    size, count = targets.shape[:2]
    positive, negative = torch.zeros(size, count).double(), torch.zeros(size, count).double()
    for b in range(size):
        for i in range(count):
            target = phi(targets[b, i][None])[0]
            for j in range(count):
                estimate = phi(estimates[b, j][None])[0]
                distance = sum((x - y).square().sum() / len(x) for x, y in zip(target, estimate, strict=True))
                distance = distance / len(target) if reduction == "mean" else distance
                (positive if i == j else negative)[b, i] += distance
    return positive, negative


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_distances_are_the_papers(count, reduction):
    targets, estimates = draw(count=count)
    phi = Frames()
    representations = [phi(signals.flatten(0, 1)).unflatten(0, signals.shape[:2]) for signals in (estimates, targets)]
    expected = literal(phi, estimates, targets, reduction)
    for distance, value in zip((positive_distances, negative_distances), expected, strict=True):
        torch.testing.assert_close(distance(*representations, reduction), value)


@pytest.mark.parametrize("integration", INTEGRATIONS, ids=lambda one: f"{type(one).__name__} {vars(one)}")
@pytest.mark.parametrize("count", [2, 3])
def test_the_whole_loss_is_the_papers(integration, count):
    """Eq. 5 to 9 over the whole batch, from the literal distances of the best assignment; value and gradient."""
    sources, estimates = draw(count=count)
    separator, phi = Layers([estimates]), Frames()
    objective = PIT(NegSISDR(), auxiliary=PerceptualLoss(phi, integration, basic_weight=0.5))
    report = objective(separator, batch_of(sources), epoch=1)
    gradient = torch.autograd.grad(report.loss.mean(), separator.layers[0])[0]
    free = estimates.clone().requires_grad_()
    basic, order = pit_loss(NegSISDR(), free, sources)
    positive, negative = literal(phi, reorder(free, order), sources, "mean")
    if isinstance(integration, Triplet):
        perceptual = integration.weight * (positive - negative + integration.margin).clamp_min(0).mean()
    else:
        perceptual = integration.positive * positive.mean() + integration.negative / negative.mean()
    expected = 0.5 * basic.mean() + perceptual
    torch.testing.assert_close(report.loss.mean(), expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, free)[0])
    torch.testing.assert_close(torch.as_tensor(float(report.log["perceptual"])), perceptual.detach().float())


@given(st.integers(0, 1000), st.permutations(range(3)))
@settings(max_examples=15, deadline=None)
def test_the_order_of_the_outputs_does_not_matter(seed, order):
    sources, estimates = draw(count=3, seed=seed)
    objective = PIT(NegSISDR(), auxiliary=PerceptualLoss(Frames(), WeightedSum()))
    plain, permuted = (
        objective(Layers([one]), batch_of(sources), 1).loss for one in (estimates, estimates[:, list(order)])
    )
    torch.testing.assert_close(plain, permuted)


@pytest.mark.parametrize("count", [2, 3])
def test_one_pass_for_estimates_and_one_for_targets(count):
    sources, estimates = draw(count=count)
    phi = Frames()
    PIT(NegSISDR(), auxiliary=PerceptualLoss(phi, Triplet()))(Layers([estimates]), batch_of(sources), 1)
    assert phi.calls == [[3 * count, 80]] * 2


def test_gradients_in_double_precision_through_a_real_model(checkpoint):
    sources, estimates = draw(2, 2, 200)
    for integration in (WeightedSum(), Triplet(margin=5.0)):
        loss = PerceptualLoss(Representation(checkpoint(stable=True)), integration).double()

        def cost(estimates, loss=loss):
            return loss(estimates.new_zeros(2), [estimates], sources, torch.ones(2, dtype=torch.bool))[0].mean()

        torch.autograd.gradcheck(cost, estimates.clone().requires_grad_(), fast_mode=True, atol=1e-4)


# --- In the company of others ---


@pytest.mark.parametrize(
    "options",
    [{"memory": SampleDropout()}, {"memory": SampleDropout(reorder=True)}, {"memory": KeptAssignment(1)},
     {"assignment": SinkhornAssignment()}, {"layers": LayerWise()}, {"memory": SampleDropout(), "layers": LayerWise()}],
    ids=str,
)  # fmt: skip
def test_adds_to_every_variation(options):
    """The loss is the objective's own, and the last layer's distances under the order that the objective took."""
    sources, estimates = draw()
    layers = [estimates.roll(1, 1), estimates]
    auxiliary = PerceptualLoss(Frames(), WeightedSum())
    both = PIT(NegSISDR(), **copy.deepcopy(options), auxiliary=auxiliary)
    basic = PIT(NegSISDR(), **copy.deepcopy(options))(Layers(layers), batch_of(sources), 1)
    total = both(Layers(layers), batch_of(sources), 1)
    order = pit_loss(NegSISDR(), estimates, sources)[1]
    keep = torch.ones(3, dtype=torch.bool)
    expected = auxiliary(torch.zeros(3).double(), [reorder(estimates, order)], sources, keep)[0]
    torch.testing.assert_close(total.loss, basic.loss + expected)
    assert torch.equal(total.keep, basic.keep)


def test_dynamic_mixing_compares_with_the_new_sources():
    sources, _ = draw()
    seen = []

    class Watching(PerceptualLoss):
        def forward(self, basic, ordered, targets, keep):
            seen.append(targets)
            return super().forward(basic, ordered, targets, keep)

    def separator(mixture):
        return Separation(torch.stack([mixture, 0.5 * mixture.roll(1, -1)], 1))

    objective = PITDynamicMixing(NegSISDR(), auxiliary=Watching(Frames(), WeightedSum()))
    assert objective(separator, batch_of(sources), 1).loss.isfinite().all()
    assert seen[0].shape == sources.shape and not torch.equal(seen[0], sources)


def test_a_kept_assignment_decides_what_is_near():
    """Where the memory binds a mixture to another order than the best, distances follow the bound order."""
    sources, estimates = draw()
    auxiliary = PerceptualLoss(Frames(), WeightedSum())
    objective = PIT(NegSISDR(), memory=KeptAssignment(1), auxiliary=auxiliary)
    objective(Layers([sources]), batch_of(sources), 1)
    bound = objective(Layers([sources.flip(1)]), batch_of(sources), 2)
    assert bound.log["positive_distance"] > 0.1 and bound.log["negative_distance"] < 1e-9


def test_all_layers_when_asked():
    sources, estimates = draw()
    separator = Layers([estimates.roll(1, 1), estimates])
    auxiliary = PerceptualLoss(Frames(), WeightedSum(), layers=LayerWise())
    report = PIT(NegSISDR(), layers=LayerWise(), auxiliary=auxiliary)(separator, batch_of(sources), 1)
    report.loss.mean().backward()
    assert len(auxiliary.representation.calls) == 2
    last = PerceptualLoss(Frames(), WeightedSum())
    basic = PIT(NegSISDR(), layers=LayerWise())(separator, batch_of(sources), 1).loss
    ordered = [reorder(one, pit_loss(NegSISDR(), one, sources)[1]) for one in separator.layers]
    costs = [last(torch.zeros(3), [one], sources, torch.ones(3, dtype=torch.bool))[0] for one in ordered]
    torch.testing.assert_close(report.loss, basic + LayerWise().combine(costs))


@pytest.mark.parametrize("how", ["dropped", "nan"])
@pytest.mark.parametrize("integration", INTEGRATIONS[:4], ids=lambda one: f"{type(one).__name__} {vars(one)}")
def test_a_row_that_is_left_out_changes_nothing(integration, how):
    """Neither the others' loss nor their gradient, and it gets no gradient itself."""
    sources, estimates = draw()
    keep = torch.tensor([True, False, True])
    results = []
    for rows in (keep, torch.ones(2, dtype=torch.bool)):
        free = (estimates if len(rows) == 3 else estimates[keep]).clone()
        aims = sources if len(rows) == 3 else sources[keep]
        basic = torch.zeros(len(rows)).double()
        if how == "nan" and len(rows) == 3:
            basic[1] = free[1, 0, 3] = torch.nan
            rows = torch.ones(3, dtype=torch.bool)
        free.requires_grad_()
        loss, log = PerceptualLoss(Frames(), integration)(basic, [free], aims, rows)
        kept = rows & loss.isfinite()
        cost = torch.where(kept, loss, 0).sum() / kept.sum()
        gradient = torch.autograd.grad(cost, free)[0]
        results.append((cost, gradient, log))
    (cost, gradient, log), (other_cost, other_gradient, other_log) = results
    torch.testing.assert_close(cost, other_cost)
    torch.testing.assert_close(gradient[keep], other_gradient)
    assert not torch.nan_to_num(gradient[1]).any()
    assert {name: float(value) for name, value in log.items()} == pytest.approx(
        {name: float(value) for name, value in other_log.items()}
    )


def test_the_brain_averages_what_is_logged():
    """Names and means as a run's curve has them."""
    brain = SeparationBrain.__new__(SeparationBrain)
    brain.kept_rows = None
    brain.averages = Averages()
    sources, estimates = draw()
    objective = PIT(NegSISDR(), auxiliary=PerceptualLoss(Frames(), WeightedSum()))
    report = objective(Layers([estimates]), batch_of(sources), 1)
    cost = brain._mean_of_kept(report)
    torch.testing.assert_close(cost, report.loss.mean())
    assert {"perceptual", "positive_distance", "negative_distance"} < set(brain.averages.means())


def test_wrong_settings():
    with pytest.raises(ValueError, match="reduction: expected one of mean, sum, received 'median'"):
        PerceptualLoss(Frames(), Triplet(), reduction="median")
    with pytest.raises(ValueError, match="WeightedSum: .* received 0 and 0"):
        WeightedSum(0, 0)
    with pytest.raises(ValueError, match="WeightedSum: .* received -1"):
        WeightedSum(-1)
    with pytest.raises(ValueError, match="WeightedSum: .* received nan"):
        WeightedSum(float("nan"))
    with pytest.raises(ValueError, match="weight: expected a number of at least 0, received -3"):
        WeightedSum(weight=-3)
    with pytest.raises(ValueError, match="margin: expected a number of at least 0, received -0.1"):
        Triplet(margin=-0.1)
    with pytest.raises(ValueError, match="basic_weight: expected a number of at least 0, received nan"):
        PerceptualLoss(Frames(), Triplet(), basic_weight=float("nan"))
    one = torch.randn(2, 1, 80)
    with pytest.raises(ValueError, match=r"one source .* \[2, 1, 80\]"):
        PerceptualLoss(Frames(), Triplet())(torch.zeros(2), [one], one, torch.ones(2, dtype=torch.bool))
