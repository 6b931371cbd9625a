"""Whose estimates MixCycle remixes."""

import copy

import torch
from torch import nn


class CurrentTeacher(nn.Module):
    """The student itself, without gradient: its weights one step before (the paper's theta' = theta^(tau - 1))."""

    def forward(self, separator, mixture):
        """``mixture [B, T]`` to estimates ``[B, C, T]``."""
        with torch.no_grad():
            return separator(mixture).sources


class AveragedTeacher(nn.Module):
    """A moving average of the student's weights (mean teacher, Tarvainen and Valpola 2017).

    Arguments
    ---------
    separator : Separator
        The student; copied.
    decay : float
        Share of the old average that a step keeps.

    Example
    -------
    >>> student = nn.Linear(1, 1)
    >>> teacher = AveragedTeacher(student, decay=0.5)
    >>> teacher.follow(student)
    >>> before = student.weight.item()
    >>> _ = student.weight.data.add_(1.0)
    >>> teacher.follow(student)
    >>> round(teacher.average.weight.item() - before, 4)
    0.5
    """

    def __init__(self, separator, decay=0.999):
        super().__init__()
        self.average = copy.deepcopy(separator).requires_grad_(False)
        self.decay = decay
        # The student may get its weights after this copy was made.
        self.register_buffer("started", torch.tensor(False))

    @torch.no_grad()
    def follow(self, separator):
        """Move the average towards the student, which may be wrapped by DDP."""
        student = getattr(separator, "module", separator)
        decay = self.decay if self.started else 0.0
        self.started.fill_(True)
        for old, new in zip(self.average.parameters(), student.parameters(), strict=True):
            old.lerp_(new.detach().to(old.device), 1 - decay)

    def forward(self, separator, mixture):
        """``mixture [B, T]`` to estimates ``[B, C, T]``; the average follows the student by one step first."""
        self.follow(separator)
        with torch.no_grad():
            return self.average(mixture).sources
