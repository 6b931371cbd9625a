"""Self-evaluation: an SI-SNR improvement without references (MixCycle, section IV-B), and what keeps it honest.

The model's own estimates are remixed to new mixtures, whose parts are therefore known, and the model is measured on
those. A separator whose split belongs to the output instead of the speaker scores high as well: one that cuts the
band in two, say, finds its low bands and high bands again in every remixed pair. See plausibility.py for the figures
that tell.
"""

import torch
from tqdm import trange

from sb_ext.assignment import best_permutation, reorder
from sb_ext.evaluation.hooks import Evaluation
from sb_ext.evaluation.improvement import si_snr_gain
from sb_ext.evaluation.self_evaluation_result import SelfEvaluationResult
from sb_ext.losses import NegSISDR
from sb_ext.mixing import RandomIndexPairing

# A part this far below its new mixture counts as silent: its SI-SNR says nothing.
SILENCE_DB = -40.0


class SelfEvaluation(Evaluation):
    """SI-SNR improvement of a separator on remixtures of its own estimates.

    Arguments
    ---------
    repeats : int
        How often the whole set is remixed: 100 in the paper, 20 for validation on REAL-M.
    segment : int
        Samples of each remixed piece; shorter recordings are padded.
    folder : str, optional
        Where to write ``self_evaluation.json`` and ``self_evaluation.csv`` at test.
    batch_size : int
        Recordings that are remixed with one another, and separated at once.
    seed : int
    stages : list of str
        VALID, TEST or both.
    every : int
        At validation, only in every so manieth epoch.

    Example
    -------
    >>> recordings = {name: torch.randn(2, 4000) for name in "abcd"}
    >>> halves = lambda mixture: torch.stack([mixture, mixture], 1) / 2
    >>> result = SelfEvaluation(repeats=2, segment=2000).evaluate(halves, {k: v.sum(0) for k, v in recordings.items()})
    >>> abs(result.summary["si_snri"]["mean"]) < 1e-3
    True
    """

    gives = ("self_evaluation", "same_index", "swap_gap", "plausible", "guarded_self_evaluation")

    def __init__(self, repeats=100, segment=24000, folder=None, batch_size=64, seed=0, stages=("TEST",), every=1):
        super().__init__(stages, every)
        if repeats < 1 or batch_size < 2 or segment < 1:
            raise ValueError(
                "SelfEvaluation: expected repeats >= 1, batch_size >= 2 and segment >= 1, "
                f"received {repeats}, {batch_size} and {segment}"
            )
        self.repeats, self.segment, self.folder = repeats, int(segment), folder
        self.batch_size, self.seed = batch_size, seed

    def start(self, stage):
        """Forget the recordings of the last stage."""
        self.names, self.estimates, self.truth = [], [], []

    def update(self, batch, estimates, ordered):
        """Keep the estimates of a batch, and how good they are where references are known."""
        for row, (name, length) in enumerate(zip(batch.ids, batch.lengths.tolist(), strict=True)):
            self.names.append(name)
            self.estimates.append(estimates[row, :, :length].detach().to("cpu", torch.float32))
            if ordered is not None:
                signals = ordered[row, :, :length], batch.mixture[row, :length], batch.sources[row, :, :length]
                self.truth.append(float(si_snr_gain(*signals)))

    def finish(self, separate, stage):
        """Remix, separate, measure; figures for the curve, and the files at test."""
        if not self.names or len(self.names) < self.estimates[0].shape[0]:
            return {}
        result = self.remix(separate, progress=stage == "TEST")
        if stage == "TEST" and self.folder is not None:
            result.write(self.folder)
        return result.figures()

    def evaluate(self, separate, recordings):
        """Self-evaluate on recordings at hand.

        Arguments
        ---------
        separate : callable
            ``[B, T]`` to ``[B, C, T]``.
        recordings : dict
            Name to ``[T]``.

        Returns
        -------
        SelfEvaluationResult
        """
        self.start("TEST")
        for name, wave in recordings.items():
            self.names.append(name)
            self.estimates.append(separate(wave.unsqueeze(0))[0].detach().to("cpu", torch.float32))
        return self.remix(separate)

    def remix(self, separate, progress=False):
        """Remix, separate and measure what ``update`` has taken; a SelfEvaluationResult."""
        parts = []
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(self.seed)
            for _ in trange(self.repeats, desc="Self-evaluation", disable=not progress):
                for items in self._batches():
                    parts.append(self._measure(separate, items))
        columns = [torch.cat(column).numpy() for column in zip(*parts, strict=True)]
        return SelfEvaluationResult(self.names, self.truth, self.repeats, *columns)

    def _batches(self):
        """All recordings in random order, in batches of nearly equal size, none smaller than the outputs need."""
        order = torch.randperm(len(self.names))
        count = max(1, min(-(-len(order) // self.batch_size), len(order) // self.estimates[0].shape[0]))
        return [part.tolist() for part in order.tensor_split(count)]

    def _crop(self, estimate):
        length = estimate.shape[-1]
        if length <= self.segment:
            return torch.nn.functional.pad(estimate, (0, self.segment - length))
        start = int(torch.randint(length - self.segment + 1, ()))
        return estimate[:, start : start + self.segment]

    def _measure(self, separate, items):
        """One remixing of a batch: improvement, audible, same index and donor of every part, each ``[P]``."""
        crops = torch.stack([self._crop(self.estimates[item]) for item in items])
        donor, index = RandomIndexPairing().draw(*crops.shape[:2])
        targets = crops[donor, index]
        mixture = targets.sum(1)
        estimates = separate(mixture).to("cpu", torch.float32)
        loss = NegSISDR()
        estimates = reorder(estimates, best_permutation(loss.scores(estimates, targets)))
        improvement = loss(mixture.unsqueeze(1).expand_as(targets), targets) - loss(estimates, targets)
        floor = 10 ** (SILENCE_DB / 10) * mixture.square().sum(-1, keepdim=True)
        audible = (targets.square().sum(-1) > floor) & (mixture.square().sum(-1, keepdim=True) > 0)
        same = (index == index[:, :1]).all(-1, keepdim=True).expand_as(index)
        names = torch.tensor(items)[donor]
        # A recording that is silent here is nothing to be remixed: what it meets would be compared with itself.
        kept = (crops != 0).any(-1).any(-1)[donor].all(-1)
        return tuple(column[kept].flatten() for column in (improvement, audible, same, names))
