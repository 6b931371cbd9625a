"""One-and-rest training against a literal search, and what enters the recursion."""

import pytest
import torch
from torch import nn

from sb_ext.contracts import MixtureBatch, Separation
from sb_ext.filterbanks import LearnedFilterbank
from sb_ext.losses import NegSISDR, NegSNR
from sb_ext.networks import TemporalConvNet
from sb_ext.objectives import OneAndRest
from sb_ext.objectives.one_and_rest import one_and_rest
from sb_ext.separators import Masking
from sb_ext.separators import OneAndRest as Recursive

LOSSES = [NegSNR(30), NegSISDR()]


def searched(loss, outputs, sources):
    """The loss and the sources left of one item: ``[2, T]`` and ``[C, T]``, by trying every source."""
    count = len(sources)
    tried = []
    for one in range(count):
        others = [place for place in range(count) if place != one]
        value = loss(outputs[0], sources[one])
        if others:
            value = value + loss(outputs[1], sources[others].sum(0)) / (count - 1)
        tried.append((value, sources[others]))
    return min(tried, key=lambda pair: pair[0].item())


class Shares(nn.Module):
    """Gives two learned filterings of its input; remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.filters = nn.Parameter(torch.randn(2, 1, 9, generator=torch.Generator().manual_seed(5)))
        self.inputs = []

    def forward(self, mixture, num_sources):
        assert num_sources == 2
        self.inputs.append(mixture)
        return Separation(nn.functional.conv1d(mixture.unsqueeze(1), self.filters, padding=4))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_a_split_costs_what_a_search_over_the_sources_finds(loss, count):
    torch.manual_seed(count)
    sources, outputs = torch.randn(5, count, 300), torch.randn(5, 2, 300, requires_grad=True)
    mixed = outputs + 0.5 * torch.stack([sources[:, -1], sources[:, :-1].sum(1)], 1)
    value, left = one_and_rest(loss, mixed, sources)
    (gradient,) = torch.autograd.grad(value.sum(), outputs, retain_graph=True)
    found = [searched(loss, *pair) for pair in zip(mixed, sources, strict=True)]
    expected = torch.stack([cost for cost, _ in found])
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), outputs)[0], rtol=1e-3, atol=1e-4)
    assert left.equal(torch.stack([rest for _, rest in found])) and left.shape == (5, count - 1, 300)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("count, single", [(2, 0.0), (3, 0.0), (3, 1.0), (5, 0.0)])
def test_the_recursion_is_that_of_a_plain_loop(loss, count, single, make_batch):
    separator, batch = Shares(), make_batch(size=3, count=count)
    report = OneAndRest(loss, single=single)(separator, batch, 1)
    report.loss.sum().backward()
    gradient, splits = separator.filters.grad.clone(), count - 1 + int(single)
    assert report.log == {"splits": splits} and len(separator.inputs) == splits and report.keep.all()
    separator.zero_grad()
    expected = []
    for item in range(3):
        rest, left, costs = batch.mixture[item : item + 1], batch.sources[item], []
        for _ in range(splits):
            outputs = separator(rest.detach(), 2).sources
            cost, left = searched(loss, outputs[0], left)
            costs.append(cost)
            rest = outputs[:, 1]
        expected.append(sum(costs) / splits)
    torch.testing.assert_close(report.loss, torch.stack(expected), rtol=1e-4, atol=1e-4)
    sum(expected).backward()
    torch.testing.assert_close(gradient, separator.filters.grad, rtol=1e-3, atol=1e-3)


def test_exact_splits_reach_the_ceiling_of_every_term(make_batch):
    batch, order = make_batch(count=3), iter([1, 2, 0])

    def exact(mixture, num_sources):
        one = batch.sources[:, next(order)]
        return Separation(torch.stack([one, mixture - one], 1))

    report = OneAndRest(NegSNR(30), single=1.0)(exact, batch, 1)
    torch.testing.assert_close(report.loss, torch.full((4,), -30 * (1.5 + 2 + 1) / 3), rtol=1e-3, atol=0)


def test_how_often_a_step_recurs(make_batch):
    """And how often it then splits a single source as well."""
    batch, seen = make_batch(size=2, count=3, samples=50), []
    objective = OneAndRest(NegSNR(30), recursion=0.75, single=0.5)
    torch.manual_seed(0)
    for _ in range(400):
        seen.append(objective(Shares(), batch, 1).log["splits"])
    shares = [seen.count(splits) / len(seen) for splits in (1, 2, 3)]
    torch.testing.assert_close(torch.tensor(shares), torch.tensor([0.25, 0.375, 0.375]), atol=0.08, rtol=0)
    never = OneAndRest(NegSNR(30), recursion=0.0, single=1.0)
    assert {never(Shares(), batch, 1).log["splits"] for _ in range(20)} == {1}


def test_the_next_batch_may_have_another_number_of_sources(make_batch):
    objective, separator = OneAndRest(NegSISDR(), single=0.5), Shares()
    for count, size in ((2, 4), (3, 6), (2, 3), (5, 1)):
        report = objective(separator, make_batch(size=size, count=count), 1)
        assert report.loss.shape == (size,) and report.loss.isfinite().all()


def test_a_step_trains_the_separator_inside_the_recursive_one(make_batch):
    torch.manual_seed(0)
    model = Masking(LearnedFilterbank(8), TemporalConvNet(8, 2, 4, 6, num_layers=2, num_stacks=1))
    batch, gradients = make_batch(count=3), []
    for separator in (model, Recursive(model)):
        model.zero_grad()
        OneAndRest(NegSISDR(), single=1.0)(separator, batch, 1).loss.sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*gradients, rtol=0, atol=0)
    assert all(gradient.any() for gradient in gradients[0])


def test_the_objective_only_calls_its_separator_and_holds_nothing_of_it(make_batch):
    separator = Shares()

    class Wrapper:
        def __call__(self, *args, **kwargs):
            return separator(*args, **kwargs)

        def __getattribute__(self, name):
            raise AttributeError(f"the objective asked its separator for {name!r}")

    objective = OneAndRest(NegSNR(30))
    assert objective(Wrapper(), make_batch(), 1).loss.isfinite().all()
    assert not list(objective.parameters()) and not objective.state_dict()


def test_what_cannot_be_trained_on_is_named(make_batch):
    objective, batch = OneAndRest(NegSNR(30)), make_batch(count=1)
    with pytest.raises(ValueError, match="OneAndRest: a mixture of 1 source cannot be split; set num_speakers to more"):
        objective(Shares(), batch, 1)
    blind = MixtureBatch(batch.ids, batch.mixture, None, None, batch.lengths)
    with pytest.raises(ValueError, match="OneAndRest is supervised and this data set has no reference sources"):
        objective(Shares(), blind, 1)
    with pytest.raises(ValueError, match="recursion: expected a probability of 0 to 1, received 2"):
        OneAndRest(NegSNR(30), recursion=2)
