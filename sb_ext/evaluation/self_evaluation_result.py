"""What a self-evaluation measured, and what follows from it."""

import csv
import io
import os

import numpy as np

from sb_ext.atomic import write_json, write_text
from sb_ext.evaluation.plausibility import judge


class SelfEvaluationResult:
    """Every measured part of every remixture, and what follows from them.

    Arguments
    ---------
    names : list of str
        The recordings.
    truth : list of float
        Their true SI-SNR improvements in dB, NaN beside a silent source; empty without references.
    repeats : int
    improvement, audible, same, donor : np.ndarray
        ``[P]``: dB, whether the part could be measured, whether its new mixture holds one output index only, and the
        number of the recording that it came from.
    """

    def __init__(self, names, truth, repeats, improvement, audible, same, donor):
        self.names, self.truth = names, truth
        self.improvement, self.audible, self.same, self.donor = improvement, audible, same, donor
        self.summary = self._summary(repeats)

    def mean_of(self, chosen):
        """Mean improvement of the audible parts among ``chosen [P]``, in dB; NaN for none."""
        chosen = chosen & self.audible
        return float(self.improvement[chosen].mean()) if chosen.any() else float("nan")

    def per_recording(self, chosen):
        """``[N]``: mean improvement by recording, in dB; NaN where nothing of it was measured."""
        chosen = chosen & self.audible
        sums = np.bincount(self.donor[chosen], self.improvement[chosen], len(self.names))
        counts = np.bincount(self.donor[chosen], minlength=len(self.names))
        return np.divide(sums, counts, out=np.full(len(self.names), np.nan), where=counts > 0)

    def _summary(self, repeats):
        everything = np.ones_like(self.same)
        figures = self.per_recording(everything)
        measured = self.improvement[self.audible]
        summary = {
            "si_snri": {
                "mean": self.mean_of(everything),
                "std": float(measured.std()) if len(measured) else float("nan"),
                "ci95": _bootstrap(figures[np.isfinite(figures)]),
            },
            "same_index": self.mean_of(self.same),
            "cross_index": self.mean_of(~self.same),
            "silent_share": float(1 - self.audible.mean()) if len(self.audible) else float("nan"),
            "repeats": repeats,
            "recordings": len(self.names),
            "unmeasured": int(np.isnan(figures).sum()),
        }
        summary |= judge(summary)
        truth = np.array(self.truth)
        if np.isfinite(truth).any():
            both = np.isfinite(figures) & np.isfinite(truth)
            summary["ground_truth"] = {"mean": float(np.nanmean(truth)), "std": float(np.nanstd(truth))}
            if both.sum() > 2:
                summary["correlation"] = float(np.corrcoef(figures[both], truth[both])[0, 1])
        return summary

    def figures(self):
        """The figures that a learning curve keeps."""
        summary = self.summary
        return {
            "self_evaluation": summary["si_snri"]["mean"],
            "same_index": summary["same_index"],
            "swap_gap": summary["swap_gap"],
            "plausible": float(summary["plausible"]),
            "guarded_self_evaluation": summary["guarded"],
        }

    def write(self, folder):
        """Write ``self_evaluation.json`` and one row a recording into ``self_evaluation.csv``."""
        write_json(os.path.join(folder, "self_evaluation.json"), self.summary)
        everything = np.ones_like(self.same)
        columns = [self.per_recording(chosen) for chosen in (everything, self.same, ~self.same)]
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["id", "self_evaluation", "same_index", "cross_index", "ground_truth"])
        truth = self.truth or [""] * len(self.names)
        for name, *values, true in zip(self.names, *columns, truth, strict=True):
            figures = ["" if np.isnan(value) else f"{value:.4f}" for value in values]
            writer.writerow([name, *figures, "" if true != true else true])
        write_text(os.path.join(folder, "self_evaluation.csv"), text.getvalue())


def _bootstrap(values, draws=2000):
    """95 % interval of the mean over recordings, by resampling them."""
    if len(values) < 2:
        return [float("nan"), float("nan")]
    picks = np.random.default_rng(0).integers(len(values), size=(draws, len(values)))
    return [float(bound) for bound in np.percentile(values[picks].mean(1), [2.5, 97.5])]
