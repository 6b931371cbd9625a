"""The metric table against torchmetrics, fast_bss_eval and plain formulas, and what must not change it."""

import csv
import json
import math

import fast_bss_eval
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import toeplitz
from torchmetrics.functional.audio import (
    perceptual_evaluation_speech_quality,
    scale_invariant_signal_distortion_ratio,
    short_time_objective_intelligibility,
)

from sb_ext.evaluation import measures
from sb_ext.evaluation.metrics import MetricTable

RATE = 8000


def speechlike(batch=1, count=2, samples=2 * RATE, seed=0):
    """Noise [B, C, T] through slow bursts and a few resonances: enough like speech for PESQ and STOI to accept it."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / RATE
    bursts = 0.05 + np.maximum(0, np.sin(2 * np.pi * (3 * time + rng.random((batch, count, 1)))))
    tones = sum(
        np.sin(2 * np.pi * f * (time + rng.random((batch, count, 1)))) / k for k, f in enumerate((200, 700, 1800), 1)
    )
    return torch.from_numpy(0.1 * bursts * (tones + 0.3 * rng.standard_normal((batch, count, samples))))


def separated(sources, leak=0.2, seed=1):
    """Estimates with some of the other source and some noise left in."""
    noise = 0.01 * torch.randn(sources.shape, generator=torch.Generator().manual_seed(seed), dtype=sources.dtype)
    return sources + leak * sources.roll(1, 1) + noise


def table_of(sources, estimates, lengths=None, ids=None, **settings):
    table = MetricTable(**settings)
    size, _, samples = sources.shape
    ids = ids or [f"item{number}" for number in range(size)]
    lengths = torch.full((size,), samples) if lengths is None else torch.as_tensor(lengths)
    table.update(ids, sources.sum(1), estimates, sources, lengths)
    return table


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_si_snr_is_torchmetrics_si_sdr():
    sources = speechlike(batch=3) + 0.2
    estimates = separated(sources) - 0.1
    expected = scale_invariant_signal_distortion_ratio(estimates, sources, zero_mean=True)
    np.testing.assert_allclose(measures.si_snr(estimates.numpy(), sources.numpy()), expected, atol=1e-9)


def test_si_snr_by_projection_one_signal_at_a_time():
    sources = speechlike()[0].numpy()
    estimates = separated(speechlike())[0].numpy()
    for estimate, source in zip(estimates, sources, strict=True):
        source, estimate = source - source.mean(), estimate - estimate.mean()
        along = (estimate @ source) / np.linalg.norm(source)
        expected = 10 * math.log10(along**2 / (estimate @ estimate - along**2))
        assert measures.si_snr(estimate, source) == pytest.approx(expected, abs=1e-8)


def test_sdr_is_that_of_bss_eval_sources():
    sources = speechlike(batch=2)
    estimates = separated(sources)
    expected, _, _ = fast_bss_eval.bss_eval_sources(sources, estimates, compute_permutation=False)
    rows = table_of(sources, estimates, metrics=["sdr"]).rows
    np.testing.assert_allclose([row["sdr"] for row in rows], expected.mean(1), atol=1e-6)


def test_sdr_is_what_the_best_512_taps_of_the_source_leave():
    sources = speechlike(samples=1500)[0].numpy()
    estimates = separated(torch.from_numpy(sources)[None])[0].numpy()
    for estimate, source, found in zip(estimates, sources, measures.sdr(estimates, sources), strict=True):
        delayed = toeplitz(np.pad(source, (0, 511)), np.zeros(512))
        heard = np.pad(estimate, (0, 511))
        fitted = delayed @ np.linalg.lstsq(delayed, heard, rcond=None)[0]
        assert found == pytest.approx(10 * math.log10((fitted @ fitted) / ((heard - fitted) ** 2).sum()), abs=1e-6)


def test_stoi_and_pesq_are_torchmetrics():
    sources, estimates = speechlike(), separated(speechlike())
    (row,) = table_of(sources, estimates, metrics=["stoi", "pesq"]).rows
    mixture = sources.sum(1, keepdim=True).expand_as(sources)
    for name, oracle in (
        ("stoi", lambda x: short_time_objective_intelligibility(x, sources, RATE)),
        ("pesq", lambda x: perceptual_evaluation_speech_quality(x, sources, RATE, "nb")),
    ):
        after, before = float(oracle(estimates).mean()), float(oracle(mixture).mean())
        assert row[name] == pytest.approx(after, abs=1e-5)
        assert row[f"{name}i"] == pytest.approx(after - before, abs=1e-5)


def test_pesq_is_wide_band_at_16_khz():
    sources, estimates = speechlike(), separated(speechlike())
    (row,) = table_of(sources, estimates, metrics=["pesq"], sample_rate=16000).rows
    assert row["pesq"] == pytest.approx(
        float(perceptual_evaluation_speech_quality(estimates, sources, 16000, "wb").mean()), abs=1e-5
    )


def test_improvement_counts_from_the_mixture_for_each_source():
    sources, estimates = speechlike(count=3), separated(speechlike(count=3))
    (row,) = table_of(sources, estimates, metrics=["si_snr"]).rows
    mixture = sources.sum(1, keepdim=True).expand_as(sources)
    gains = measures.si_snr(estimates.numpy(), sources.numpy()) - measures.si_snr(mixture.numpy(), sources.numpy())
    assert [row[f"si_snri_{number}"] for number in (1, 2, 3)] == pytest.approx(gains[0].tolist())
    assert row["si_snri"] == pytest.approx(gains.mean())


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(1e-4, 1e4), offset=st.floats(-1, 1), seed=st.integers(0, 99))
def test_scaling_or_shifting_an_estimate_does_not_change_si_snr(scale, offset, seed):
    sources = speechlike(samples=400, seed=seed)
    estimates = separated(sources, seed=seed)
    changed = measures.si_snr((scale * (estimates + offset)).numpy(), sources.numpy())
    np.testing.assert_allclose(changed, measures.si_snr(estimates.numpy(), sources.numpy()), atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(length=st.integers(4000, 7000), padding=st.integers(0, 500), filler=st.sampled_from([0.0, 1.0, math.nan]))
def test_padding_does_not_change_anything(length, padding, filler):
    sources = speechlike(samples=length)
    estimates = separated(sources)
    (whole,) = table_of(sources, estimates, ids=["a"]).rows
    padded = [torch.nn.functional.pad(signal, (0, padding), value=filler) for signal in (sources, estimates)]
    (cut,) = table_of(*padded, lengths=[length], ids=["a"]).rows
    assert cut == whole


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(4)))
def test_permuting_the_batch_permutes_the_rows(order):
    sources = speechlike(batch=4, samples=1600)
    estimates, lengths = separated(sources), torch.tensor([1600, 1200, 1500, 900])
    rows = table_of(sources, estimates, lengths, metrics=["si_snr", "sdr"]).rows
    ids = [f"item{number}" for number in order]
    moved = table_of(sources[order], estimates[order], lengths[order], ids=ids, metrics=["si_snr", "sdr"]).rows
    assert moved == [rows[number] for number in order]


def test_workers_give_the_same_rows_in_the_same_order():
    sources = speechlike(batch=5, samples=6000)
    here = table_of(sources, separated(sources))
    pool = table_of(sources, separated(sources), workers=2)
    assert len(pool) == 5 and pool.rows == here.rows


@pytest.mark.parametrize(
    "spoil, missing",
    [
        (lambda sources, estimates: sources[0, 1].zero_(), {"si_snr", "sdr", "stoi", "pesq"}),
        (lambda sources, estimates: estimates[0, 1].zero_(), {"sdr", "pesq"}),
        (lambda sources, estimates: estimates[0, 0].fill_(math.nan), {"si_snr", "sdr", "stoi", "pesq"}),
    ],
    ids=["silent source", "silent estimate", "estimate of NaN"],
)
def test_what_is_not_defined_is_missing_and_stays_out_of_the_mean(spoil, missing):
    sources = speechlike(batch=2)
    estimates = separated(sources)
    sound = table_of(sources[1:], estimates[1:]).summary()
    spoil(sources, estimates)
    summary = table_of(sources, estimates).summary()
    assert {name for name in sound if summary[name]["missing"]} == missing | {f"{name}i" for name in missing}
    for name in missing:
        assert (summary[name]["count"], summary[name]["mean"]) == (1, pytest.approx(sound[name]["mean"]))


@pytest.mark.parametrize("samples, missing", [(2000, {"stoi", "pesq"}), (300, {"sdr", "stoi", "pesq"}), (20, None)])
def test_short_mixtures_leave_out_what_needs_more_sound(samples, missing):
    sources = speechlike(samples=samples)
    summary = table_of(sources, separated(sources)).summary()
    found = {name for name in measures.METRICS if summary[name]["missing"]}
    # PESQ alone decides whether a quarter of a second holds an utterance
    assert found | {"pesq"} == (missing or {"sdr", "stoi", "pesq"}) | {"pesq"}
    assert summary["si_snr"]["count"] == 1


@pytest.mark.parametrize("silent", ["estimate", "source", "both"])
def test_si_snr_of_silence_is_finite(silent):
    signal, nothing = np.sin(np.arange(100.0)), np.full(100, 0.3)
    estimate = nothing if silent in ("estimate", "both") else signal
    source = nothing if silent in ("source", "both") else signal
    assert measures.si_snr(estimate, source) == -100.0


def test_summary_is_the_plain_statistics():
    sources = speechlike(batch=6, samples=1200)
    table = table_of(sources, separated(sources), metrics=["si_snr"])
    values = np.array([row["si_snri"] for row in table.rows])
    assert table.summary()["si_snri"] == pytest.approx(
        {"mean": values.mean(), "std": values.std(ddof=1), "sem": values.std(ddof=1) / 6**0.5, "count": 6, "missing": 0}
    )


def test_files_hold_what_the_table_holds(tmp_path):
    sources = speechlike(batch=2, samples=2400)
    sources[1, 0] = 0
    table = table_of(sources, separated(sources), ids=["a,b", "c"], metrics=["si_snr"])
    table.write_csv(tmp_path / "new" / "test_metrics.csv")
    rows = read_csv(tmp_path / "new" / "test_metrics.csv")
    assert [row["id"] for row in rows] == ["a,b", "c"]
    assert float(rows[0]["si_snri"]) == pytest.approx(table.rows[0]["si_snri"], abs=1e-6)
    assert rows[1]["si_snr"] == rows[1]["si_snri_1"] == ""
    table.write_summary(tmp_path / "s.json", seconds=3)
    written = json.loads((tmp_path / "s.json").read_text())
    assert written["metrics"]["si_snr"] == pytest.approx(table.summary()["si_snr"]) and written["seconds"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "s.json"]


def test_summary_of_nothing_is_valid_json(tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    MetricTable(metrics=["si_snr"]).write_summary(tmp_path / "s.json")
    written = (tmp_path / "s.json").read_text()
    assert json.loads(written, parse_constant=refuse)["metrics"]["si_snr"]["mean"] is None


def test_batches_of_different_numbers_of_sources_share_a_csv(tmp_path):
    table = table_of(speechlike(samples=900), speechlike(samples=900), metrics=["si_snr"])
    three = speechlike(count=3, samples=900)
    table.update(["three"], three.sum(1), three, three, torch.tensor([900]))
    table.write_csv(tmp_path / "t.csv")
    assert [row["si_snri_3"] == "" for row in read_csv(tmp_path / "t.csv")] == [True, False]


def test_errors_say_what_was_received():
    with pytest.raises(ValueError, match="unknown loudness.*si_snr"):
        MetricTable(metrics=["loudness"])
    with pytest.raises(ValueError, match="received 44100; leave pesq out"):
        MetricTable(sample_rate=44100)
    sources = speechlike(samples=100)
    with pytest.raises(ValueError, match=r"estimates: expected \[1, 2, 100\].*received \[1, 4, 100\]"):
        table_of(sources, sources.repeat(1, 2, 1))
    with pytest.raises(ValueError, match=r"lengths: expected 1 values of 1 to 100 samples, received \[101\]"):
        table_of(sources, sources, lengths=[101])
