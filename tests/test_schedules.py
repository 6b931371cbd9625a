"""The learning rate schedule against a hand-made table and PyTorch's own, and after a restart."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speechbrain.utils.checkpoints import Checkpointer

from sb_ext.schedules import EpochSteps, HalvingOnPlateau


def follow(schedule, losses, rate=1.0, start=1):
    """The rates that each epoch leaves to the next."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=rate)
    rates = []
    for epoch, loss in enumerate(losses, start=start):
        old, new = schedule([optimizer], epoch, loss)
        assert old == optimizer.param_groups[0]["lr"]
        optimizer.param_groups[0]["lr"] = new
        rates.append(new)
    return rates


def test_the_papers_patience():
    """No improvement after the first epoch: halved every 10 epochs up to the 80th, every 5 afterwards."""
    rates = [1.0, *follow(HalvingOnPlateau(), [0.0] * 100)]
    halved = [epoch for epoch in range(1, 101) if rates[epoch] < rates[epoch - 1]]
    assert halved == [11, 21, 31, 41, 51, 61, 71, 81, 86, 91, 96] and rates[-1] == 0.5**11


@pytest.mark.parametrize(
    "losses, rates",
    [
        ([3, 2, 1], [1, 1, 1]),
        ([3, 3, 3, 3], [1, 1, 0.5, 0.5]),
        ([3, 4, 2, 4, 2, 4], [1, 1, 1, 1, 0.5, 0.5]),
        ([3, 4, 4, 4, 4, 4, 4], [1, 1, 0.5, 0.25, 0.125, 0.0625, 0.03125]),
        ([math.nan, math.nan, 3, math.nan], [1, 0.5, 0.5, 0.5]),
    ],
    ids=["improves", "stands", "last improvement counts", "sooner from epoch four on", "not a number"],
)
def test_by_hand(losses, rates):
    schedule = HalvingOnPlateau(patience=2, late_patience=1, change_epoch=3 if len(losses) == 7 else 80)
    assert follow(schedule, losses) == rates


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_one_patience_alone_is_pytorchs(patience, losses):
    """PyTorch counts the epochs that it tolerates, one less."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience - 1, threshold=0, threshold_mode="abs"
    )
    expected = []
    for loss in losses:
        reference.step(loss)
        expected.append(max(optimizer.param_groups[0]["lr"], 1e-30))
    # PyTorch leaves off below steps of 1e-8.
    ours = follow(HalvingOnPlateau(patience), losses)
    assert [rate for rate in ours if rate > 1e-6] == [rate for rate in expected if rate > 1e-6]


@pytest.mark.parametrize("stop", [1, 3, 4, 7])
def test_a_restart_changes_nothing(stop, tmp_path):
    losses = [3.0, 4.0, 4.0, 2.5, 3.0, 3.0, 3.0, 3.0, 1.0, 5.0]
    make = lambda: HalvingOnPlateau(patience=3, late_patience=2, change_epoch=5)  # noqa: E731
    whole, first, second = make(), make(), make()
    before = follow(first, losses[:stop])
    Checkpointer(tmp_path, {"scheduler": first}).save_checkpoint()
    Checkpointer(tmp_path, {"scheduler": second}).recover_if_possible()
    after = follow(second, losses[stop:], rate=before[-1], start=stop + 1)
    assert before + after == follow(whole, losses)


def test_the_steps_of_k_means_danet():
    """1e-3, divided by 3, 10, 30 and 100 after 150, 225, 300 and 325 epochs."""
    schedule, expected = EpochSteps(1e-3, {150: 3, 225: 10, 300: 30, 325: 100}), []
    for epoch in range(1, 351):
        divisor = 100 if epoch > 325 else 30 if epoch > 300 else 10 if epoch > 225 else 3 if epoch > 150 else 1
        expected.append(1e-3 / divisor)
    rates = [schedule([], epoch, 0.0) for epoch in range(1, 351)]
    assert [now for now, _ in rates] == pytest.approx(expected)
    assert [following for _, following in rates[:-1]] == pytest.approx(expected[1:])
