"""Cyclic mixture permutation invariant training (MixCycle; Karamatli and Kirbiz 2023, section III-B)."""

import torch

from sb_ext.assignment import pit_loss
from sb_ext.contracts import LossReport, Objective
from sb_ext.mixing import RandomIndexPairing
from sb_ext.objectives.switch import AfterEpochs
from sb_ext.objectives.teacher import CurrentTeacher


class MixCycle(Objective):
    """A teacher separates the mixtures, its estimates are remixed, and the student separates those (eq. 4 to 8).

    Never reads references. As in the paper with the default pairing, switch and teacher.

    Arguments
    ---------
    warmup : Objective
        Trained with until the switch: MixPIT.
    loss : sb_ext.losses.NegSNR or alike
    pairing : RandomIndexPairing or SameIndexPairing, optional
        How the teacher's estimates are remixed.
    switch : AfterEpochs or WhenSound, optional
        When the warm-up ends; 50 epochs by default.
    teacher : CurrentTeacher or AveragedTeacher, optional
        Whose estimates are remixed; by default the student's own, one step before.
    target_floor : float or None
        New mixtures with a part this many dB below the mixture are left out of the step: a nearly silent target makes
        the SNR explode. None keeps all.

    Example
    -------
    >>> from sb_ext.contracts import MixtureBatch, Separation
    >>> from sb_ext.losses import NegSNR
    >>> from sb_ext.objectives import MixPIT
    >>> batch = MixtureBatch(list("abc"), torch.randn(3, 400), None, None, torch.full((3,), 400))
    >>> separator = lambda mixture: Separation(torch.stack([mixture] * 2, 1) / 2)
    >>> objective = MixCycle(MixPIT(NegSNR(30)), NegSNR(30), switch=AfterEpochs(1))
    >>> [objective(separator, batch, epoch).log["cycle"] for epoch in (1, 2)]
    [0.0, 1.0]
    """

    def __init__(self, warmup, loss, pairing=None, switch=None, teacher=None, target_floor=None):
        super().__init__()
        self.warmup, self.loss, self.target_floor = warmup, loss, target_floor
        self.pairing = RandomIndexPairing() if pairing is None else pairing
        self.switch = AfterEpochs(50) if switch is None else switch
        self.teacher = CurrentTeacher() if teacher is None else teacher

    def forward(self, separator, batch, epoch):
        """See Objective; the log says which phase the step was in."""
        if not self.switch.is_over(epoch):
            report = self.warmup(separator, batch, epoch)
            report.log["cycle"] = 0.0
            return report
        with torch.no_grad():
            targets = self.pairing(self.teacher(separator, batch.mixture))
            mixture = targets.sum(1)
        loss, _ = pit_loss(self.loss, separator(mixture).sources, targets)
        return LossReport(loss, self._audible(targets, mixture), {"cycle": 1.0})

    def prepare(self, separator):
        """Let warm-up and teacher make room for copies; see Objective."""
        super().prepare(separator)
        self.warmup.prepare(separator)
        self.teacher.prepare(separator)

    def on_validation(self, stats, epoch):
        """Let the switch hear the validation figures."""
        self.switch.on_validation(stats, epoch)

    def _audible(self, targets, mixture):
        """``[B]``: whether all parts of a new mixture are above the floor."""
        if self.target_floor is None:
            return torch.ones(len(mixture), dtype=torch.bool, device=mixture.device)
        floor = 10 ** (self.target_floor / 10) * mixture.square().sum(-1, keepdim=True)
        return (targets.square().sum(-1) > floor).all(-1)
