"""The cost of perceptual losses: ``python benchmarks/perceptual.py [--speech_model FOLDER] [--seconds 3]``.

A training step of Conv-TasNet with each loss beside the plain step, and beside an implementation that runs the speech
model on one estimate and one target at a time, for every pair. The same weights and batch for all; times interleaved.
Without a checkpoint the speech model is small and random, which costs what a trained one of its size does.
"""

import argparse
import copy

import torch
from interleaved import interleaved, saved_bytes
from mixcycle_step import step

from sb_ext.assignment import pit_loss, reorder
from sb_ext.contracts import MixtureBatch
from sb_ext.filterbanks import LearnedFilterbank
from sb_ext.losses import NegSISDR
from sb_ext.losses.perceptual import PerceptualLoss, Triplet, WeightedSum
from sb_ext.networks import TemporalConvNet
from sb_ext.objectives import PIT
from sb_ext.separators import Masking
from sb_ext.speech.representation import Representation
from sb_ext.speech.small import untrained

RATE = 16000


class PairByPair(torch.nn.Module):
    """The weighted sum as eq. 3 to 6 read: both signals of every pair through the speech model, one pair at a time."""

    def __init__(self, representation):
        super().__init__()
        self.representation = representation

    def forward(self, basic, ordered, targets, keep):
        """See PerceptualLoss."""
        positive = negative = 0
        for target in range(targets.shape[1]):
            for estimate in range(targets.shape[1]):
                ours = self.representation(ordered[-1][:, estimate])
                with torch.no_grad():
                    aim = self.representation(targets[:, target])
                distance = (ours - aim).square().mean((1, 2)) / targets.shape[1]
                if target == estimate:
                    positive = positive + distance
                else:
                    negative = negative + distance
        return basic + 100 * positive + 0.001 / negative.mean(), {}


def make_separator(options):
    """Conv-TasNet at 16 kHz: the paper's, or one as narrow as ``--budget mini``."""
    torch.manual_seed(0)
    hidden, bottleneck, filters = (128, 64, 512) if options.mini else (512, 128, 512)
    filterbank = LearnedFilterbank(filters, 32, 16)
    return Masking(filterbank, TemporalConvNet(filters, options.sources, bottleneck, hidden, 3, 8, 3))


def make_batch(options, device):
    """Noise in place of speech: what is in it costs no time."""
    sources = 0.05 * torch.randn(options.batch, options.sources, round(RATE * options.seconds), device=device)
    lengths = torch.full((options.batch,), sources.shape[-1])
    return MixtureBatch([str(place) for place in range(options.batch)], sources.sum(1), sources, None, lengths)


def auxiliaries(options):
    """Name to what is added to the loss."""
    full, half = (Representation(options.speech_model, precision=name) for name in ("fp32", "bf16"))
    return {
        "plain": None,
        "positive distance": PerceptualLoss(full, WeightedSum(negative=0)),
        "negative distance": PerceptualLoss(full, WeightedSum(positive=0)),
        "weighted sum": PerceptualLoss(full, WeightedSum()),
        "weighted sum, bf16 speech model": PerceptualLoss(half, WeightedSum()),
        "triplet": PerceptualLoss(full, Triplet()),
        "weighted sum, pair by pair": PairByPair(full),
    }


def check_equal(batch, added):
    """The pair-by-pair implementation computes the same loss."""
    estimates = batch.sources + 0.5 * batch.sources.roll(1, 1)
    basic, order = pit_loss(NegSISDR(), estimates, batch.sources)
    keep = torch.ones_like(basic, dtype=torch.bool)
    ours, naive = (
        added[name](basic, [reorder(estimates, order)], batch.sources, keep)[0].mean()
        for name in ("weighted sum", "weighted sum, pair by pair")
    )
    print(f"The same loss, {ours:.5f} and {naive:.5f} dB")


def kept_for_backward(objective, separator, batch):
    """Bytes beside all weights, the speech model's too."""
    weights = list(separator.parameters())
    if objective.auxiliary is not None:
        weights += objective.auxiliary.representation.speech_model.parameters()
    return saved_bytes(lambda: objective(separator, batch, 1), weights)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech_model", help="folder or hub name; a small random HuBERT by default")
    parser.add_argument("--sources", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--mini", action="store_true", help="the separator of --budget mini")
    options = parser.parse_args()
    options.speech_model = options.speech_model or untrained()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batch, separator, added = make_batch(options, device), make_separator(options).to(device), auxiliaries(options)
    objectives = {name: PIT(NegSISDR(), auxiliary=one).to(device) for name, one in added.items()}
    where = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{where}, batch {options.batch} x {options.sources} x {options.seconds} s, torch {torch.__version__}")
    check_equal(batch, added)
    steps = {name: step(copy.deepcopy(separator), objective, batch) for name, objective in objectives.items()}
    medians = interleaved(steps, options.rounds)
    saved = {name: kept_for_backward(objective, separator, batch) for name, objective in objectives.items()}
    print(f"\n{'Training step':36s} {'ms':>9s} {'of plain':>9s} {'kept MB':>9s} {'beside plain':>13s}")
    for name, value in medians.items():
        print(
            f"  {name:34s} {1000 * value:9.1f} {value / medians['plain']:9.2f} {saved[name] / 1e6:9.0f} "
            f"{(saved[name] - saved['plain']) / 1e6:+13.0f}"
        )
    naive, ours = "weighted sum, pair by pair", "weighted sum"
    extra = [medians[name] - medians["plain"] for name in (naive, ours)]
    print(
        f"  pair by pair takes {medians[naive] / medians[ours]:.2f} times ours, what it adds {extra[0] / extra[1]:.2f}"
    )


if __name__ == "__main__":
    main()
