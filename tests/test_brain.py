"""The Brain step by step: which rows count, when weights move, what random numbers depend on."""

from types import SimpleNamespace

import pytest
import speechbrain as sb
import torch
from torch import nn

from sb_ext.brain import SeparationBrain, si_snr_improvement
from sb_ext.contracts import LossReport, MixtureBatch, Objective, Separation, Separator
from sb_ext.evaluation.hooks import MixITOracle
from sb_ext.losses import NegSNR
from sb_ext.objectives import PIT, MixCycle, MixIT, MixPIT
from sb_ext.objectives.switch import AfterEpochs


class Shares(Separator):
    """Learned shares of the mixture."""

    def __init__(self):
        super().__init__()
        self.shares = nn.Parameter(torch.tensor([0.3, 0.6]))

    def forward(self, mixture, *, oracle=None, num_sources=None, layers=False):
        return Separation(self.shares[:, None] * mixture[:, None])


class Scripted(Objective):
    """The mean square of the estimates, with rows dropped or spoilt as told."""

    def __init__(self, dropped=(), spoilt=(), bad=float("nan")):
        super().__init__()
        self.dropped, self.spoilt, self.bad = list(dropped), list(spoilt), bad

    def forward(self, separator, batch, epoch):
        loss = separator(batch.mixture).sources.square().mean((1, 2))
        keep = torch.ones(len(batch), dtype=torch.bool)
        keep[self.dropped] = False
        marks = torch.zeros(len(batch))
        marks[self.spoilt] = self.bad
        return LossReport(loss + marks, keep, {"seen": 2.0})


def make_brain(objective, separator=None, momentum=0.0, **run_opts):
    hparams = {
        "objective": objective, "seed": 1, "select_by": "si_snri", "evaluations": [],
        "train_data": SimpleNamespace(set_epoch=lambda epoch: None),
        "recorder": SimpleNamespace(epoch_counter=SimpleNamespace(current=0)),
    }  # fmt: skip
    run_opts = {"device": "cpu", "max_grad_norm": 1e9, "noprogressbar": True, **run_opts}
    brain = SeparationBrain(
        {"separator": separator or Shares()}, lambda p: torch.optim.SGD(p, lr=0.1, momentum=momentum), hparams, run_opts
    )
    brain.on_fit_start()
    brain.on_stage_start(sb.Stage.TRAIN, epoch=1)
    brain.modules.train()
    return brain


def fit(brain, *batches):
    for batch in batches:
        brain.step += 1
        loss = brain.fit_batch(batch)
    return loss


def shares(brain):
    return brain.separator.shares.detach().clone()


@pytest.fixture
def quick_compile(monkeypatch):
    """Tracing as ever, and no code generation, which takes half a minute; gives what has been compiled."""
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **options: compile_(module, backend=backend))
    return compiled


def rows_of(batch, rows):
    picked = [tensor[rows] for tensor in (batch.mixture, batch.sources)]
    return MixtureBatch([batch.ids[row] for row in rows], *picked, None, batch.lengths[rows])


def test_only_kept_rows_enter_the_step(make_batch):
    batch = make_batch(size=4)
    some, reference = make_brain(Scripted(dropped=[1, 3])), make_brain(Scripted())
    loss = fit(some, batch)
    assert loss == pytest.approx(float(fit(reference, rows_of(batch, [0, 2]))))
    torch.testing.assert_close(shares(some), shares(reference))
    assert some.averages.means()["dropped"] == 0.5


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_row_whose_loss_is_not_finite_is_left_out_and_counted(bad, make_batch):
    batch = make_batch(size=4)
    some, reference = make_brain(Scripted(spoilt=[0], bad=bad)), make_brain(Scripted())
    loss = fit(some, batch)
    assert loss == pytest.approx(float(fit(reference, rows_of(batch, [1, 2, 3]))))
    torch.testing.assert_close(shares(some), shares(reference))
    assert some.averages.means()["nonfinite"] == 0.25 and some.averages.means()["dropped"] == 0


