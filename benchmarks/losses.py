"""The losses beside the peers, in speed, memory and gradients: ``python benchmarks/losses.py [--threads 2]``.

Peers: Asteroid, SpeechBrain, torchmetrics, fast_bss_eval (requirements-bench.txt), and the public MixCycle code
(github.com/ertug/MixCycle; the path of a checkout, its rows are left out without it). All of them measure the same
thing: zero-mean SI-SDR, or SNR, on noise at the level of speech, loss and gradient of a batch of 8 x 3 s at 8 kHz.
"""

import argparse
import signal
import subprocess
import sys
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import asteroid.losses as asteroid
import fast_bss_eval
import torch
from asteroid.losses.sdr import MultiSrcNegSDR
from interleaved import interleaved, saved_bytes, show
from speechbrain.nnet.losses import get_si_snr_with_pitwrapper
from torchmetrics.functional import audio as torchmetrics

from sb_ext.assignment import mixing_matrices, mixit, pit_loss
from sb_ext.losses import NegSISDR, NegSNR

ASTEROID, SPEECHBRAIN, TORCHMETRICS, FAST_BSS_EVAL = (
    f"{name} {version(name)}" for name in ("asteroid", "speechbrain", "torchmetrics", "fast_bss_eval")
)
BATCH, SAMPLES = 8, 24000
PATIENCE = 20.0


def sisdr_losses():
    """Name to PIT with zero-mean SI-SDR: estimates ``[B, C, T]`` and targets give a scalar."""
    tm = partial(
        torchmetrics.permutation_invariant_training,
        metric_func=torchmetrics.scale_invariant_signal_distortion_ratio,
        zero_mean=True,
    )
    return {
        "ours": lambda e, s: pit_loss(NegSISDR(), e, s)[0].mean(),
        ASTEROID: asteroid.PITLossWrapper(asteroid.pairwise_neg_sisdr),
        SPEECHBRAIN: lambda e, s: get_si_snr_with_pitwrapper(s.mT, e.mT).mean(),
        TORCHMETRICS: lambda e, s: -tm(e, s)[0].mean(),
        FAST_BSS_EVAL: lambda e, s: fast_bss_eval.si_sdr_pit_loss(e, s, zero_mean=True).mean(),
    }


def snr_losses():
    """Name to PIT with plain SNR."""
    tm = partial(torchmetrics.permutation_invariant_training, metric_func=torchmetrics.signal_noise_ratio)
    return {
        "ours": lambda e, s: pit_loss(NegSNR(), e, s)[0].mean(),
        ASTEROID: asteroid.PITLossWrapper(asteroid.PairwiseNegSDR("snr", zero_mean=False)),
        TORCHMETRICS: lambda e, s: -tm(e, s)[0].mean(),
    }


def mixit_losses(checkout, ceiling):
    """Name to MixIT with SNR; the ceiling is ours and the public code's, Asteroid has none."""
    wrapper = asteroid.MixITLossWrapper(MultiSrcNegSDR("snr", zero_mean=False))
    losses = {"ours": lambda e, m: mixit(e, m, NegSNR(ceiling))[0].mean(), ASTEROID: wrapper}
    if checkout:
        sys.path.insert(0, str(Path(checkout, "src")))
        from lib.losses import invariant_loss, negative_snr

        command = ["git", "-C", checkout, "rev-parse", "--short", "HEAD"]
        revision = subprocess.run(command, capture_output=True, text=True).stdout.strip()

        def public(estimates, mixtures):
            ways = mixing_matrices(mixtures.shape[1], estimates.shape[1], estimates.device).to(estimates.dtype)
            return invariant_loss(mixtures, estimates, ways, partial(negative_snr, snr_max=ceiling)).mean()

        losses[f"public MixCycle {revision}"] = public
    return losses


def step(loss, estimates, targets):
    """Loss and gradient, as a callable."""

    def run():
        estimates.grad = None
        loss(estimates, targets).backward()

    return run


def trial(run):
    """Seconds of a first run; or what it raised; or None when it was stopped for taking too long."""

    def stop(*_):
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    began = time.perf_counter()
    try:
        run()
        return time.perf_counter() - began
    except TimeoutError:
        return None
    except Exception as error:  # whatever a peer says: it is reported
        return " ".join(f"{type(error).__name__} {error}".split())[:80]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def race(title, runs, rounds):
    """Print the medians; what fails or is slow is tried once and named."""
    trials = {name: trial(run) for name, run in runs.items()}
    quick = {name: runs[name] for name, value in trials.items() if isinstance(value, float) and value < 2}
    medians = interleaved(quick, rounds, turn=0.2)
    show(title, medians, "ours")
    for name in trials.keys() - medians.keys():
        value = trials[name]
        if isinstance(value, float):
            text = f"{1000 * value:10.1f} ms   ours is {value / medians['ours']:6.0f} times as fast (one run)"
        else:
            text = f"fails: {value}" if value else f"stopped after {PATIENCE:.0f} s"
        print(f"  {name:44s} {text}")


