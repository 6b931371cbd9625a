"""How much of the other voices is left in each estimate."""

import os

import torch

from sb_ext.evaluation.hooks import Evaluation
from sb_ext.evaluation.metrics import summarize, write_rows

LIMIT_DB = 100.0
# Below this share of its power that the others do not explain, a source is the sum of others.
ALIKE = 1e-10


def leakage(estimates, sources):
    """Power of what is left of the other sources in each estimate, beside what is there of its own, in dB.

    The estimate is projected on all sources at once (least squares, zero mean), so that what two voices have in common
    by chance is not taken for leakage: ``10 log10(|sum_{j != i} a_ij s_j|^2 / |a_ii s_i|^2)``. Scale does not matter.

    Arguments
    ---------
    estimates, sources : torch.Tensor
        ``[C, T]``, in the same order.

    Returns
    -------
    torch.Tensor
        ``[C]``, float64, lower is better, within +-100 dB; NaN where a source is silent or a sum of others.

    Example
    -------
    >>> sources = torch.tensor([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]])
    >>> leakage(torch.stack([sources[0] + 0.1 * sources[1], sources[1]]), sources).round().tolist()
    [-20.0, -100.0]
    """
    estimates, sources = (
        signals.double() - signals.double().mean(-1, keepdim=True) for signals in (estimates, sources)
    )
    products = sources @ sources.T
    factor, failed = torch.linalg.cholesky_ex(products)
    distinct = factor.diagonal().square() > ALIKE * products.diagonal()
    if failed or not distinct.all():
        return torch.full_like(products[0], float("nan"))
    amounts = torch.cholesky_solve(sources @ estimates.T, factor).T
    own = amounts.diagonal().square() * products.diagonal()
    others = amounts - torch.diag(amounts.diagonal())
    left = ((others @ products) * others).sum(-1).clamp_min(0)
    return (10 * torch.log10(left / own)).nan_to_num(LIMIT_DB, LIMIT_DB, -LIMIT_DB).clamp(-LIMIT_DB, LIMIT_DB)


class Leakage(Evaluation):
    """The leakage of every mixture, the mean over its sources, and how much lower it is than in the mixture itself.

    Gives ``leakage`` and ``leakage_reduction`` in dB with their standard errors; at a test, one row a mixture goes into
    ``test_leakage.csv``. Mixtures with a silent source are left out of the means.

    Arguments
    ---------
    folder : str
        The experiment's output folder.
    stages, every
        As Evaluation's.
    """

    gives = ("leakage", "leakage_reduction")

    def __init__(self, folder, stages=("TEST",), every=1):
        super().__init__(stages, every)
        self.folder = folder

    def start(self, stage):
        """Begin a table."""
        self.rows = []

    def update(self, batch, estimates, ordered):
        """Measure a batch; recordings without references, or of one source, are passed over."""
        if ordered is None or batch.sources.shape[1] < 2:
            return
        for row, length in enumerate(batch.lengths.tolist()):
            sources = batch.sources[row, :, :length].to(ordered.device)
            mixtures = batch.mixture[row, :length].to(sources).expand_as(sources)
            after, before = leakage(ordered[row, :, :length], sources), leakage(mixtures, sources)
            figures = (after.mean().item(), (before - after).mean().item())
            self.rows.append({"id": batch.ids[row], **dict(zip(self.gives, figures, strict=True))})

    def finish(self, separate, stage):
        """Write the table, give the means."""
        if not self.rows:
            return {}
        summaries = {name: summarize([row[name] for row in self.rows]) for name in self.gives}
        figures = {name: summary["mean"] for name, summary in summaries.items()}
        if stage == "TEST":
            write_rows(os.path.join(self.folder, "test_leakage.csv"), self.rows)
            figures |= {f"{name}_sem": summary["sem"] for name, summary in summaries.items()}
        return figures
