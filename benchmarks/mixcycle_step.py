"""A MixCycle step and its losses beside the peers: ``python benchmarks/mixcycle_step.py [--batch 8] [--seconds 3]``.

Peers from the package registry: torchaudio's MaskGenerator, which the public MixCycle code trains, and Asteroid's MixIT
loss (a test-only dependency; the row is left out without it).
"""

import argparse
from importlib.metadata import version

import torch
from interleaved import interleaved, saved_bytes, show
from torchaudio.models.conv_tasnet import MaskGenerator

from sb_ext.assignment import mixit
from sb_ext.contracts import MixtureBatch
from sb_ext.filterbanks import Stft
from sb_ext.losses import NegSNR
from sb_ext.networks import TemporalConvNet
from sb_ext.objectives import PIT, MixCycle, MixPIT
from sb_ext.objectives.switch import AfterEpochs
from sb_ext.separators import SpectralMasking


class Peer(torch.nn.Module):
    """torchaudio's network where ours stands in the separator."""

    def __init__(self, num_inputs, num_outputs):
        super().__init__()
        self.num_inputs, self.num_outputs = num_inputs, num_outputs
        self.generator = MaskGenerator(num_inputs, num_outputs, 3, 128, 512, 4, 3, "sigmoid")

    def forward(self, features, layers=False):
        """Masks, as ours gives them."""
        return (self.generator(features),)


def step(separator, objective, batch):
    """One training step with Adam and clipping, as a callable."""
    optimizer = torch.optim.Adam(separator.parameters())

    def run():
        optimizer.zero_grad()
        objective(separator, batch, 1).loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(separator.parameters(), 5.0)
        optimizer.step()

    return run


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sources = 0.05 * torch.randn(options.batch, 2, round(8000 * options.seconds), device=device)
    lengths = torch.full((options.batch,), sources.shape[-1])
    batch = MixtureBatch([str(i) for i in range(options.batch)], sources.sum(1), sources, None, lengths)
    loss = NegSNR(30)
    cycle = MixCycle(MixPIT(loss), loss, switch=AfterEpochs(0))
    ours = SpectralMasking(Stft(), TemporalConvNet(257, 2)).to(device)
    peer = SpectralMasking(Stft(), Peer(257, 2)).to(device)
    ours.network.load_torchaudio(peer.network.generator.state_dict())
    threads = f"{device}, {torch.get_num_threads()} threads"
    print(f"{threads}, batch {options.batch} x {options.seconds} s, torch {torch.__version__}")

    name = f"torchaudio {version('torchaudio')} MaskGenerator"
    runs = {"ours": step(ours, cycle, batch), name: step(peer, cycle, batch), "ours, PIT": step(ours, PIT(loss), batch)}
    medians = interleaved(runs, options.rounds)
    memory = {
        key: saved_bytes(lambda model=model: model(batch.mixture)) for key, model in (("ours", ours), ("peer", peer))
    }
    note = f"saved for backward: ours {memory['ours'] / 1e6:.0f} MB, peer {memory['peer'] / 1e6:.0f} MB"
    show("MixCycle training step, plain fp32", medians, "ours", note)
    mixit_table(loss, options.rounds, device)


def mixit_table(loss, rounds, device):
    """The MixIT loss with gradient, 4 outputs, 8 mixtures of 3 s, beside Asteroid's."""
    try:
        from asteroid.losses import MixITLossWrapper, multisrc_neg_sisdr
    except ImportError:
        print("\nMixIT loss: asteroid is not installed, row left out")
        return
    from sb_ext.losses import NegSISDR

    for outputs in (4, 8):
        estimates = torch.randn(8, outputs, 24000, device=device, requires_grad=True)
        mixtures = torch.randn(8, 2, 24000, device=device)
        wrapper = MixITLossWrapper(multisrc_neg_sisdr, generalized=True)
        runs = {
            "ours": lambda e=estimates, m=mixtures: mixit(e, m, NegSISDR())[0].mean().backward(),
            f"asteroid {version('asteroid')}": lambda e=estimates, m=mixtures, w=wrapper: w(e, m).backward(),
        }
        saved = saved_bytes(lambda e=estimates, m=mixtures: mixit(e, m, NegSISDR()))
        show(
            f"MixIT loss and gradient, {outputs} outputs",
            interleaved(runs, rounds),
            "ours",
            f"ours saves {saved / 1e6:.1f} MB",
        )


if __name__ == "__main__":
    main()
