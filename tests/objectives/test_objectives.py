"""Training methods: against plain reimplementations, and what each of them may and may not look at."""

import itertools

import pytest
import torch
from torch import nn

from sb_ext.contracts import MixtureBatch, Separation, Separator
from sb_ext.losses import NegSISDR, NegSNR
from sb_ext.mixing import DisjointGroups, SameIndexPairing
from sb_ext.objectives import PIT, MixCycle, MixIT, MixPIT, PITDynamicMixing
from sb_ext.objectives.switch import AfterEpochs

LOSS = NegSNR(30)


def cycle(**more):
    """MixCycle past its warm-up."""
    return MixCycle(MixPIT(LOSS), LOSS, **{"switch": AfterEpochs(0), **more})


UNSUPERVISED = {
    "mixit": (MixIT(LOSS), 4),
    "mixpit": (MixPIT(LOSS), 2),
    "mixpit_disjoint": (MixPIT(LOSS, grouping=DisjointGroups()), 2),
    "mixcycle_warmup": (MixCycle(MixPIT(LOSS), LOSS), 2),
    "mixcycle": (cycle(), 2),
    "mixcycle_same_index": (cycle(pairing=SameIndexPairing(), target_floor=-40.0), 2),
}
SUPERVISED = {"pit": (PIT(LOSS), 2), "pit_dm": (PITDynamicMixing(LOSS), 2)}
ALL = {**UNSUPERVISED, **SUPERVISED}


class Spy(Separator):
    """Splits the mixture by learned shares of it and remembers what it was given, and whether with gradient."""

    def __init__(self, num_outputs=2):
        super().__init__()
        self.shares = nn.Parameter(torch.linspace(0.2, 1.0, num_outputs))
        self.mixtures, self.with_grad = [], []

    def forward(self, mixture, *, oracle=None, num_sources=None, layers=False):
        self.mixtures.append(mixture.detach().clone())
        self.with_grad.append(torch.is_grad_enabled())
        return Separation(self.shares[:, None] * mixture[:, None])


def only_call(separator):
    """As DDP does and worse: every attribute raises, the call works."""

    class Wrapper:
        def __call__(self, *args, **kwargs):
            return separator(*args, **kwargs)

        def __getattribute__(self, name):
            raise AttributeError(f"the objective asked its separator for {name!r}")

    return Wrapper()


def step(objective, separator, batch, epoch=1, seed=7):
    """Loss and gradients of one step with a fixed random state."""
    separator.zero_grad()
    torch.manual_seed(seed)
    report = objective(separator, batch, epoch)
    report.loss.sum().backward()
    return report.loss.detach(), [parameter.grad.clone() for parameter in separator.parameters()]


def snr_loss(estimate, target):
    """The thresholded SNR of Wisdom et al. 2020, 30 dB, in one line."""
    noise = (target - estimate).pow(2).sum(-1) + 1e-3 * target.pow(2).sum(-1)
    return -10 * torch.log10(target.pow(2).sum(-1) / noise)


def pit_by_search(estimates, targets):
    ways = itertools.permutations(range(estimates.shape[1]), targets.shape[1])
    return torch.stack([snr_loss(estimates[:, list(way)], targets).mean(1) for way in ways]).min(0).values


@pytest.mark.parametrize("name", UNSUPERVISED)
@pytest.mark.parametrize("blank", ["nan", "none"])
def test_unsupervised_objectives_never_read_the_sources(name, blank, tiny_separator, make_batch):
    objective, num_outputs = UNSUPERVISED[name]
    separator, batch = tiny_separator(num_outputs), make_batch()
    loss, gradients = step(objective, separator, batch)
    batch.sources = None if blank == "none" else torch.full_like(batch.sources, float("nan"))
    blind_loss, blind_gradients = step(objective, separator, batch)
    assert loss.isfinite().all() and blind_loss.equal(loss)
    assert all(one.equal(two) for one, two in zip(gradients, blind_gradients, strict=True))
    assert any(one.ne(0).any() for one in gradients)


@pytest.mark.parametrize("name", SUPERVISED)
def test_supervised_objectives_ask_for_sources(name, tiny_separator, make_batch):
    batch = make_batch()
    batch.sources = None
    with pytest.raises(ValueError, match=r"supervised and this data set has no reference sources.*'item0'.*mixcycle"):
        SUPERVISED[name][0](tiny_separator(), batch, 1)


@pytest.mark.parametrize("name", ALL)
def test_objectives_only_call_their_separator(name, tiny_separator, make_batch):
    objective, num_outputs = ALL[name]
    separator, batch = tiny_separator(num_outputs), make_batch()
    expected, _ = step(objective, separator, batch)
    torch.manual_seed(7)
    report = objective(only_call(separator), batch, 1)
    assert report.loss.equal(expected)
    assert report.loss.shape == report.keep.shape and report.keep.dtype == torch.bool


