"""A MixCycle training step beside the peers: ``python benchmarks/mixcycle_step.py [--public_mixcycle CHECKOUT]``.

Peers: the public MixCycle code (github.com/ertug/MixCycle; a checkout's path, its rows are left out without it), and
torchaudio's MaskGenerator, the network that it trains, in our separator. The same batch and the same weights for all.
"""

import argparse
import copy
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import torch
from interleaved import interleaved, saved_bytes, show_beside
from torchaudio.models.conv_tasnet import MaskGenerator

from sb_ext.contracts import MixtureBatch
from sb_ext.filterbanks import Stft
from sb_ext.losses import NegSNR
from sb_ext.networks import TemporalConvNet
from sb_ext.objectives import PIT, MixCycle, MixPIT
from sb_ext.objectives.switch import AfterEpochs
from sb_ext.objectives.teacher import HalfPrecision
from sb_ext.separators import SpectralMasking


class Torchaudio(torch.nn.Module):
    """torchaudio's network where ours stands in the separator."""

    def __init__(self, num_inputs, num_outputs):
        super().__init__()
        self.num_inputs, self.num_outputs = num_inputs, num_outputs
        self.generator = MaskGenerator(num_inputs, num_outputs, 3, 128, 512, 4, 3, "sigmoid")

    def forward(self, features, layers=False):
        """Masks, as ours gives them."""
        return (self.generator(features),)


def step(separator, objective, batch, precision=torch.float32):
    """One training step with Adam and clipping, as a callable."""
    optimizer = torch.optim.Adam(separator.parameters(), fused=True)  # as in the recipes
    device = batch.mixture.device.type

    def run():
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=precision == torch.bfloat16):
            loss = objective(separator, batch, 1).loss.mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(separator.parameters(), 5.0)
        optimizer.step()

    return run


def public_step(checkout, batch, state):
    """One training step of the public code, and its model."""
    sys.path.insert(0, str(Path(checkout, "src")))
    from lib.trainers import MixCycleTrainer

    config = SimpleNamespace(
        device=batch.mixture.device, num_sources=2, num_frequency_bins=257, stft_frame_size=512, stft_hop_size=128
    )
    vars(config).update(lr=1e-3, grad_clip=5.0, snr_max=30.0, mixcycle_init_epochs=0, eval_method="reference")
    trainer = MixCycleTrainer(config)
    trainer.model.mask_generator.load_state_dict(state)
    data = [(batch.mixture.unsqueeze(1), batch.sources)]
    return lambda: list(trainer.train(data)), lambda: trainer.model(batch.mixture.unsqueeze(1))


def make_batch(size, seconds, device):
    """Noise in place of speech: what is in it costs no time."""
    sources = 0.05 * torch.randn(size, 2, round(8000 * seconds), device=device)
    lengths = torch.full((size,), sources.shape[-1])
    return MixtureBatch([str(place) for place in range(size)], sources.sum(1), sources, None, lengths)


def candidates(options, batch, device):
    """Name to step, and name to forward pass."""
    loss = NegSNR(30)
    cycle, half = (MixCycle(MixPIT(loss), loss, switch=AfterEpochs(0), teacher=one) for one in (None, HalfPrecision()))
    peer = SpectralMasking(Stft(), Torchaudio(257, 2)).to(device)
    state = peer.network.generator.state_dict()
    ours = SpectralMasking(Stft(), TemporalConvNet(257, 2)).to(device)
    ours.network.load_torchaudio(state)
    name = f"torchaudio {version('torchaudio')} MaskGenerator in ours"
    steps = {"ours": step(ours, cycle, batch), "ours, bf16 teacher": step(copy.deepcopy(ours), half, batch)}
    steps["ours, PIT"] = step(copy.deepcopy(ours), PIT(loss), batch)
    passes = {"ours": lambda: ours(batch.mixture), name: lambda: peer(batch.mixture)}
    if options.public_mixcycle:
        steps["public MixCycle"], passes["public MixCycle"] = public_step(options.public_mixcycle, batch, state)
    steps[name] = step(peer, cycle, batch)
    steps["ours, bf16"] = step(copy.deepcopy(ours), cycle, batch, torch.bfloat16)
    if options.compile:
        compiled = torch.compile(copy.deepcopy(ours))
        steps["ours, compiled"] = step(compiled, cycle, batch)
        steps["ours, compiled, bf16 teacher"] = step(compiled, half, batch)
        steps["ours, compiled, PIT"] = step(compiled, PIT(loss), batch)
        steps["ours, compiled, bf16"] = step(compiled, cycle, batch, torch.bfloat16)
    return steps, passes


def half_precision_error(separate, device):
    """Level in dB, beside the estimates of ``separate()``, of what bfloat16 changes of them."""
    with torch.no_grad():
        whole = separate().sources
        with torch.autocast(device, torch.bfloat16):
            half = separate().sources
    return 10 * torch.log10((whole - half).square().sum() / whole.square().sum()).item()


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--public_mixcycle", help="checkout of the public MixCycle code")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="also compiled, which takes a minute")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batch = make_batch(options.batch, options.seconds, device)
    steps, passes = candidates(options, batch, device)
    where = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{where}, batch {options.batch} x {options.seconds} s, the paper's model, torch {torch.__version__}")
    if not options.public_mixcycle:
        print("public MixCycle: no --public_mixcycle CHECKOUT, rows left out")
    peer = "public MixCycle" if options.public_mixcycle else list(passes)[-1]
    medians = interleaved(steps, options.rounds)
    show_beside("Training step", medians, peer)
    for name in ("ours", "ours, compiled") if options.compile else ("ours",):
        plain, half, pit = (medians[name + kind] for kind in ("", ", bf16 teacher", ", PIT"))
        print(f"  MixCycle takes {plain / pit:.2f} times the PIT step, {half / pit:.2f} with a bf16 teacher ({name})")
    print(f"  what bf16 changes of estimates: {half_precision_error(passes['ours'], device):.0f} dB beside them")
    print("\nKept for the backward pass of the separator")
    for name, run in passes.items():
        print(f"  {name:44s} {saved_bytes(run) / 1e6:10.0f} MB")


if __name__ == "__main__":
    main()
