"""A DPTNet training step beside Asteroid's: ``python benchmarks/dptnet_step.py [--batch 1] [--seconds 3]``.

The same configuration, the same weights, PIT with SI-SDR, Adam and clipping for both. The paper's batch, 24 x 3 s, is
the default on a GPU. On a CPU it is one item, since two take 6 GB and half a minute a round.
"""

import argparse
import copy
from importlib.metadata import version

import torch
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
from asteroid.models import DPTNet
from interleaved import interleaved, saved_bytes, show_beside
from mixcycle_step import make_batch, step

from sb_ext.filterbanks import LearnedFilterbank
from sb_ext.losses import NegSISDR
from sb_ext.networks import DualPathTransformer
from sb_ext.objectives import PIT
from sb_ext.objectives.layer_wise import LayerWise
from sb_ext.separators import Masking


def candidates(batch, device):
    """Name to step, and name to forward pass."""
    peer, name = DPTNet(2, ff_hid=128).to(device), f"asteroid {version('asteroid')}"
    ours = Masking(LearnedFilterbank(), DualPathTransformer(64, 2)).to(device)
    ours.load_asteroid(peer.state_dict())
    again = copy.deepcopy(ours)
    again.network.checkpoint_blocks = True
    wrapper = PITLossWrapper(pairwise_neg_sisdr)

    def of_peer(model, batch, epoch):
        return argparse.Namespace(loss=wrapper(model(batch.mixture.unsqueeze(1)), batch.sources))

    pit, layer_wise = PIT(NegSISDR()), PIT(NegSISDR(), layers=LayerWise())
    steps = {name: step(peer, of_peer, batch)}
    for label, model, objective in (
        ("ours", ours, pit),
        ("ours, every layer", copy.deepcopy(ours), layer_wise),
        ("ours, checkpoint_blocks", again, pit),
    ):
        steps[label] = step(model, objective, batch)
    steps[f"{name}, bf16"] = step(copy.deepcopy(peer), of_peer, batch, torch.bfloat16)
    steps["ours, bf16"] = step(copy.deepcopy(ours), pit, batch, torch.bfloat16)
    passes = {
        name: lambda: peer(batch.mixture.unsqueeze(1)),
        "ours": lambda: ours(batch.mixture),
        "ours, every layer": lambda: ours(batch.mixture, layers=True),
        "ours, checkpoint_blocks": lambda: again(batch.mixture),
    }
    return steps, passes


def main():
    """Print the tables."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=24 if device == "cuda" else 1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5, help="0 for memory only")
    options = parser.parse_args()
    batch = make_batch(options.batch, options.seconds, device)
    steps, passes = candidates(batch, device)
    peer = next(iter(passes))
    where = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{where}, batch {options.batch} x {options.seconds} s, the paper's model, torch {torch.__version__}")
    if options.rounds:
        medians = interleaved(steps, options.rounds)
        show_beside("Training step", medians, peer)
        print(f"  estimates and losses of every layer: {medians['ours, every layer'] / medians['ours'] - 1:+.0%}")
        print(f"  bf16: {medians['ours'] / medians['ours, bf16']:.2f} times as fast as ours in fp32")
    print("\nKept for the backward pass of the separator")
    kept = {name: saved_bytes(run) for name, run in passes.items()}
    for name, size in kept.items():
        print(f"  {name:44s} {size / 1e6:10.0f} MB {size / kept[peer]:6.1%}")


if __name__ == "__main__":
    main()
