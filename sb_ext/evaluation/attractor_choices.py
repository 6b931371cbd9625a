"""One trained model whose attractors are found in several ways, and how often it counts the speakers right."""

import math

import torch

from sb_ext.brain import si_snr_improvement
from sb_ext.evaluation.averages import Averages
from sb_ext.evaluation.hooks import Evaluation


class SeparatorMeans(Evaluation):
    """Means of figures that need the separator itself, over a test set and over further ones.

    Arguments
    ---------
    separator : sb_ext.contracts.Separator
    stages : list of str
    """

    def __init__(self, separator, stages=("TEST",)):
        super().__init__(stages)
        self.separator = separator

    def elsewhere(self, folder):
        """Measures further test sets as well."""
        return self

    def start(self, stage):
        """Begin the means."""
        self.averages = Averages()

    def finish(self, separate, stage):
        """The means."""
        return self.averages.means()


class AttractorChoices(SeparatorMeans):
    """SI-SNR improvement under other choices of attractors than the recipe's own: ``si_snri_spherical`` and so on.

    Arguments
    ---------
    separator : sb_ext.separators.AttractorMasking
    choices : list of str, optional
        Of the separator's attractors; by default all that serve at inference, ``ideal`` among them.
    stages : list of str
    """

    def __init__(self, separator, choices=None, stages=("TEST",)):
        super().__init__(separator, stages)
        unknown = set(choices or ()) - set(separator.attractors)
        if unknown:
            raise ValueError(f"choices: expected some of {', '.join(separator.attractors)}, received {sorted(unknown)}")
        self.choices = [name for name in choices or separator.attractors if name != "unrolled"]

    @torch.no_grad()
    def update(self, batch, estimates, ordered):
        """Separate once more in each way."""
        if batch.sources is None:
            return
        embedded, count = self.separator.embed(batch.mixture, batch.sources), batch.sources.shape[1]
        for name in self.choices:
            if name == "fixed" and count != len(self.separator.attractors["fixed"].mean):
                continue
            sources = self.separator.separate(embedded, name, count).sources
            for gain in si_snr_improvement(sources.float(), batch)[0].tolist():
                if not math.isnan(gain):
                    self.averages.add(f"si_snri_{name}", gain)


class SpeakerCounting(SeparatorMeans):
    """How often the estimated number of speakers is the true one: ``count_accuracy``, and ``count_mean``.

    Arguments
    ---------
    separator : sb_ext.contracts.Separator
        One that chooses the number of its sources.
    stages : list of str
    """

    gives = ("count_accuracy", "count_mean")

    @torch.no_grad()
    def update(self, batch, estimates, ordered):
        """Count the speakers of a batch, each item cut to its own length."""
        if batch.sources is None:
            return
        for row, length in enumerate(batch.lengths.tolist()):
            count = int(self.separator.count(batch.mixture[row : row + 1, :length]))
            self.averages.add("count_accuracy", float(count == batch.sources.shape[1]))
            self.averages.add("count_mean", float(count))