def noisy(count, level, device, seed=0):
    """Targets and estimates ``[B, C, T]`` at ``level`` dB, the estimates in another order."""
    random = torch.Generator().manual_seed(seed)
    targets, noise = 0.05 * torch.randn(2, BATCH, count, SAMPLES, generator=random).to(device)
    estimates = (targets + 10 ** (-level / 20) * noise).roll(1, 1)
    return estimates.requires_grad_(), targets


def speed(options, device):
    """MixIT at four and eight outputs, PIT at 2 to 12 sources."""
    for outputs in (4, 8):
        estimates, _ = noisy(outputs, 10, device)
        mixtures = estimates.detach().unflatten(1, (2, -1)).sum(2)
        losses = mixit_losses(options.public_mixcycle, 30)
        runs = {name: step(loss, estimates, mixtures) for name, loss in losses.items()}
        race(f"MixIT, SNR, {outputs} outputs, 2 mixtures", runs, options.rounds)
        print("  kept for the backward pass, beside the estimates and the mixtures:")
        for name, loss in losses.items():
            size = saved_bytes(partial(loss, estimates, mixtures), (estimates, mixtures))
            print(f"  {name:44s} {size / 1e6:10.1f} MB")
    for title, losses in (("SI-SDR", sisdr_losses()), ("SNR", snr_losses())):
        for count in (2, 3, 4, 5, 8, 9, 12):
            runs = {name: step(loss, *noisy(count, 10, device)) for name, loss in losses.items()}
            race(f"PIT, {title}, {count} sources", runs, options.rounds)


def gradient(loss, estimates, targets):
    """Gradient of a scalar loss with respect to the estimates."""
    estimates = estimates.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(estimates, targets), estimates)[0]


def exact_sisdr(estimates, targets):
    """Zero-mean SI-SDR of matched signals by definition."""
    estimates, targets = (x - x.mean(-1, keepdim=True) for x in (estimates, targets))
    aim = (estimates * targets).sum(-1, keepdim=True) / targets.square().sum(-1, keepdim=True) * targets
    return -10 * torch.log10(aim.square().sum(-1) / (estimates - aim).square().sum(-1)).mean()


def exact_snr(estimates, targets):
    """SNR of matched signals by definition."""
    return -10 * torch.log10(targets.square().sum(-1) / (estimates - targets).square().sum(-1)).mean()


def exact_mixit(estimates, mixtures):
    """SNR of halves of the estimates beside their mixture."""
    return exact_snr(estimates.unflatten(1, (2, -1)).sum(2), mixtures)


def errors(title, losses, exact, prepare, device):
    """Print each loss's relative L2 error of the gradient beside float64's, per level."""
    levels = range(0, 81, 10)
    print(f"\nGradient, {title}: relative error in fp32 beside float64, estimates at 0 to 80 dB")
    print(f"  {'':44s}" + "".join(f"{level:9d}" for level in levels))
    rows = {name: [] for name in losses}
    for level in levels:
        estimates, targets, matched = prepare(level, device)
        reference = gradient(exact, estimates.double(), matched.double())
        for name, loss in losses.items():
            found = gradient(loss, estimates, targets).double()
            rows[name].append(float((found - reference).norm() / reference.norm()))
    for name, row in rows.items():
        print(f"  {name:44s}" + "".join(f"{value:9.0e}" for value in row))


def separated(level, device):
    """Three estimates at a level, three targets, and these in the order of the estimates."""
    estimates, targets = noisy(3, level, device)
    return estimates, targets, targets.roll(1, 1)


def remixed(level, device):
    """Four estimates and the two mixtures that their halves are ``level`` dB from."""
    estimates, targets = noisy(4, level, device)
    mixtures = targets.roll(1, 1).unflatten(1, (2, -1)).sum(2)
    return estimates, mixtures, mixtures


def permutations(device):
    """Print how many of our permutations are wrong, over all levels."""
    wrong = total = 0
    for level in range(0, 81, 10):
        for count in (2, 5, 12):
            for loss in (NegSISDR(), NegSNR()):
                found = pit_loss(loss, *noisy(count, level, device))[1]
                wrong += int((found != torch.arange(1, count + 1, device=device) % count).any(1).sum())
                total += BATCH
    print(f"\nPermutations at 0 to 80 dB, 2, 5 and 12 sources: {wrong} of ours wrong out of {total}")


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--public_mixcycle", help="checkout of the public MixCycle code")
    parser.add_argument("--threads", type=int, help="by default as many as torch takes")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    if not options.public_mixcycle:
        print("public MixCycle: no --public_mixcycle CHECKOUT, rows left out")
    errors("PIT with SI-SDR, 3 sources", sisdr_losses(), exact_sisdr, separated, device)
    errors("PIT with SNR, 3 sources", snr_losses(), exact_snr, separated, device)
    errors("MixIT, 4 outputs", mixit_losses(options.public_mixcycle, None), exact_mixit, remixed, device)
    permutations(device)
    speed(options, device)


if __name__ == "__main__":
    main()
