"""MixCycle's teachers: the student itself, and its average."""

import pytest
import torch
from torch import nn

from sb_ext.contracts import Separation, Separator
from sb_ext.filterbanks import Stft
from sb_ext.losses import NegSNR
from sb_ext.networks import TemporalConvNet
from sb_ext.objectives import MixCycle, MixPIT
from sb_ext.objectives.switch import AfterEpochs
from sb_ext.objectives.teacher import AveragedTeacher, CurrentTeacher, HalfPrecision
from sb_ext.separators import SpectralMasking

LOSS = NegSNR(30)


class Student(Separator):
    """Splits the mixture by learned shares of it."""

    def __init__(self):
        super().__init__()
        self.shares = nn.Parameter(torch.linspace(0.2, 1.0, 2))

    def forward(self, mixture, *, oracle=None, num_sources=None, layers=False):
        return Separation(self.shares[:, None] * mixture[:, None])


def cycle(teacher):
    """MixCycle past its warm-up."""
    return MixCycle(MixPIT(LOSS), LOSS, switch=AfterEpochs(0), teacher=teacher)


def test_the_current_teacher_is_the_student(tiny_separator, make_batch):
    separator, batch = tiny_separator(), make_batch()
    estimates = CurrentTeacher()(separator, batch.mixture)
    assert estimates.equal(separator(batch.mixture).sources) and not estimates.requires_grad


def test_half_precision_is_the_teachers_alone(tiny_separator, make_batch):
    """The student sees single precision, whose gradients a lower one would change."""
    separator, batch = tiny_separator(), make_batch()
    estimates, exact = HalfPrecision()(separator, batch.mixture), CurrentTeacher()(separator, batch.mixture)
    assert estimates.dtype == torch.float32 and not estimates.requires_grad
    error = (estimates - exact).square().sum() / exact.square().sum()
    assert 0 < error < 1e-4
    seen = []
    separator.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    cycle(HalfPrecision())(separator, batch, 1).loss.mean().backward()
    assert seen == [True, False]


@pytest.mark.parametrize("teacher", [CurrentTeacher, HalfPrecision])
def test_in_bf16_the_student_keeps_its_gradients(teacher, make_batch):
    """The teacher's pass casts the same weights without gradient, and autocast remembers casts."""
    student, gradients = SpectralMasking(Stft(64, 16), TemporalConvNet(33, 2, 8, 16, 3, 2, 1)), []
    for enabled in (False, True):
        student.zero_grad()
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = cycle(teacher())(student, make_batch(), 1).loss.mean()
        loss.backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in student.parameters()]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_half_precision_of_an_averaged_teacher_is_its_average():
    student, teacher = Student(), HalfPrecision(AveragedTeacher(decay=0.5))
    teacher.prepare(student)
    teacher(student, torch.ones(1, 4))
    student.shares.data.add_(1.0)
    torch.testing.assert_close(teacher(student, torch.ones(1, 4))[0, :, 0], torch.tensor([0.7, 1.5]))
    assert any(name.startswith("teacher.average") for name in teacher.state_dict())


def test_the_averaged_teacher_follows_like_a_moving_average():
    student, teacher = Student(), AveragedTeacher(decay=0.75)
    teacher.prepare(student)
    student.shares.data.copy_(torch.tensor([3.0, 4.0]))  # a checkpoint loaded after the copy was made
    teacher.follow(student)
    assert teacher.average.shares.tolist() == [3.0, 4.0]
    expected = student.shares.detach().clone()
    for _ in range(4):
        student.shares.data += torch.rand(2)
        expected = 0.75 * expected + 0.25 * student.shares.detach()
        estimates = teacher(student, torch.ones(1, 3))
    torch.testing.assert_close(teacher.average.shares, expected)
    torch.testing.assert_close(estimates[0], expected[:, None].expand(-1, 3))
    assert not estimates.requires_grad and not any(p.requires_grad for p in teacher.parameters())


def test_the_averaged_teacher_follows_a_student_inside_ddp():
    class Wrapped(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    student, teacher = Student(), AveragedTeacher(decay=0.5)
    teacher.follow(Wrapped(student))
    student.shares.data += 1
    teacher.follow(Wrapped(student))
    torch.testing.assert_close(teacher.average.shares, student.shares - 0.5)


def test_the_averaged_teacher_is_saved_with_the_objective_and_moves_with_it(make_batch):
    student, batch = Student(), make_batch()
    objective = cycle(teacher=AveragedTeacher(decay=0.5))
    for _ in range(2):
        student.shares.data += 1
        objective(student, batch, 1)
    state = objective.state_dict()
    assert "teacher.average.shares" in state
    restored = cycle(teacher=AveragedTeacher(decay=0.5))
    restored.prepare(Student())
    restored.load_state_dict(state)
    for one in (objective, restored):  # a resumed average goes on, it does not start anew
        one(student, batch, 1)
    assert not restored.teacher.average.shares.equal(student.shares)
    assert restored.teacher.average.shares.equal(objective.teacher.average.shares)
    assert objective.to(torch.float64).teacher.average.shares.dtype == torch.float64


def test_the_averaged_teacher_knows_what_the_warm_up_taught(make_batch):
    """After the switch the teacher is an average of the warmed-up student, not of the random weights from before."""
    student, batch = Student(), make_batch()
    objective = MixCycle(MixPIT(LOSS), LOSS, switch=AfterEpochs(1), teacher=AveragedTeacher(decay=0.9))
    objective.prepare(student)
    student.shares.data += 5  # what was learned
    for _ in range(60):
        objective(student, batch, 1)
    objective(student, batch, 2)
    assert (objective.teacher.average.shares - student.shares).abs().max() < 0.5
