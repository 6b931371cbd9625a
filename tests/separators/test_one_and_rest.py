"""Recursive separation with a separator that knows the sources, its stopping rule, and what holds for any other."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sb_ext.contracts import Separation, Separator
from sb_ext.filterbanks import LearnedFilterbank
from sb_ext.inference import SourceSeparation
from sb_ext.networks import TemporalConvNet
from sb_ext.separators import Masking, OneAndRest


class Knowing(Separator):
    """Splits the first of the known sources ``[N, T]`` that is in its input from the others, each at some level.

    Of a single source it gives this and, beside it, noise at ``noise`` dB below.
    """

    def __init__(self, sources, noise=-30.0, levels=(1.0, 1.0)):
        super().__init__()
        self.known, self.levels, self.noise = sources, levels, 10 ** (noise / 20)
        self.calls = []

    def forward(self, mixture, *, oracle=None, num_sources=None, layers=False):
        self.calls.append((len(mixture), num_sources))
        return Separation(torch.stack([self._split(item) for item in mixture]))

    def _split(self, item):
        if not item.any():
            return torch.zeros(2, len(item))
        shares = torch.linalg.lstsq(self.known.T, item).solution
        there = shares.abs() > 1e-2 * shares.abs().max()
        first = int(there.nonzero()[0])
        one = shares[first] * self.known[first]
        rest = shares[first + 1 :] @ self.known[first + 1 :]
        if there.sum() == 1:
            rest = self.noise * one.roll(1)
            one = one - rest
        return torch.stack([self.levels[0] * one, self.levels[1] * rest])


def known(count, samples=400, seed=0):
    """White sources of different levels, 8 dB apart at most."""
    noise = torch.randn(count, samples, generator=torch.Generator().manual_seed(seed))
    return noise * torch.linspace(1.0, 0.4, count).unsqueeze(1)


def small(num_outputs=2, seed=0):
    torch.manual_seed(seed)
    return Masking(LearnedFilterbank(8), TemporalConvNet(8, num_outputs, 4, 6, num_layers=2, num_stacks=1))


def test_each_item_is_counted():
    sources = known(4)
    mixtures = torch.stack([sources[:count].sum(0) for count in (4, 1, 3)] + [torch.zeros(400)])
    assert OneAndRest(Knowing(sources)).count(mixtures).tolist() == [4, 1, 3, 1]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("levels", [(1.0, 1.0), (0.1, 3.0)])
def test_recursion_gives_every_source(count, levels):
    """With the number given, and found; at whatever level each split comes."""
    sources = known(count)
    separator = OneAndRest(Knowing(sources, levels=levels))
    mixture = sources.sum(0, keepdim=True)
    counted, given = separator(mixture).sources, separator(mixture, num_sources=count).sources
    assert counted.shape == (1, count, 400)
    torch.testing.assert_close(counted, given)
    cosine = torch.nn.functional.cosine_similarity(counted[0], sources, dim=-1)
    torch.testing.assert_close(cosine, torch.ones(count), atol=1e-4, rtol=0)


def test_a_split_less_than_sources_and_two_outputs_as_they_are():
    sources = known(4)
    oracle = Knowing(sources)
    separator, mixture = OneAndRest(oracle), sources.sum(0, keepdim=True)
    for count in (1, 2, 4):
        oracle.calls.clear()
        separator(mixture, num_sources=count)
        assert oracle.calls == [(1, 2)] * (count - 1)
    model = small()
    assert OneAndRest(model)(mixture, num_sources=2).sources.equal(model(mixture).sources)


def test_items_of_a_batch_stop_on_their_own_and_go_on_in_silence():
    sources = known(4)
    counts = [3, 1, 4, 0, 2]
    mixture = torch.stack([sources[:count].sum(0) for count in counts])
    separator = OneAndRest(Knowing(sources))
    together = separator(mixture).sources
    assert together.shape == (5, 4, 400)
    for item, estimates, count in zip(mixture, together, counts, strict=True):
        alone = separator(item[None]).sources[0]
        assert len(alone) == max(count, 1)
        torch.testing.assert_close(estimates[: len(alone)], alone)
        assert estimates.any(-1).sum() == count and not estimates[count:].any()


@pytest.mark.parametrize(
    "threshold, noise, single", [(-15.0, -14.0, False), (-15.0, -16.0, True), (-30.0, -28.0, False)]
)
def test_the_threshold_is_the_energy_left_of_a_single_source(threshold, noise, single):
    """What is left once the better output is taken out, in dB; the noise is as good as orthogonal to the source."""
    oracle = Knowing(known(1, samples=20000), noise)
    assert (OneAndRest(oracle, threshold)(oracle.known).sources.shape[1] == 1) == single


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_sources_than_the_maximum(most):
    sources = known(4)
    oracle = Knowing(sources)
    mixture = sources.sum(0, keepdim=True)
    found = OneAndRest(oracle, max_sources=most)(mixture).sources
    assert found.shape[1] == most and len(oracle.calls) == most - 1
    torch.testing.assert_close(found.sum(1), mixture, atol=1e-4, rtol=0)
    assert OneAndRest(oracle, max_sources=most)(mixture, num_sources=4).sources.shape[1] == 4


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 4), samples=st.integers(1, 300), seed=st.integers(0, 99), silent=st.booleans())
def test_any_separator_gives_finite_sources_that_do_not_depend_on_the_batch(size, samples, seed, silent):
    separator = OneAndRest(small(seed=seed))
    mixture = torch.randn(size, samples, generator=torch.Generator().manual_seed(seed))
    mixture[0] *= not silent
    with torch.no_grad():
        together = separator(mixture).sources
        alone = [separator(item[None]).sources[0] for item in mixture]
    assert together.isfinite().all() and together.shape[1] == max(map(len, alone)) <= 5
    for one, two in zip(together, alone, strict=True):
        torch.testing.assert_close(one[: len(two)], two, atol=1e-4, rtol=1e-3)
        assert not one[len(two) :].any()


def test_permuting_the_batch_permutes_the_estimates():
    sources = known(3)
    mixture = torch.stack([sources.sum(0), sources[0], sources[:2].sum(0)])
    separator = OneAndRest(Knowing(sources))
    for order in itertools.permutations(range(3)):
        order = list(order)
        torch.testing.assert_close(separator(mixture[order]).sources, separator(mixture).sources[order])


def test_a_trained_one_separates_a_batch_for_users():
    model = SourceSeparation({"separator": OneAndRest(small())}, {"sample_rate": 8000}, {"device": "cpu"})
    assert model.separate_batch(torch.randn(3, 500)).shape[:2] == (3, 500)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"threshold": 0.0}, "threshold: expected dB below 0, received 0.0"),
        ({"max_sources": 0}, "max_sources: expected at least 1, received 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        OneAndRest(small(), **wrong)


def test_a_separator_of_three_outputs_and_no_source_at_all_are_refused():
    with pytest.raises(ValueError, match="num_sources: this model was built for 3 outputs, received 2"):
        OneAndRest(small(3))(torch.randn(1, 300))
    with pytest.raises(ValueError, match="num_sources: expected at least 1, received 0"):
        OneAndRest(small())(torch.randn(1, 300), num_sources=0)