@pytest.mark.parametrize("options", [{}, {"compile_module_keys": ["separator"]}])
def test_a_row_with_spoilt_sources_does_not_reach_the_gradients_of_the_others(options, make_batch, quick_compile):
    """Zero times NaN is NaN: leaving a row out of the sum alone does not keep it out of the gradient."""
    batch = make_batch(size=4)
    good = rows_of(batch, [0, 2, 3])
    batch.sources[1] = float("nan")
    some, reference = make_brain(PIT(NegSNR(30)), skip_nonfinite_grads=True, **options), make_brain(PIT(NegSNR(30)))
    before = shares(some)
    assert fit(some, batch) == pytest.approx(float(fit(reference, good)), rel=1e-4)
    assert shares(some).ne(before).all()
    torch.testing.assert_close(shares(some), shares(reference))
    assert some.averages.means()["nonfinite"] == 0.25


@pytest.mark.parametrize("objective", [Scripted(dropped=[0, 1, 2, 3]), Scripted(spoilt=[0, 1, 2, 3])])
def test_a_batch_with_no_kept_row_takes_no_step_even_with_momentum(objective, make_batch):
    batch = make_batch(size=4)
    brain = make_brain(Scripted(), momentum=0.9)
    fit(brain, batch)
    before = shares(brain)
    brain.hparams.objective = objective
    loss = fit(brain, batch)
    assert shares(brain).equal(before) and loss == 0
    assert brain.averages.means()["empty_batches"] == 0.5
    # And training goes on as if that batch had not been there.
    brain.hparams.objective = Scripted()
    fit(brain, batch)
    reference = make_brain(Scripted(), momentum=0.9)
    fit(reference, batch, batch)
    torch.testing.assert_close(shares(brain), shares(reference))


def test_a_batch_with_no_kept_row_is_not_a_step_for_the_gradient_scaler_either(make_batch):
    """With fp16 the scaler is on, and has seen no optimiser when no row was kept."""
    brain = make_brain(Scripted(dropped=[0, 1, 2, 3]))
    brain.scaler = torch.amp.GradScaler("cpu", enabled=True)
    before = shares(brain)
    fit(brain, make_batch(size=4))
    assert shares(brain).equal(before)


def test_a_spoilt_batch_leaves_nothing_behind_for_the_next(make_batch):
    """Also without skip_nonfinite_grads: gradients of a batch that took no step must not wait for the next one."""
    batch, spoilt = make_batch(size=4), make_batch(size=4)
    spoilt.sources = torch.full_like(spoilt.sources, float("nan"))
    brain, reference = make_brain(PIT(NegSNR(30))), make_brain(PIT(NegSNR(30)))
    fit(brain, spoilt, batch)
    fit(reference, batch)
    torch.testing.assert_close(shares(brain), shares(reference))


def test_accumulation_steps_when_any_of_its_batches_kept_a_row(make_batch):
    batch = make_batch(size=4)
    brain = make_brain(Scripted(dropped=[0, 1, 2, 3]), momentum=0.9, grad_accumulation_factor=2)
    before = shares(brain)
    fit(brain, batch, batch)
    assert shares(brain).equal(before)
    brain.hparams.objective = Scripted()
    fit(brain, batch)
    brain.hparams.objective = Scripted(dropped=[0, 1, 2, 3])
    fit(brain, batch)
    assert shares(brain).ne(before).all()


def test_an_epoch_without_a_finite_loss_ends_the_training(make_batch):
    """Its checkpoint would be that of an untrained model, its figures zeros that look like perfect ones."""
    batch, brain = make_batch(size=4), make_brain(Scripted(spoilt=[0, 1, 2, 3]))
    fit(brain, batch, batch)
    with pytest.raises(ValueError, match="loss: not finite for any training mixture of epoch 1"):
        brain.on_stage_end(sb.Stage.TRAIN, None, 1)