@pytest.mark.parametrize("name", ALL)
def test_objectives_do_not_hold_the_separators_parameters(name, tiny_separator, make_batch):
    objective, num_outputs = ALL[name]
    objective(tiny_separator(num_outputs), make_batch(), 1)
    assert not list(objective.parameters())


@pytest.mark.parametrize("count", [2, 3, 4])
def test_pit_of_exact_estimates_is_the_ceiling(count, make_batch):
    batch = make_batch(count=count)
    report = PIT(LOSS)(lambda mixture: Separation(batch.sources.roll(1, 1)), batch, 1)
    torch.testing.assert_close(report.loss, torch.full((4,), -30.0))
    assert report.keep.all()


@pytest.mark.parametrize("num_outputs, count", [(2, 2), (3, 2), (3, 3)])
def test_pit_equals_exhaustive_search(num_outputs, count, tiny_separator, make_batch):
    separator, batch = tiny_separator(num_outputs), make_batch(count=count)
    loss, _ = step(PIT(LOSS), separator, batch)
    expected = pit_by_search(separator(batch.mixture).sources, batch.sources)
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("count", [2, 3])
def test_dynamic_mixing_sums_the_sources_of_the_batch_and_uses_each_once(count):
    # Powers of two: a sum tells which sources are in it.
    sources = (2.0 ** torch.arange(4 * count)).reshape(4, count, 1).expand(-1, -1, 8)
    batch = MixtureBatch(list("abcd"), sources.sum(1), sources, None, torch.full((4,), 8))
    seen = set()
    for seed in range(20):
        spy = Spy(count)
        torch.manual_seed(seed)
        PITDynamicMixing(LOSS)(spy, batch, 1)
        parts = [int(total) for total in spy.mixtures[0][:, 0]]
        assert sum(parts) == 2 ** (4 * count) - 1 and all(part.bit_count() == count for part in parts)
        seen.update(parts)
    assert len(seen) > 12  # new mixtures, not those of the data set


def test_dynamic_mixing_measures_against_the_sources_that_it_mixed(make_batch):
    batch = make_batch()

    def knows_everything(mixture):
        pairs = list(itertools.combinations(batch.sources.flatten(0, 1), 2))
        rows = [min(pairs, key=lambda pair: (sum(pair) - row).norm()) for row in mixture]
        return Separation(torch.stack([torch.stack(row) for row in rows]))

    report = PITDynamicMixing(LOSS)(knows_everything, batch, 1)
    torch.testing.assert_close(report.loss, torch.full((4,), -30.0), atol=1e-3, rtol=0)


@pytest.mark.parametrize("count", [2, 3])
def test_mixpit_equals_a_plain_reimplementation(count, tiny_separator, make_batch):
    separator, batch = tiny_separator(count), make_batch(size=5)
    loss, gradients = step(MixPIT(LOSS, num_mixtures=count), separator, batch, seed=3)
    torch.manual_seed(3)
    circle = torch.randperm(5).tolist()
    rows = []
    for place in range(5):
        mixtures = torch.stack([batch.mixture[circle[(place + other) % 5]] for other in range(count)])
        rows.append(pit_by_search(separator(mixtures.sum(0)[None]).sources, mixtures[None])[0])
    separator.zero_grad()
    expected = torch.stack(rows)
    torch.testing.assert_close(loss, expected.detach(), atol=1e-4, rtol=1e-4)
    expected.sum().backward()
    for parameter, gradient in zip(separator.parameters(), gradients, strict=True):
        torch.testing.assert_close(gradient, parameter.grad, atol=1e-3, rtol=1e-3)


def test_mixpit_takes_exact_mixtures_for_its_outputs(make_batch):
    batch = make_batch(size=3)

    def unmix(mixture):
        pairs = list(itertools.permutations(batch.mixture, 2))
        return Separation(
            torch.stack([torch.stack(min(pairs, key=lambda p: (sum(p) - row).norm())) for row in mixture])
        )

    torch.testing.assert_close(MixPIT(LOSS)(unmix, batch, 1).loss, torch.full((3,), -30.0), atol=1e-3, rtol=0)


@pytest.mark.parametrize("num_outputs", [2, 4, 6])
def test_mixit_equals_a_plain_reimplementation(num_outputs, tiny_separator, make_batch):
    separator, batch = tiny_separator(num_outputs), make_batch(size=3)
    loss, _ = step(MixIT(LOSS), separator, batch, seed=3)
    torch.manual_seed(3)
    circle = torch.randperm(3)
    mixtures = torch.stack([batch.mixture[circle], batch.mixture[circle.roll(-1)]], 1)
    estimates = separator(mixtures.sum(1)).sources
    ways = torch.tensor(list(itertools.product([0.0, 1.0], repeat=num_outputs)))
    tried = [snr_loss(torch.stack([way, 1 - way]) @ estimates, mixtures).mean(1) for way in ways]
    torch.testing.assert_close(loss, torch.stack(tried).min(0).values.detach(), atol=1e-4, rtol=1e-4)


