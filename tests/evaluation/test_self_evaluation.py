"""Self-evaluation against a brute-force remixing, with an oracle, and with silence in between."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.audio import permutation_invariant_training, scale_invariant_signal_distortion_ratio

from sb_ext.contracts import MixtureBatch
from sb_ext.evaluation import SelfEvaluation
from sb_ext.evaluation.plausibility import LEAST_POSSIBLE

SAMPLES = 800


def noise(count, samples=SAMPLES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {f"rec{place}": torch.randn(samples, generator=generator) for place in range(count)}


def si_sdr(estimate, target):
    return scale_invariant_signal_distortion_ratio(estimate, target, zero_mean=True)


def halves(mixture):
    """Low and high half of the band: a split that belongs to the output, and not to the speaker."""
    spectrum = torch.fft.rfft(mixture)
    low = torch.arange(spectrum.shape[-1]) < spectrum.shape[-1] // 2
    return torch.stack([torch.fft.irfft(spectrum * low, mixture.shape[-1]),
                        torch.fft.irfft(spectrum * ~low, mixture.shape[-1])], 1)  # fmt: skip


def brute_force(separate, recordings, repeats, seed):
    """Every part's improvement, its donor and whether its remixture holds one index: lists, by the definition."""
    waves, found = list(recordings.values()), []
    estimates = torch.cat([separate(wave[None]) for wave in waves])
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    for _ in range(repeats):
        order = torch.randperm(len(waves)).tolist()
        circle = torch.randperm(len(waves)).tolist()
        outputs = [torch.randperm(2).tolist() for _ in waves]
        for place in range(len(waves)):
            donors = [circle[place], circle[(place + 1) % len(waves)]]
            index = [outputs[donors[0]][0], outputs[donors[1]][1]]
            targets = torch.stack([estimates[order[donors[c]], index[c]] for c in range(2)])
            mixture = targets.sum(0)
            _, best = permutation_invariant_training(separate(mixture[None]), targets[None], si_sdr, eval_func="max")
            ordered = separate(mixture[None])[0, best[0]]
            for c in range(2):
                gain = si_sdr(ordered[c], targets[c]) - si_sdr(mixture, targets[c])
                found.append((float(gain), order[donors[c]], index[0] == index[1]))
    torch.set_rng_state(state)
    return found


@pytest.fixture
def separate(tiny_separator):
    model = tiny_separator().eval()

    def call(mixture):
        with torch.no_grad():
            return model(mixture).sources

    return call


def test_equals_a_brute_force_remixing(separate):
    recordings = noise(5)
    result = SelfEvaluation(repeats=3, segment=SAMPLES, seed=11).evaluate(separate, recordings)
    gains, donors, same = map(np.array, zip(*brute_force(separate, recordings, 3, 11), strict=True))
    summary = result.summary
    assert summary["si_snri"]["mean"] == pytest.approx(gains.mean(), abs=1e-3)
    assert summary["si_snri"]["std"] == pytest.approx(gains.std(), abs=1e-3)
    assert summary["same_index"] == pytest.approx(gains[same].mean(), abs=1e-3)
    assert summary["cross_index"] == pytest.approx(gains[~same].mean(), abs=1e-3)
    assert (summary["repeats"], summary["recordings"], summary["silent_share"]) == (3, 5, 0)
    everything = np.ones_like(result.same)
    for place, figure in enumerate(result.per_recording(everything)):
        assert figure == pytest.approx(gains[donors == place].mean(), abs=1e-3)
    low, high = summary["si_snri"]["ci95"]
    assert low <= summary["si_snri"]["mean"] + 1e-6 and high >= summary["si_snri"]["mean"] - 1e-6


def tones(count):
    """Recordings of two tones each, no tone twice, and the separator that knows all tones."""
    time = torch.arange(SAMPLES) / SAMPLES
    bank = torch.stack([torch.sin(2 * math.pi * (7 + 9 * place) * time) for place in range(2 * count)])

    def oracle(mixture):
        weights = mixture @ bank.T / (SAMPLES / 2)
        chosen = weights.abs().topk(2, -1).indices.sort(-1).values
        return weights.gather(-1, chosen).unsqueeze(-1) * bank[chosen]

    return {f"rec{place}": bank[2 * place] + bank[2 * place + 1] for place in range(count)}, oracle


def test_an_oracle_is_found_perfect():
    recordings, oracle = tones(6)
    summary = SelfEvaluation(repeats=4, segment=SAMPLES).evaluate(oracle, recordings).summary
    assert summary["si_snri"]["mean"] > 60
    assert summary["same_index"] > 60 and summary["cross_index"] > 60


