"""How much of the other voices is left in an estimate."""

import csv

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sb_ext.contracts import MixtureBatch
from sb_ext.evaluation.leakage import Leakage, leakage


def draw(count=2, samples=400, seed=0):
    return torch.randn(count, samples, generator=torch.Generator().manual_seed(seed)) + 0.1


def least_squares(estimates, sources):
    """The definition, by NumPy's solver."""
    estimates, sources = (x.double().numpy() - x.double().numpy().mean(-1, keepdims=True) for x in (estimates, sources))
    found = []
    for place, estimate in enumerate(estimates):
        amounts = np.linalg.lstsq(sources.T, estimate, rcond=None)[0]
        own = amounts[place] * sources[place]
        left = amounts @ sources - own
        found.append(10 * np.log10((left**2).sum() / (own**2).sum()))
    return torch.tensor(found)


@given(st.integers(0, 100), st.integers(2, 4), st.floats(1e-3, 1e3))
@settings(max_examples=20, deadline=None)
def test_equals_least_squares_at_any_scale(seed, count, scale):
    sources, noise = draw(count, seed=seed), draw(count, seed=seed + 1)
    estimates = sources + 0.3 * sources.roll(1, 0) + noise
    torch.testing.assert_close(
        leakage(scale * estimates, sources), least_squares(estimates, sources), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("decibels", [-40, -10, 0, 10])
def test_what_is_added_is_found(decibels):
    """Also where the voices have something in common, and whatever noise stands beside them."""
    sources = draw()
    sources[1] += 0.5 * sources[0]
    sources -= sources.mean(-1, keepdim=True)
    amount = 10 ** (decibels / 20) * sources[0].norm() / sources[1].norm()
    noise = draw(1, seed=5)[0]
    noise = noise - noise.mean()
    noise = noise - torch.linalg.lstsq(sources.T, noise[:, None]).solution[:, 0] @ sources
    found = leakage(torch.stack([sources[0] + amount * sources[1] + noise, sources[1]]), sources)
    assert found[0] == pytest.approx(decibels, abs=1e-3) and found[1] == -100


def test_extremes_are_finite_or_missing():
    sources = draw()
    assert leakage(sources.flip(0), sources).tolist() == [100, 100]
    assert leakage(0 * sources, sources).isfinite().all()
    for broken in (torch.stack([sources[0], 0 * sources[0]]), sources[[0, 0]]):
        assert leakage(sources, broken).isnan().all()


@pytest.mark.parametrize("seed", range(20))
def test_sources_that_make_up_another_leave_nothing_to_measure(seed):
    """In single precision, as they are; rounding hides what they have in common."""
    sources = draw(count=3, seed=seed).float()
    sources[2] = 0.3 * sources[0] - 1.7 * sources[1] if seed % 2 else 0.3 * sources[1]
    assert leakage(sources, sources).isnan().all()


def test_hook_means_and_writes_a_row_a_mixture(tmp_path):
    """Padding is not counted, a mixture with a silent source is left out of the means."""
    sources = torch.stack([draw(seed=seed) for seed in range(3)])
    sources[2, 1] = 0
    estimates = sources + 0.1 * sources.roll(1, 1)
    lengths = torch.tensor([400, 300, 400])
    padded = estimates.clone()
    padded[1, :, 300:] = 7.0
    hook = Leakage(str(tmp_path))
    hook.start("TEST")
    hook.update(MixtureBatch(list("abc"), sources.sum(1), sources, None, lengths), padded, padded)
    figures = hook.finish(None, "TEST")
    expected = [
        leakage(estimates[row, :, :end], sources[row, :, :end]).mean().item() for row, end in ((0, 400), (1, 300))
    ]
    assert figures["leakage"] == pytest.approx(np.mean(expected))
    assert figures["leakage_sem"] == pytest.approx(np.std(expected, ddof=1) / np.sqrt(2))
    assert 19 < figures["leakage_reduction"] < 21
    with open(tmp_path / "test_leakage.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == list("abc") and float(rows[1]["leakage"]) == pytest.approx(expected[1])


def test_hook_without_references(tmp_path):
    hook = Leakage(str(tmp_path))
    hook.start("TEST")
    hook.update(MixtureBatch(["a"], torch.randn(1, 80), None, None, torch.tensor([80])), torch.randn(1, 2, 80), None)
    assert hook.finish(None, "TEST") == {} and not list(tmp_path.iterdir())
