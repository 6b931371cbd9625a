"""SI-SNR improvement under the best permutation, against torchmetrics."""

import pytest
import torch
from torchmetrics.functional.audio import permutation_invariant_training, scale_invariant_signal_distortion_ratio

from sb_ext.brain import si_snr_improvement
from sb_ext.contracts import MixtureBatch


@pytest.mark.parametrize("num_outputs, count", [(2, 2), (4, 2), (3, 3)])
def test_improvement_equals_torchmetrics_within_each_length(num_outputs, count):
    torch.manual_seed(0)
    lengths = [1200, 700, 1000]
    sources = torch.randn(3, count, 1200)
    for row, length in enumerate(lengths):
        sources[row, :, length:] = 0
    batch = MixtureBatch(list("abc"), sources.sum(1), sources, None, torch.tensor(lengths))
    estimates = torch.randn(3, num_outputs, count) @ sources + 0.3 * torch.randn(3, num_outputs, 1200)
    improvement, ordered = si_snr_improvement(estimates, batch)

    def si_sdr(estimate, target):
        return scale_invariant_signal_distortion_ratio(estimate, target, zero_mean=True)

    for row, length in enumerate(lengths):
        target, estimate = sources[row, :, :length], estimates[row, :, :length]
        subsets = torch.combinations(torch.arange(num_outputs), count)
        best = max(
            permutation_invariant_training(estimate[None, subset], target[None], si_sdr, eval_func="max")[0].item()
            for subset in subsets
        )
        before = si_sdr(batch.mixture[row, :length].expand_as(target), target).mean().item()
        assert improvement[row].item() == pytest.approx(best - before, abs=1e-3)
        after = si_sdr(ordered[row, :, :length], target).mean().item()
        assert after == pytest.approx(best, abs=1e-3)