def test_a_split_by_output_shows_in_the_same_index_figure():
    summary = SelfEvaluation(repeats=4, segment=SAMPLES).evaluate(halves, noise(6)).summary
    assert summary["cross_index"] > 40
    assert summary["same_index"] < 1


def test_a_separator_that_does_nothing_improves_nothing():
    summary = SelfEvaluation(repeats=4, segment=SAMPLES).evaluate(
        lambda mixture: torch.stack([mixture, mixture], 1) / 2, noise(5)
    ).summary  # fmt: skip
    assert summary["si_snri"]["mean"] == pytest.approx(0, abs=1e-3)


def test_silence_at_one_output_improves_nothing():
    """The mixture at one output and nothing at the other separates nothing, however unequal the parts."""
    recordings = {name: wave * 10 ** (-place / 4) for place, (name, wave) in enumerate(noise(6).items())}

    def one_sided(mixture):
        return torch.stack([mixture, 0 * mixture], 1)

    evaluation = SelfEvaluation(repeats=6, segment=SAMPLES)
    evaluation.start("TEST")
    for name, wave in recordings.items():  # sound parts: only the second pass is one-sided
        parts = halves(wave[None])
        evaluation.update(MixtureBatch([name], wave[None], None, None, torch.tensor([SAMPLES])), parts, None)
    summary = evaluation.remix(one_sided).summary
    assert summary["si_snri"]["mean"] < 0.1


def test_the_mean_over_repeats_converges_to_the_expectation(separate):
    recordings = noise(4)
    one = SelfEvaluation(repeats=150, segment=SAMPLES, seed=0).evaluate(separate, recordings).summary
    two = SelfEvaluation(repeats=150, segment=SAMPLES, seed=1).evaluate(separate, recordings).summary
    assert one["si_snri"]["mean"] != two["si_snri"]["mean"]
    assert one["si_snri"]["mean"] == pytest.approx(two["si_snri"]["mean"], abs=0.05)


def test_equal_seeds_give_equal_results_and_leave_the_global_random_state_alone(separate):
    recordings = noise(5, samples=1200)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    first = SelfEvaluation(repeats=2, segment=500, seed=4).evaluate(separate, recordings)
    assert torch.get_rng_state().equal(before)
    torch.rand(17)
    second = SelfEvaluation(repeats=2, segment=500, seed=4).evaluate(separate, recordings)
    assert np.array_equal(first.improvement, second.improvement) and first.summary == second.summary
    other = SelfEvaluation(repeats=2, segment=500, seed=5).evaluate(separate, recordings)
    assert not np.array_equal(first.improvement, other.improvement)


@pytest.mark.parametrize("batch_size, sizes", [(64, [7]), (4, [3, 4]), (2, [2, 2, 3])])
def test_every_estimate_is_remixed_once_a_repeat_in_batches_of_nearly_equal_size(batch_size, sizes, separate):
    calls = []

    def counting(mixture):
        calls.append(len(mixture))
        return separate(mixture)

    evaluation = SelfEvaluation(repeats=2, segment=SAMPLES, batch_size=batch_size)
    result = evaluation.evaluate(counting, noise(7))
    assert sorted(calls[7 : 7 + len(sizes)]) == sizes and len(calls) == 7 + 2 * len(sizes)
    assert np.bincount(result.donor).tolist() == [4] * 7  # two outputs, two repeats


def test_short_recordings_are_padded_and_long_ones_cropped(separate):
    recordings = noise(2, 300) | {"long": torch.randn(2000), "longer": torch.randn(3000)}
    shapes = []

    def watched(mixture):
        shapes.append(mixture.shape[-1])
        return separate(mixture)

    result = SelfEvaluation(repeats=2, segment=SAMPLES).evaluate(watched, recordings)
    assert shapes[4:] == [SAMPLES] * 2 and np.isfinite(result.improvement).all()


def test_silent_recordings_are_left_out(separate):
    recordings = noise(5) | {"silence": torch.zeros(SAMPLES)}
    result = SelfEvaluation(repeats=4, segment=SAMPLES).evaluate(separate, recordings)
    # With what it meets: beside silence the mixture is the target already, and any estimate some 80 dB worse.
    assert not (result.donor == 5).any() and result.audible.all() and result.improvement.min() > -20
    assert result.summary["silent_share"] == 0 and result.summary["unmeasured"] == 1
    assert all(math.isfinite(value) for value in result.figures().values())
    assert np.isfinite(result.improvement).all()
    figures = result.per_recording(np.ones_like(result.same))
    assert np.isfinite(figures[:5]).all() and np.isnan(figures[5])
    json.dumps(result.summary, allow_nan=False)


