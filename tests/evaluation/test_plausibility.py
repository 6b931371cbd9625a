"""Self-evaluation must not be fooled: sham separators and a collapsed MixCycle are flagged, a trained one is not."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from sb_ext.contracts import MixtureBatch
from sb_ext.data.librimix import OnTheFlyLibriMix
from sb_ext.data.metadata import make_metadata
from sb_ext.evaluation import SelfEvaluation
from sb_ext.evaluation.plausibility import judge
from sb_ext.filterbanks import Stft
from sb_ext.losses import NegSNR
from sb_ext.networks import TemporalConvNet
from sb_ext.objectives import PIT, MixCycle, MixPIT
from sb_ext.objectives.switch import AfterEpochs
from sb_ext.separators import SpectralMasking

DIGITS = Path(__file__).resolve().parents[3] / "shared" / "data" / "SpokenDigits"
STFT = Stft(512, 128)


def masked(mixture, mask):
    """Two outputs by a binary mask and its complement."""
    spectrum = STFT.encode(mixture)
    mask = mask.float().expand_as(spectrum.real)
    return STFT.decode(torch.stack([spectrum * mask, spectrum * (1 - mask)], 1), mixture.shape[-1])


def cut_band(mixture):
    return masked(mixture, (torch.arange(257) < 40)[None, :, None])


def cut_loudness(mixture):
    magnitude = STFT.encode(mixture).abs()
    return masked(mixture, magnitude > magnitude.flatten(1).quantile(0.9, dim=1)[:, None, None])


def everything_to_one(mixture):
    return torch.stack([mixture, torch.zeros_like(mixture)], 1)


def almost_everything_to_one(mixture):
    return torch.stack([0.99 * mixture, 0.01 * mixture], 1)


def alternate(mixture):
    """A tenth of a second to one output, the next tenth to the other."""
    turn = (torch.arange(mixture.shape[-1]) // 800) % 2
    return torch.stack([mixture * turn, mixture * (1 - turn)], 1)


def first_half(mixture):
    early = torch.arange(mixture.shape[-1]) < mixture.shape[-1] // 2
    return torch.stack([mixture * early, mixture * ~early], 1)


SHAMS = [cut_band, cut_loudness, everything_to_one, almost_everything_to_one, alternate, first_half]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Sources ``[2, T]`` of 200 training and 40 test mixtures of real speech."""
    if not DIGITS.is_dir():
        pytest.skip("SpokenDigits is not beside the repository")
    splits = ["train-clean-100", "test-clean"]
    counts = dict(zip(splits, (200, 40), strict=True))
    files = make_metadata(DIGITS, tmp_path_factory.mktemp("metadata"), splits=splits, num_mixtures=counts)
    stores = [OnTheFlyLibriMix(DIGITS, files[split], 2, 8000, "min", "mix_clean") for split in splits]
    return [[store.read(index)[1] for index in range(len(store))] for store in stores]


def train(objective, model, sources, steps):
    """A few training steps on random 1.5 s pieces, 8 at a time."""
    optimizer, rng = torch.optim.Adam(model.parameters(), 1e-3), random.Random(0)
    for _ in range(steps):
        pieces = []
        for item in rng.sample(sources, 8):
            start = rng.randrange(max(1, item.shape[1] - 12000))
            piece = item[:, start : start + 12000]
            pieces.append(np.pad(piece, ((0, 0), (0, 12000 - piece.shape[1]))))
        batch = torch.from_numpy(np.stack(pieces))
        mixtures = MixtureBatch(list("abcdefgh"), batch.sum(1), batch, None, torch.full((8,), 12000))
        optimizer.zero_grad()
        objective(model, mixtures, 1).loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()


@pytest.fixture(scope="module")
def trained(digits):
    """A small separator after 250 steps of PIT: about 3.5 dB on unseen recordings."""
    torch.manual_seed(0)
    model = SpectralMasking(Stft(512, 128), TemporalConvNet(257, 2, 64, 128))
    train(PIT(NegSNR(30)), model, digits[0], 250)
    return model.eval()


def self_evaluate(separate, sources):
    recordings = {str(place): torch.from_numpy(item).sum(0) for place, item in enumerate(sources)}
    return SelfEvaluation(repeats=3).evaluate(separate, recordings).summary


@pytest.mark.parametrize("sham", SHAMS, ids=lambda sham: sham.__name__)
def test_sham_separators_are_flagged(sham, digits):
    assert not self_evaluate(sham, digits[1])["plausible"]


def test_the_plain_figure_is_fooled_by_a_cut_band(digits):
    # Otherwise nothing would be shown by the tests above.
    assert self_evaluate(cut_band, digits[1])["si_snri"]["mean"] > 4


@pytest.mark.slow
def test_a_pit_trained_separator_is_not_flagged(trained, digits):
    summary = self_evaluate(lambda mixture: trained(mixture).sources, digits[1])
    assert summary["plausible"], summary
    assert summary["si_snri"]["mean"] > 1.5


@pytest.mark.slow
def test_a_collapsed_mixcycle_is_flagged(digits):
    torch.manual_seed(0)
    model = SpectralMasking(Stft(512, 128), TemporalConvNet(257, 2, 64, 128))
    loss = NegSNR(30)
    train(MixCycle(MixPIT(loss), loss, switch=AfterEpochs(0)), model, digits[0], 120)
    assert not self_evaluate(lambda mixture: model.eval()(mixture).sources, digits[1])["plausible"]


def test_too_few_pairs_are_no_plausible_figure_and_no_nan():
    outcome = judge({"same_index": float("nan"), "cross_index": 3.0, "silent_share": 0.0})
    assert not outcome["plausible"] and outcome["guarded"] == 3.0 and outcome["swap_gap"] == 0.0


@pytest.mark.parametrize(
    ("same", "cross", "silent", "plausible"),
    [
        (8.0, 9.0, 0.0, True),
        (1.0, 3.0, 0.1, True),
        (0.5, 12.2, 0.0, False),
        (0.1, 0.2, 0.0, False),
        (5, 5, 0.5, False),
        (9.0, 0.2, 0.0, False),
    ],
)
def test_verdicts(same, cross, silent, plausible):
    verdict = judge({"same_index": same, "cross_index": cross, "silent_share": silent})
    assert verdict["plausible"] is plausible
    assert verdict["guarded"] == min(same, cross)
    assert verdict["verdict"].startswith("plausible" if plausible else "not plausible")