def test_mixcycle_equals_a_plain_reimplementation_with_gradient_through_the_student_only(tiny_separator, make_batch):
    separator, batch = tiny_separator(), make_batch(size=5)
    loss, gradients = step(cycle(), separator, batch, seed=3)
    targets = separator(batch.mixture).sources.detach()
    torch.manual_seed(3)
    circle, orders = torch.randperm(5), torch.stack([torch.randperm(2) for _ in range(5)])
    first, second = circle, circle.roll(-1)
    parts = torch.stack([targets[first, orders[first, 0]], targets[second, orders[second, 1]]], 1)
    separator.zero_grad()
    expected = pit_by_search(separator(parts.sum(1)).sources, parts)
    torch.testing.assert_close(loss, expected.detach(), atol=1e-4, rtol=1e-4)
    expected.sum().backward()
    for parameter, gradient in zip(separator.parameters(), gradients, strict=True):
        torch.testing.assert_close(gradient, parameter.grad, atol=1e-3, rtol=1e-3)


def test_the_teacher_separates_without_gradient_and_the_student_its_remixtures(make_batch):
    spy, batch = Spy(), make_batch()
    cycle()(spy, batch, 1).loss.sum().backward()
    assert spy.with_grad == [False, True]
    assert spy.mixtures[0].equal(batch.mixture)
    total = spy.shares.detach().sum() * batch.mixture.sum(0)  # remixing deals each estimate once
    torch.testing.assert_close(spy.mixtures[1].sum(0), total, atol=1e-4, rtol=1e-4)


def test_mixcycle_is_mixpit_until_the_switch(tiny_separator, make_batch):
    separator, batch = tiny_separator(), make_batch()
    objective = MixCycle(MixPIT(LOSS), LOSS, switch=AfterEpochs(2))
    warm, _ = step(MixPIT(LOSS), separator, batch)
    phases = {}
    for epoch in (1, 2, 3, 4):
        torch.manual_seed(7)
        report = objective(separator, batch, epoch)
        phases[epoch] = (report.log["cycle"], report.loss.detach().equal(warm))
    assert phases == {1: (0.0, True), 2: (0.0, True), 3: (1.0, False), 4: (1.0, False)}


def test_the_switch_hears_the_validation():
    class Listener(AfterEpochs):
        heard = None

        def on_validation(self, stats, epoch):
            self.heard = (stats, epoch)

    switch = Listener(1)
    cycle(switch=switch).on_validation({"si_snri": 2.0}, 5)
    assert switch.heard == ({"si_snri": 2.0}, 5)


@pytest.mark.parametrize("floor, kept", [(None, [True] * 5), (-40.0, [True, True, False, False, False]),
                                         (-15.0, [True, False, False, False, False])])  # fmt: skip
def test_target_floor_leaves_out_the_rows_with_a_part_below_it(floor, kept):
    torch.manual_seed(0)
    parts = torch.randn(5, 2, 4000)
    parts[1, 0] *= 10 ** (-20 / 20)
    parts[2, 1] *= 10 ** (-50 / 20)
    parts[3, 0] = 0
    parts[4] = 0
    objective = cycle(pairing=lambda estimates: parts, target_floor=floor)
    report = objective(Spy(), MixtureBatch(list("abcde"), parts.sum(1), None, None, torch.full((5,), 4000)), 1)
    assert report.keep.tolist() == kept
    assert report.loss.isfinite().all()


def test_three_speakers(tiny_separator, make_batch):
    separator, batch = tiny_separator(3), make_batch(size=5, count=3)
    for objective in (PIT(LOSS), PITDynamicMixing(LOSS), MixPIT(LOSS, num_mixtures=3), cycle()):
        loss, gradients = step(objective, separator, batch)
        assert loss.shape == (5,) and loss.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("objective", [PIT(LOSS), PITDynamicMixing(LOSS), MixIT(LOSS), cycle(), PIT(NegSISDR())])
def test_the_next_batch_may_have_another_number_of_sources(objective, tiny_separator, make_batch):
    for count, size in ((2, 4), (3, 6), (2, 3)):
        loss, _ = step(objective, tiny_separator(count), make_batch(size=size, count=count))
        assert loss.shape == (size,) and loss.isfinite().all()


@pytest.mark.parametrize("name", UNSUPERVISED)
def test_a_batch_too_small_to_mix_is_named(name, tiny_separator, make_batch):
    objective, num_outputs = UNSUPERVISED[name]
    with pytest.raises(ValueError, match="batch: 1 mixtures leave no 2 different ones"):
        objective(tiny_separator(num_outputs), make_batch(size=1), 1)
