"""Chunks put together again: against oracle separators that know the sources and shuffle their outputs."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sb_ext.chunking import align, in_chunks

RATE = 100


class Oracle:
    """Gives the true sources of each chunk, with an error, in an order of its own for every chunk."""

    def __init__(self, sources, error=0.0, seed=0):
        self.sources, self.error, self.longest, self.start = sources, error, 0, 0
        self.generator = torch.Generator().manual_seed(seed)
        self.orders = []

    def read(self, start, stop):
        assert 0 <= start < stop <= self.sources.shape[-1]
        self.start = start
        return self.sources[:, start:stop].sum(0, keepdim=True)

    def __call__(self, mixture):
        samples = mixture.shape[-1]
        self.longest = max(self.longest, samples)
        truth = self.sources[:, self.start : self.start + samples]
        # What one source loses goes to the next, so that the estimates still add up to the mixture.
        error = self.error * torch.randn(truth.shape, generator=self.generator)
        order = torch.randperm(len(truth), generator=self.generator)
        self.orders.append(order.tolist())
        return (truth + error - error.roll(1, 0))[order].unsqueeze(0)


def joined(oracle, chunk, overlap):
    length = oracle.sources.shape[-1]
    return torch.cat(list(in_chunks(oracle, oracle.read, length, chunk, overlap)), -1)[0]


def noise(count, samples, seed=0):
    return torch.randn(count, samples, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(1, 3000), st.integers(2, 400), st.data())
def test_any_number_of_shuffled_sources_comes_back_in_one_order(count, samples, chunk, data):
    overlap = data.draw(st.integers(1, chunk // 2))
    sources = noise(count, samples)
    oracle = Oracle(sources)
    result = joined(oracle, chunk, overlap)
    assert result.shape == sources.shape
    assert oracle.longest <= chunk
    assert torch.allclose(result.sum(0), sources.sum(0), atol=1e-5)
    if overlap >= 20:
        first = torch.tensor(oracle.orders[0])
        assert torch.allclose(result, sources[first], atol=1e-5)


def test_a_mixture_no_longer_than_a_chunk_takes_one_pass():
    oracle = Oracle(noise(2, 300), error=0.5)
    result = joined(oracle, 300, 50)
    again = Oracle(noise(2, 300), error=0.5)
    again.read(0, 300)
    assert torch.equal(result, again(oracle.read(0, 300))[0])
    assert len(oracle.orders) == 1


def talk(pattern, seed=0):
    """Sources ``[C, T]`` that are heard where the pattern, one letter a second, says: a, b, c, all (x) or none (.)."""
    names = "abc" if "c" in pattern else "ab"
    heard = torch.tensor([[letter in (name, "x") for letter in pattern] for name in names])
    return heard.repeat_interleave(RATE, 1) * noise(len(names), len(pattern) * RATE, seed)


def test_an_hour_goes_by_in_chunks():
    longest, position = 0, 0

    def read(start, stop):
        return (torch.arange(start, stop) % 1009 / 1009).unsqueeze(0)

    def separate(mixture):
        nonlocal longest
        longest = max(longest, mixture.shape[-1])
        return torch.stack([0.75 * mixture, 0.25 * mixture], 1)

    for block in in_chunks(separate, read, 3600 * 8000, 30 * 8000, 5 * 8000):
        assert torch.allclose(block.sum(1), read(position, position + block.shape[-1]), atol=1e-5)
        position += block.shape[-1]
    assert position == 3600 * 8000
    assert longest == 30 * 8000


def test_one_chunk_fades_into_the_next():
    levels = itertools.cycle([0.0, 1.0])

    def separate(mixture):
        return torch.full((1, 1, mixture.shape[-1]), next(levels))

    result = torch.cat(list(in_chunks(separate, lambda start, stop: torch.zeros(1, stop - start), 1000, 100, 40)), -1)
    assert result[0, 0].diff().abs().max() <= 1.01 / 40
    assert result.min() == 0
    assert result.max() == 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "pattern",
    [
        "xxxxxxxxxxxxxx",
        "xxxxxxxx...xxxxxxxxxx",  # a pause as long as the overlap, where two chunks would meet
        "xxxxxxaaaaxxxxaaaxxxxx",  # one speaker alone there
        "xxxxxxaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbxxxxx",  # long turns
        "xxxxxx..xxxxxxx..xxxxxxx..x..x..x..x..",
        "ababababababababababab",
        "xxxxxxxxaaxxxxxxxxxaaxxxxxxxxxcccccccxxxxx",  # two of three silent
        ".......x.......x.....x....x....x....x....x....x",  # seldom heard
    ],
)
def test_speakers_keep_their_track_through_pauses_and_turns(pattern, seed):
    sources = talk(pattern, seed)
    oracle = Oracle(sources, error=0.01, seed=seed)
    result = joined(oracle, 10 * RATE, 2 * RATE)
    expected = sources[torch.tensor(oracle.orders[0])]
    assert (result - expected).square().mean() < 1e-3
    assert torch.allclose(result.sum(0), sources.sum(0), atol=1e-5)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_where_nothing_is_heard_the_separators_own_order_stays(order):
    order = torch.tensor([order])
    silence = torch.zeros(1, 3, 400)
    assert align(silence, silence, 100, order).tolist() == order.tolist()
    hiss = 1e-4 * noise(3, 400, 1).unsqueeze(0)
    held = noise(3, 400).unsqueeze(0)
    held[..., -100:] = 1e-4 * noise(3, 100, 2)
    assert align(hiss, held, 100, order).tolist() == order.tolist()


@pytest.mark.parametrize("overlap", [0, -1, 51])
def test_an_overlap_that_cannot_be_is_refused(overlap):
    with pytest.raises(ValueError, match=f"overlap: expected 1 to 50 samples, half a chunk, received {overlap}"):
        next(in_chunks(None, None, 1000, 100, overlap))
