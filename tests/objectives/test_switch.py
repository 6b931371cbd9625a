"""When MixCycle's warm-up ends."""

import pytest

from sb_ext.losses import NegSNR
from sb_ext.objectives import MixCycle, MixPIT
from sb_ext.objectives.switch import AfterEpochs, WhenSound

FIGURE = "guarded_self_evaluation"


def test_the_papers_switch_counts_epochs_alone():
    switch = AfterEpochs(50)
    switch.on_validation({}, 50)
    assert [switch.is_over(epoch) for epoch in (1, 50, 51)] == [False, False, True]


@pytest.mark.parametrize(
    ("figures", "over"),
    [([1.9, 1.9], [False, False]), ([2.0, 1.0], [True, True]), ([2.5, 0.9, 1.9, 2.0], [True, False, False, True])],
)
def test_the_cycle_begins_at_one_level_and_ends_below_another(figures, over):
    switch, seen = WhenSound(level=2.0, fallback=1.0), []
    for epoch, figure in enumerate(figures, start=1):
        switch.on_validation({FIGURE: figure}, epoch)
        seen.append(switch.is_over(epoch + 1))
    assert seen == over


def test_the_switch_is_saved_with_the_objective(tiny_separator, make_batch):
    def cycle():
        return MixCycle(MixPIT(NegSNR(30)), NegSNR(30), switch=WhenSound(level=2.0, fallback=1.0))

    one, other = cycle(), cycle()
    one.on_validation({FIGURE: 3.0}, 1)
    other.load_state_dict(one.state_dict())
    assert other(tiny_separator(2), make_batch(), 2).log["cycle"] == 1.0


def test_a_missing_figure_and_a_wrong_order_of_levels_are_named():
    with pytest.raises(KeyError, match="self_evaluation_while_training"):
        WhenSound().on_validation({"si_snri": 3.0}, 1)
    with pytest.raises(ValueError, match="fallback: expected at most level"):
        WhenSound(level=1.0, fallback=2.0)


def test_a_switch_by_figure_is_saved_with_the_objective_and_falls_back():
    first, second = (MixCycle(MixPIT(NegSNR(30)), NegSNR(30), switch=WhenSound(2.0, 1.0, "si_snri")) for _ in range(2))
    first.on_validation({"si_snri": 2.5}, 1)
    second.load_state_dict(first.state_dict())
    assert first.switch.is_over(2) and second.switch.is_over(2)
    second.on_validation({"si_snri": 1.5}, 2)  # between the levels: stays
    assert second.switch.is_over(3)
    second.on_validation({"si_snri": float("nan")}, 3)  # nothing could be measured: not sound
    assert not second.switch.is_over(4)
    with pytest.raises(KeyError, match="no 'si_snri'"):
        second.on_validation({"loss": 1.0}, 4)
