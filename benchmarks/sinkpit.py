"""SinkPIT beside Asteroid's, loss and gradient: ``python benchmarks/sinkpit.py [--sources 5]``.

Two kinds of estimates: 10 dB from their targets, as a trained separator's are, where Sinkhorn's iteration converges and
nothing is unrolled; and noise, where it does not within the 200 half-steps of both. The gradient of the loss matrix is
compared with Asteroid's in double precision.
"""

import argparse
from importlib.metadata import version

import torch
from interleaved import interleaved, show_beside

from sb_ext.losses import NegSISDR
from sb_ext.objectives.label_assignment import SinkhornAssignment
from sb_ext.objectives.memory import MixtureMemory
from sb_ext.soft_assignment import sinkhorn

BETA = 10.0


def gradient_error(pairs):
    """Relative difference of the gradients with respect to the loss matrix, ours in its own precision."""
    from asteroid.losses import SinkPITLossWrapper

    exact = pairs.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(SinkPITLossWrapper.best_softperm_sinkhorn(exact, BETA, 200)[0].sum(), exact)
    single = pairs.detach().requires_grad_()
    (ours,) = torch.autograd.grad(sinkhorn(single, BETA, 100)[0].sum(), single)
    return ((ours.double() - expected).norm() / expected.norm()).item()


def compare(title, estimates, targets, rounds):
    """One table."""
    from asteroid.losses import SinkPITLossWrapper, pairwise_neg_sisdr

    loss, assignment, theirs = (
        NegSISDR(),
        SinkhornAssignment(lambda epoch: BETA),
        SinkPITLossWrapper(pairwise_neg_sisdr),
    )
    estimates.requires_grad_()
    name = f"Asteroid {version('asteroid')}"
    medians = interleaved(
        {
            "ours": lambda: assignment(loss, estimates, targets, 1)[0].mean().backward(),
            name: lambda: theirs(estimates, targets).backward(),
        },
        rounds,
    )
    show_beside(title, medians, name)
    print(f"  gradient beside Asteroid's in float64: {gradient_error(loss.pairwise(estimates, targets)):.1e}")


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=5)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    targets = torch.randn(options.batch, options.sources, round(8000 * options.seconds), device=device)
    near = targets.flip(1) + 10**-0.5 * torch.randn_like(targets)
    compare(f"SinkPIT, {options.sources} sources, estimates at 10 dB", near, targets, options.rounds)
    compare(f"SinkPIT, {options.sources} sources, noise", torch.randn_like(targets), targets, options.rounds)
    memory, count = MixtureMemory(), 1_000_000
    memory.record([f"mixture-{place}" for place in range(count)], torch.zeros(count, 2).long(), torch.zeros(count))
    print(f"\nMemory bank of dynamic sample dropout: {memory.nbytes / count:.0f} bytes a mixture at {count:,} mixtures")


if __name__ == "__main__":
    main()
