"""Are remixtures easier than mixtures? ``python benchmarks/remixes.py --librispeech_folder FOLDER MODEL...``.

Self-evaluation measures a separator on remixtures of its own estimates. Where it is above the truth, remixtures may be
easier for anyone, or easier for the separator that made them. The ideal ratio mask tells: it knows the parts of both.
"""

import argparse
from pathlib import Path

import torch
from inference import improvement, mixtures

from sb_ext.filterbanks import Stft
from sb_ext.inference import load_separator
from sb_ext.mixing import RandomIndexPairing
from sb_ext.separators.ideal import IdealRatioMask

# A remixture with a part so far below the other is left out.
FAINT_DB = 30


def ideal(sources):
    """The ideal ratio mask's estimates of ``[B, 2, T]``."""
    return IdealRatioMask(Stft())(sources.sum(1), oracle=sources).sources


@torch.no_grad()
def main():
    """Print one line a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="an output folder, a model folder, or a hub name")
    parser.add_argument("--librispeech_folder", required=True, help="its test speakers are mixed")
    parser.add_argument("--mixtures", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    print(f"{options.mixtures} mixtures of {options.seconds} s; SI-SNR improvement in dB")
    print(f"  {'':44s} mixtures   remixtures   ideal mask: mixtures   remixtures")
    for model in options.models:
        separate, rate = load_separator(model, "cpu")
        made = mixtures(options.librispeech_folder, rate, options.mixtures, options.seconds)
        sources = torch.cat(list(made))
        estimates = separate(sources.sum(1))
        torch.manual_seed(0)
        parts = RandomIndexPairing()(estimates)
        power = parts.square().sum(-1)
        parts = parts[power.amax(1) < 10 ** (FAINT_DB / 10) * power.amin(1)]
        name = Path(model).resolve().name[:44]
        figures = improvement(estimates, sources), improvement(separate(parts.sum(1)), parts)
        print(f"  {name:44s} {figures[0]:8.2f}   {figures[1]:10.2f}   ", end="")
        print(f"{improvement(ideal(sources), sources):20.2f}   {improvement(ideal(parts), parts):10.2f}", flush=True)


if __name__ == "__main__":
    main()
