"""What can be measured beside SI-SNR improvement: hooks that a recipe lists under ``evaluations``."""

import math
import os

from sb_ext.assignment import mixing_matrices
from sb_ext.evaluation.averages import Averages
from sb_ext.evaluation.improvement import si_snr_gain
from sb_ext.evaluation.metrics import MetricTable
from sb_ext.losses import NegSISDR

BRIEF = ("si_snr", "sdr")
"""The metrics on further test sets."""


class Evaluation:
    """A measurement at validation, at test, or both.

    Arguments
    ---------
    stages : list of str
        VALID, TEST or both.
    every : int
        At validation, only in every so manieth epoch.
    """

    gives = ()
    """Names of the figures that it gives at validation; none where they are not known beforehand."""

    def __init__(self, stages=("TEST",), every=1):
        unknown = set(stages) - {"VALID", "TEST"}
        if unknown:
            raise ValueError(f"stages: expected VALID or TEST, received {sorted(unknown)}")
        self.stages, self.every = tuple(stages), every

    def wanted(self, stage, epoch):
        """Whether to measure in this stage and epoch."""
        return stage in self.stages and (epoch is None or epoch % self.every == 0)

    def prepare(self, train_data, checkpointer):
        """Hear of the training's MixtureDataset, and hand what must survive a restart to the checkpointer."""

    def start(self, stage):
        """Forget the last stage."""

    def update(self, batch, estimates, ordered):
        """Take a batch, its estimates ``[B, E, T]`` and, with references, those in the sources' order ``[B, C, T]``."""

    def finish(self, separate, stage):
        """Figures by name; ``separate`` turns mixtures ``[B, T]`` into estimates ``[B, C, T]``.

        With ``layers=True`` it gives a tuple of them, the last layer's last.
        """
        return {}

    def elsewhere(self, folder):
        """What to measure on a further test set, with its files in ``folder``; None for nothing."""
        return None

    def recorded(self, row):
        """Hear the learning curve's row of an epoch, once it is written; on the main process only."""


class Metrics(Evaluation):
    """SI-SNR, SDR, STOI and PESQ with their improvements, one row a mixture, into ``test_metrics.csv``.

    Arguments
    ---------
    folder : str
        The experiment's output folder.
    sample_rate : int
    metrics : list of str
    workers : int or None
        Processes for the slow ones.
    """

    def __init__(self, folder, sample_rate, metrics=("si_snr", "sdr", "stoi", "pesq"), workers=None):
        super().__init__(("TEST",))
        self.folder, self.sample_rate, self.metrics, self.workers = folder, sample_rate, tuple(metrics), workers

    def elsewhere(self, folder):
        """SI-SNR and SDR alone, which the papers tell of several test sets."""
        return Metrics(folder, self.sample_rate, [name for name in self.metrics if name in BRIEF], self.workers)

    def start(self, stage):
        """Begin a table."""
        self.table = MetricTable(self.metrics, self.sample_rate, self.workers)

    def update(self, batch, estimates, ordered):
        """Measure a batch; recordings without references are passed over."""
        if ordered is not None:
            self.table.update(batch.ids, batch.mixture, ordered, batch.sources, batch.lengths)

    def finish(self, separate, stage):
        """Write the table, give its summary under ``metrics``."""
        if not len(self.table):
            return {}
        self.table.write_csv(os.path.join(self.folder, "test_metrics.csv"))
        return {"metrics": self.table.summary()}


class MixITOracle(Evaluation):
    """MixIT's oracle evaluation: the outputs are summed to the sources by the best mixing matrix (Zhang et al. 2021).

    Gives ``si_snri_oracle`` in dB beside the plain figure, which takes the best C of the E outputs. Mixtures with a
    silent source are left out.
    """

    gives = ("si_snri_oracle",)

    def __init__(self, stages=("VALID", "TEST"), every=1):
        super().__init__(stages, every)

    def start(self, stage):
        """Begin a mean."""
        self.averages = Averages()

    def update(self, batch, estimates, ordered):
        """Choose each item's mixing matrix against its sources."""
        if batch.sources is None:
            return
        loss = NegSISDR()
        ways = mixing_matrices(batch.sources.shape[1], estimates.shape[1]).to(estimates.device)
        for row, length in enumerate(batch.lengths.tolist()):
            estimate = estimates[row : row + 1, :, :length].float()
            sources = batch.sources[row : row + 1, :, :length]
            best = loss.mixed_scores(estimate, sources, ways).mean(-1).argmin(-1)
            gain = float(si_snr_gain((ways[best] @ estimate)[0], batch.mixture[row, :length], sources[0]))
            if not math.isnan(gain):
                self.averages.add("si_snri_oracle", gain)

    def finish(self, separate, stage):
        """The mean."""
        return self.averages.means()
