"""Batches: what breaks the contract is named, and what moves moves whole."""

import pytest
import torch

from sb_ext.contracts import LossReport, MixtureBatch, check_batch


def batch(**changes):
    fields = dict(
        ids=["a", "b"], mixture=torch.zeros(2, 8), sources=torch.zeros(2, 3, 8),
        speakers=torch.zeros(2, 3, dtype=torch.int64), lengths=torch.tensor([8, 5]),
    )  # fmt: skip
    return MixtureBatch(**{**fields, **changes})


def test_a_sound_batch_passes():
    check_batch(batch())
    check_batch(batch(sources=None, speakers=None))


@pytest.mark.parametrize(
    "field, value, received",
    [("mixture", torch.zeros(2, 1, 8), r"\[2, 1, 8\]"), ("mixture", torch.zeros(3, 8), r"\[3, 8\]"),
     ("sources", torch.zeros(2, 3, 7), r"\[2, 3, 7\]"), ("sources", torch.zeros(2, 8), r"\[2, 8\]"),
     ("speakers", torch.zeros(2, 2), r"\[2, 2\]"), ("lengths", torch.tensor([9, 5]), r"\[9, 5\]"),
     ("lengths", torch.tensor([8]), r"\[8\]")],
)  # fmt: skip
def test_the_field_that_breaks_the_contract_is_named(field, value, received):
    with pytest.raises(ValueError, match=rf"MixtureBatch\.{field}: .*received {received}"):
        check_batch(batch(**{field: value}))


def test_a_batch_moves_whole():
    moved = batch(speakers=None).to("meta")
    assert {moved.mixture.device.type, moved.sources.device.type, moved.lengths.device.type} == {"meta"}
    assert moved.speakers is None and moved.ids == ["a", "b"]


def test_a_report_of_all_keeps_every_row():
    report = LossReport.of_all(torch.tensor([1.0, 2.0]), cycle=1.0)
    assert report.keep.tolist() == [True, True] and report.log == {"cycle": 1.0}
