"""Whose estimates MixCycle remixes."""

import copy

import torch
from torch import nn


class CurrentTeacher(nn.Module):
    """The student itself, without gradient: its weights one step before (the paper's theta' = theta^(tau - 1))."""

    def prepare(self, separator):
        """Nothing to make ready."""

    def forward(self, separator, mixture):
        """``mixture [B, T]`` to estimates ``[B, C, T]``."""
        with torch.no_grad():
            return separator(mixture).sources


class AveragedTeacher(nn.Module):
    """A moving average of the student's weights (mean teacher, Tarvainen and Valpola 2017).

    MixCycle's teacher and student can run away together within a hundred steps: a small shift of the teacher's split
    becomes the student's target, and at once the teacher's again. The average slows that loop down; together with
    SameIndexPairing it kept MixCycle sound where either alone did not (LOG.md).

    Arguments
    ---------
    decay : float
        Share of the old average that a step keeps.

    Example
    -------
    >>> student, teacher = nn.Linear(1, 1), AveragedTeacher(decay=0.5)
    >>> teacher.follow(student)
    >>> before = student.weight.item()
    >>> _ = student.weight.data.add_(1.0)
    >>> teacher.follow(student)
    >>> round(teacher.average.weight.item() - before, 4)
    0.5
    """

    def __init__(self, decay=0.99):
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay: expected 0 <= decay < 1, received {decay}")
        self.decay, self.average = decay, None
        # The warm-up moves the student before the average has begun.
        self.register_buffer("started", torch.tensor(False))

    def prepare(self, separator):
        """Make room for the average, a copy of the separator, before checkpoints are read."""
        self.average = copy.deepcopy(separator).requires_grad_(False)

    @torch.no_grad()
    def follow(self, separator):
        """Move the average towards the student, which may be wrapped by DDP; the first time, all the way."""
        student = getattr(separator, "module", separator)
        if self.average is None:
            self.prepare(student)
        decay = self.decay if self.started else 0.0
        self.started.fill_(True)
        for old, new in zip(self.average.parameters(), student.parameters(), strict=True):
            old.lerp_(new.detach().to(old.device), 1 - decay)

    def forward(self, separator, mixture):
        """``mixture [B, T]`` to estimates ``[B, C, T]``; the average follows the student by one step first."""
        self.follow(separator)
        with torch.no_grad():
            return self.average(mixture).sources


class HalfPrecision(nn.Module):
    """Another teacher, computed in bfloat16 while the student stays in its own precision.

    Masks have half the bits, spectra and sums have all: for the paper's model, untrained, what that changes of the
    estimates is about 59 dB below them (``benchmarks/mixcycle_step.py`` prints it).

    Arguments
    ---------
    teacher : CurrentTeacher or AveragedTeacher, optional
        The paper's by default.

    Example
    -------
    >>> from sb_ext.contracts import Separation
    >>> student = lambda mixture: Separation((mixture @ torch.ones(9, 2)).unsqueeze(1))
    >>> HalfPrecision()(student, torch.full((1, 9), 1.001)).tolist()
    [[[9.0, 9.0]]]
    """

    def __init__(self, teacher=None):
        super().__init__()
        self.teacher = CurrentTeacher() if teacher is None else teacher

    def prepare(self, separator):
        """See the teacher."""
        self.teacher.prepare(separator)

    def forward(self, separator, mixture):
        """``mixture [B, T]`` to estimates ``[B, C, T]`` in single precision."""
        with torch.autocast(mixture.device.type, torch.bfloat16):
            return self.teacher(separator, mixture).float()