LOSS = NegSNR(30)
OBJECTIVES = [PIT(LOSS), MixPIT(LOSS), MixIT(LOSS), MixCycle(MixPIT(LOSS), LOSS, switch=AfterEpochs(0))]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"compile_module_keys": ["separator"]}])
def test_two_steps_with_a_run_option(options, objective, tiny_separator, make_batch, quick_compile):
    """As without it, to what the precision allows."""
    batches, reports = [make_batch(size=4, seed=seed) for seed in range(2)], []
    for run_opts in ({}, options):
        brain = make_brain(objective, tiny_separator(), **run_opts)
        losses = [fit(brain, batch) for batch in batches]
        brain.on_stage_end(sb.Stage.TRAIN, None, 1)
        assert brain.optimizer_step == 2 and brain.train_stats["nonfinite"] == 0
        reports.append(losses)
    assert (len(quick_compile) > 0) == ("compile_module_keys" in options)
    torch.testing.assert_close(*reports, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_losses_are_computed_in_single_precision(objective, make_batch):
    """Autocast would take products of waveforms in bf16, two digits."""
    batch, losses = make_batch(size=4), []
    for precision in ("fp32", "bf16"):
        brain = make_brain(objective, precision=precision)
        losses.append(fit(brain, batch))
    assert losses[0] == pytest.approx(float(losses[1]), rel=1e-5)


def test_figures_are_computed_in_single_precision(make_batch):
    """The oracle of MixIT takes a product of waveforms too."""
    batch, figures = make_batch(size=4), []
    estimates = 0.7 * batch.sources + 0.3 * make_batch(size=4, seed=1).sources
    for precision in ("fp32", "bf16"):
        brain = make_brain(Scripted(), eval_precision=precision)
        brain.hparams.evaluations = [MixITOracle()]
        brain.separator.forward = lambda *_, **__: Separation(estimates)
        brain.hparams.recorder.stage_ended = lambda brain, stage, stats, epoch: figures.append(stats)
        brain.on_stage_start(sb.Stage.VALID, epoch=1)
        brain.evaluate_batch(batch, sb.Stage.VALID)
        brain.on_stage_end(sb.Stage.VALID, None, 1)
        figures[-1].pop("seconds")
    assert figures[0] == pytest.approx(figures[1], abs=1e-4) and figures[0]["si_snri_oracle"] > 5


def test_the_objective_hears_the_epoch_and_its_log_is_averaged(make_batch):
    epochs = []

    class Listening(Scripted):
        def forward(self, separator, batch, epoch):
            epochs.append(epoch)
            return super().forward(separator, batch, epoch)

    brain = make_brain(Listening())
    fit(brain, make_batch())
    assert epochs == [1] and brain.averages.means()["seen"] == 2.0


def test_random_numbers_depend_on_seed_epoch_and_step_alone(make_batch):
    class Drawing(Scripted):
        def forward(self, separator, batch, epoch):
            drawn.append(torch.rand(()).item())
            return super().forward(separator, batch, epoch)

    def draws(epoch, first_step, steps, seed=1):
        drawn.clear()
        brain = make_brain(Drawing())
        brain.hparams.seed = seed
        brain.on_stage_start(sb.Stage.TRAIN, epoch=epoch)
        brain.step = first_step
        torch.rand(5)
        fit(brain, *[make_batch()] * steps)
        return list(drawn)

    drawn = []
    whole = draws(3, 0, 4)
    assert draws(3, 2, 2) == whole[2:]
    assert len({*whole, *draws(4, 0, 4), *draws(3, 0, 4, seed=2)}) == 12


def test_validation_averages_over_items_not_over_batches(make_batch):
    brain = make_brain(Scripted())
    brain.on_stage_start(sb.Stage.VALID, epoch=1)
    batch, values = make_batch(size=5), []
    for rows in ([0, 1, 2, 3], [4]):
        part = rows_of(batch, rows)
        brain.evaluate_batch(part, sb.Stage.VALID)
        values += si_snr_improvement(brain.modules.separator(part.mixture).sources, part)[0].tolist()
    assert brain.averages.means()["si_snri"] == pytest.approx(sum(values) / 5, abs=1e-5)


def test_recordings_without_references_are_separated_but_not_measured(make_batch):
    brain, seen = make_brain(Scripted()), []
    brain.on_stage_start(sb.Stage.TEST)
    brain.hooks = [SimpleNamespace(update=lambda batch, estimates, ordered: seen.append((estimates.shape, ordered)))]
    batch = make_batch()
    batch.sources = None
    brain.evaluate_batch(batch, sb.Stage.TEST)
    assert brain.averages.means() == {} and seen == [((4, 2, 600), None)]
