"""Evaluation hooks against exhaustive search, and the files that they leave."""

import itertools

import pytest
import soundfile
import torch
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from sb_ext.contracts import MixtureBatch
from sb_ext.evaluation.examples import Examples, safe_name, write_example
from sb_ext.evaluation.hooks import Metrics, MixITOracle


def si_sdr(estimate, target):
    return scale_invariant_signal_distortion_ratio(estimate, target, zero_mean=True).mean().item()


def padded_batch(lengths=(900, 500), count=2, ids=None):
    sources = torch.randn(len(lengths), count, max(lengths), generator=torch.Generator().manual_seed(0))
    for row, length in enumerate(lengths):
        sources[row, :, length:] = 0
    ids = ids or [f"item{row}" for row in range(len(lengths))]
    return MixtureBatch(ids, sources.sum(1), sources, None, torch.tensor(lengths))


@pytest.mark.parametrize("num_outputs", [2, 4])
def test_mixit_oracle_equals_exhaustive_search_within_each_length(num_outputs):
    batch = padded_batch()
    torch.manual_seed(1)
    estimates = torch.randn(2, num_outputs, 2) @ batch.sources + 0.2 * torch.randn(2, num_outputs, 900)
    hook = MixITOracle()
    hook.start("TEST")
    hook.update(batch, estimates, None)
    expected = []
    for row, length in enumerate(batch.lengths.tolist()):
        target, estimate = batch.sources[row, :, :length], estimates[row, :, :length]
        ways = torch.tensor(list(itertools.product([0.0, 1.0], repeat=num_outputs)))[1:-1]
        best = max(si_sdr(torch.stack([way, 1 - way]) @ estimate, target) for way in ways)
        expected.append(best - si_sdr(batch.mixture[row, :length].expand_as(target), target))
    assert hook.finish(None, "TEST")["si_snri_oracle"] == pytest.approx(sum(expected) / 2, abs=1e-3)


def test_oracle_and_metrics_pass_over_recordings_without_references(tmp_path):
    batch = padded_batch()
    batch.sources = None
    for hook in (MixITOracle(), Metrics(str(tmp_path), 8000, ["si_snr"])):
        hook.start("TEST")
        hook.update(batch, torch.randn(2, 2, 900), None)
        assert hook.finish(None, "TEST") == {}
    assert not list(tmp_path.iterdir())


def test_examples_are_written_in_the_order_of_the_sources_and_cut_to_their_length(tmp_path):
    batch = padded_batch(ids=["a/1", "b"])
    ordered = 0.5 * batch.sources
    hook = Examples(str(tmp_path), 8000, count=1)
    hook.start("TEST")
    hook.update(padded_batch((500,), ids=["short"]), ordered[1:, :, :500], ordered[1:, :, :500])
    hook.update(batch, ordered.flip(1), ordered)
    assert [path.name for path in (tmp_path / "audio").iterdir()] == ["short"]
    hook = Examples(str(tmp_path), 8000, count=3)
    hook.start("TEST")
    hook.update(batch, ordered.flip(1), ordered)
    folder = tmp_path / "audio" / "a_1"
    waves = {path.stem: soundfile.read(path) for path in folder.iterdir()}
    assert set(waves) == {"mixture", "estimate1", "estimate2", "source1", "source2"}
    factor = waves["source1"][0][100] / batch.sources[0, 0, 100].item()
    for place in (1, 2):
        wave, rate = waves[f"estimate{place}"]
        assert rate == 8000 and len(wave) == 900
        assert torch.from_numpy(wave).sub(factor * ordered[0, place - 1]).abs().max() < 1e-3
    assert len(soundfile.read(tmp_path / "audio" / "b" / "mixture.wav")[0]) == 500


def test_examples_that_would_clip_are_all_made_quieter_by_one_factor(tmp_path):
    write_example(str(tmp_path), {"loud": torch.tensor([2.0, -1.0]), "quiet": torch.tensor([0.2, 0.0])}, 8000)
    loud, quiet = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in ("loud", "quiet"))
    assert abs(loud).max() == pytest.approx(0.99, abs=1e-3) and quiet[0] == pytest.approx(0.099, abs=1e-3)
    write_example(str(tmp_path), {"silence": torch.zeros(4), "empty": torch.zeros(0)}, 8000)
    assert soundfile.read(tmp_path / "silence.wav")[0].tolist() == [0.0] * 4


@pytest.mark.parametrize("name", ["a/b", "../up", "x y*?.wav"])
def test_ids_become_file_names_that_stay_in_their_folder(name):
    assert "/" not in safe_name(name) and safe_name(name) not in (".", "..")