def test_nothing_but_silence_does_not_stop_a_training(separate):
    result = SelfEvaluation(repeats=1, segment=SAMPLES).evaluate(separate, {n: torch.zeros(SAMPLES) for n in "abc"})
    assert result.summary["unmeasured"] == 3 and math.isnan(result.summary["si_snri"]["mean"])
    assert result.summary["guarded"] == LEAST_POSSIBLE and not result.summary["plausible"]


def fed_by_the_brain(separate, folder, count=4, with_sources=True, lengths=None):
    """A hook after one test batch: update and finish, as the Brain calls them."""
    sources = torch.randn(count, 2, SAMPLES, generator=torch.Generator().manual_seed(3))
    lengths = torch.full((count,), SAMPLES) if lengths is None else lengths
    for row, length in enumerate(lengths):
        sources[row, :, length:] = 0
    mixture = sources.sum(1)
    batch = MixtureBatch(
        [f"item{place}" for place in range(count)], mixture, sources if with_sources else None, None, lengths
    )
    hook = SelfEvaluation(repeats=2, segment=SAMPLES, folder=str(folder))
    hook.start("TEST")
    estimates = separate(mixture)
    hook.update(batch, estimates, estimates if with_sources else None)
    return hook.finish(separate, "TEST"), hook


def test_the_files_hold_one_row_a_recording_and_the_summary(separate, tmp_path):
    figures, _ = fed_by_the_brain(separate, tmp_path)
    summary = json.loads((tmp_path / "self_evaluation.json").read_text())
    assert figures["self_evaluation"] == summary["si_snri"]["mean"] and "ground_truth" in summary
    with open(tmp_path / "self_evaluation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f"item{place}" for place in range(4)]
    assert np.mean([float(row["self_evaluation"]) for row in rows]) == pytest.approx(
        summary["si_snri"]["mean"], abs=1e-3
    )
    assert np.mean([float(row["ground_truth"]) for row in rows]) == pytest.approx(summary["ground_truth"]["mean"])


def test_the_ground_truth_is_the_improvement_over_the_mixture_within_each_length(separate, tmp_path):
    lengths = torch.tensor([SAMPLES, 500, SAMPLES, 300])
    _, hook = fed_by_the_brain(separate, tmp_path, lengths=lengths)
    sources = torch.randn(4, 2, SAMPLES, generator=torch.Generator().manual_seed(3))
    for row, length in enumerate(lengths.tolist()):
        padded = sources[row].clone()
        padded[:, length:] = 0
        mixture = padded.sum(0)
        cut, target = separate(mixture[None])[0, :, :length], padded[:, :length]
        gain = si_sdr(cut, target) - si_sdr(mixture[:length].expand(2, -1), target)
        assert hook.truth[row] == pytest.approx(gain.mean().item(), abs=1e-3)
        assert hook.estimates[row].shape == (2, length)


def test_without_references_there_is_no_ground_truth(separate, tmp_path):
    fed_by_the_brain(separate, tmp_path, with_sources=False)
    assert "ground_truth" not in json.loads((tmp_path / "self_evaluation.json").read_text())
    with open(tmp_path / "self_evaluation.csv", newline="") as file:
        assert {row["ground_truth"] for row in csv.DictReader(file)} == {""}


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_recordings_to_remix_give_no_figures(count, separate):
    hook = SelfEvaluation(repeats=1, segment=SAMPLES)
    hook.start("VALID")
    if count:
        mixture = torch.randn(1, SAMPLES)
        hook.update(MixtureBatch(["a"], mixture, None, None, torch.tensor([SAMPLES])), separate(mixture), None)
    assert hook.finish(separate, "VALID") == {}


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"batch_size": 1}, {"segment": 0}])
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="SelfEvaluation: expected repeats >= 1.*received"):
        SelfEvaluation(**wrong)


def test_stages_and_epochs_are_chosen():
    hook = SelfEvaluation(stages=["VALID"], every=3)
    assert [hook.wanted("VALID", epoch) for epoch in (1, 2, 3, 6)] == [False, False, True, True]
    assert not hook.wanted("TEST", None)
    with pytest.raises(ValueError, match="stages: expected VALID or TEST, received"):
        SelfEvaluation(stages=["TRAIN"])
