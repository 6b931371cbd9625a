"""The command behind ``recipes/REAL-M/self_evaluate.py``: how good is a model on recordings without references?"""

import argparse
import os
from pathlib import Path

import torch
from tqdm import tqdm

from sb_ext.brain import si_snr_improvement
from sb_ext.data.loader import MixtureDataset, collate
from sb_ext.data.realm import AUDIO_FOLDER, REFERENCES, RealM, ReferencedRealM
from sb_ext.data.recordings import Recordings
from sb_ext.evaluation.averages import Averages
from sb_ext.evaluation.self_evaluation import SelfEvaluation
from sb_ext.inference import load_separator


def main(argv):
    """Self-evaluate a model on a folder: prints the figures, writes the files, gives the SelfEvaluationResult."""
    options = _parser().parse_args(argv)
    store_of = _store_of(options)
    separate, sample_rate = load_separator(options.model, options.device)
    evaluation = SelfEvaluation(
        repeats=options.repeats,
        segment=round(options.segment_seconds * sample_rate),
        batch_size=options.batch_size,
        seed=options.seed,
    )
    estimator = NeuralSnr(options.snr_estimator, options.device) if options.snr_estimator else None
    evaluation.start("TEST")
    for item in tqdm(MixtureDataset(store_of(sample_rate)), desc="Separating"):
        batch = collate([item])
        estimates = separate(batch.mixture).cpu()
        ordered = None if batch.sources is None else si_snr_improvement(estimates, batch)[1]
        evaluation.update(batch, estimates, ordered)
        if estimator:
            estimator.update(batch.mixture, estimates)
    result = evaluation.remix(separate, progress=True)
    if estimator:
        result.summary["neural_snr"] = estimator.averages.means()["snr"]
    result.write(options.out)
    print(describe(result.summary))
    print(f"Written: {Path(options.out, 'self_evaluation.json')} and self_evaluation.csv")
    return result


class NeuralSnr:
    """SpeechBrain's SNREstimator (Subakan et al. 2022) over a set: one mixture with its two estimates at a time.

    Arguments
    ---------
    source : str
        Folder or hub name: speechbrain/REAL-M-sisnr-estimator.
    device : str or None
    """

    def __init__(self, source, device=None):
        from speechbrain.inference.metrics import SNREstimator

        savedir = source if os.path.isdir(source) else None
        run_opts = {"device": device} if device else None
        self.model = SNREstimator.from_hparams(source, savedir=savedir, run_opts=run_opts)
        self.averages = Averages()

    @torch.no_grad()
    def update(self, mixture, estimates):
        """Estimate the SI-SNR, in dB, of the ``estimates [1, 2, T]`` of ``mixture [1, T]``."""
        values = self.model.estimate_batch(mixture, estimates.transpose(1, 2))
        for value in values.flatten().tolist():
            self.averages.add("snr", value)


def _store_of(options):
    """What opens the recordings at a sample rate; the folder is looked at first, before any model is loaded."""
    folder = Path(options.folder)
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no such folder; give one that holds wav or flac recordings")
    if (folder / AUDIO_FOLDER).is_dir():
        store = ReferencedRealM if (folder / REFERENCES).is_dir() else RealM
        return lambda rate: _at_rate(store(folder, options.split), rate)
    return lambda rate: Recordings(folder, rate)


def _at_rate(store, rate):
    if store.sample_rate != rate:
        raise SystemExit(f"{store.root}: REAL-M is at {store.sample_rate} Hz and the model takes {rate} Hz")
    return store


def describe(summary):
    """The figures as lines of text.

    Example
    -------
    >>> figure = {"mean": 3.0, "std": 1.0, "ci95": [2.5, 3.5]}
    >>> text = describe({"si_snri": figure, "same_index": 2.0, "cross_index": 4.0, "swap_gap": 2.0, "silent_share": 0.0,
    ...                  "plausible": True, "verdict": "plausible", "repeats": 2, "recordings": 9})
    >>> print(text.splitlines()[0])
    SI-SNRi by self-evaluation: 3.00 +- 1.00 dB, 95 % interval 2.50 to 3.50 (9 recordings, 2 repeats)
    """
    figure = summary["si_snri"]
    lines = [
        f"SI-SNRi by self-evaluation: {figure['mean']:.2f} +- {figure['std']:.2f} dB, "
        f"95 % interval {figure['ci95'][0]:.2f} to {figure['ci95'][1]:.2f} "
        f"({summary['recordings']} recordings, {summary['repeats']} repeats)",
        f"same output index: {summary['same_index']:.2f} dB, different: {summary['cross_index']:.2f} dB, "
        f"swap gap {summary['swap_gap']:.2f} dB; silent parts: {100 * summary['silent_share']:.0f} %",
        f"verdict: {summary['verdict']}",
    ]
    if "ground_truth" in summary:
        truth = summary["ground_truth"]
        lines.append(f"ground truth: {truth['mean']:.2f} +- {truth['std']:.2f} dB")
    if "correlation" in summary:
        lines.append(f"correlation with the truth over recordings: {summary['correlation']:.2f}")
    if "neural_snr" in summary:
        lines.append(f"SpeechBrain's SNREstimator: {summary['neural_snr']:.2f} dB (SI-SNR, not an improvement)")
    return "\n".join(lines)


def _parser():
    parser = argparse.ArgumentParser(
        description="Estimate the SI-SNR improvement of a separator on recordings without references."
    )
    parser.add_argument("model", help="an experiment's output folder, a model folder, or a hub name (SepFormer too)")
    parser.add_argument("folder", help="recordings: REAL-M, or any folder of wav and flac files")
    parser.add_argument("--repeats", type=int, default=100, help="how often the set is remixed (default: 100)")
    parser.add_argument("--segment_seconds", type=float, default=3.0, help="of each remixed piece (default: 3)")
    parser.add_argument("--split", default="valid", choices=["train", "valid"], help="of REAL-M (default: valid)")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    parser.add_argument("--snr_estimator", help="also report SpeechBrain's SNREstimator: its folder or hub name")
    parser.add_argument("--out", default=".", help="folder for self_evaluation.json and .csv (default: here)")
    return parser
