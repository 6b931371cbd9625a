"""Two ranks against one process: gradients, weights, curves, files, resuming."""

import csv
import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import speechbrain as sb
import torch

from sb_ext.brain import SeparationBrain
from sb_ext.contracts import MixtureBatch
from sb_ext.data.loader import share_of_rank
from sb_ext.data.recipes import prepare_librimix
from sb_ext.experiment import run
from sb_ext.filterbanks import LearnedFilterbank
from sb_ext.losses import NegSISDR, NegSNR
from sb_ext.losses.perceptual import WeightedSum
from sb_ext.networks import TemporalConvNet
from sb_ext.objectives import PIT, MixCycle, MixIT, MixPIT, OneAndRest
from sb_ext.objectives.switch import AfterEpochs
from sb_ext.objectives.teacher import AveragedTeacher
from sb_ext.separators import Masking

RECIPES = Path(__file__).resolve().parents[1] / "recipes" / "LibriMix" / "hparams"
GLOO = {"device": "cpu", "noprogressbar": True, "distributed_backend": "gloo"}


def on_two_ranks(function, *arguments):
    """Call ``function(rank, *arguments)`` in two forked processes that form a gloo group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.start_processes(_as_rank, (port, function, arguments), nprocs=2, start_method="fork")


def _as_rank(rank, port, function, arguments):
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    function(rank, *arguments)
    torch.distributed.destroy_process_group()


class Choosy(PIT):
    """PIT that keeps the rows whose ids say so."""

    def forward(self, separator, batch, epoch):
        report = super().forward(separator, batch, epoch)
        report.keep = torch.tensor(["drop" not in name for name in batch.ids])
        return report


def steps(separator, objective, batches, rank=0):
    """Train; gives what the epoch reports, the gradients of each step, and the weights."""
    hparams = {
        "objective": objective, "seed": 1, "evaluations": [],
        "train_data": SimpleNamespace(set_epoch=lambda epoch: None),
        "recorder": SimpleNamespace(epoch_counter=SimpleNamespace(current=0)),
    }  # fmt: skip
    objective.prepare(separator)
    sgd = lambda parameters: torch.optim.SGD(parameters, lr=1e-4, momentum=0.9)  # noqa: E731
    brain = SeparationBrain({"separator": separator}, sgd, hparams, {**GLOO, "max_grad_norm": 1e9})
    brain.rank, parameters, gradients = rank, list(separator.parameters()), []
    brain.on_fit_start()
    brain.optimizer.register_step_pre_hook(lambda *_: gradients.append([p.grad.clone() for p in parameters]))
    brain.on_stage_start(sb.Stage.TRAIN, epoch=1)
    brain.modules.train()
    for batch in batches:
        brain.step += 1
        brain.fit_batch(batch)
    brain.on_stage_end(sb.Stage.TRAIN, None, 1)
    report = {name: value for name, value in brain.train_stats.items() if name not in ("seconds", "data_wait")}
    return report, gradients, [parameter.detach() for parameter in parameters]


def on_ranks(folder, separator, objective, batches):
    """The same on two ranks; all but the report must be equal on both."""

    def write(rank):
        sb.utils.distributed.ddp_init_group(GLOO)
        torch.save(steps(separator, objective, batches[rank], rank), f"{folder}/{rank}.pt")

    on_two_ranks(write)
    one, two = (torch.load(folder / f"{rank}.pt") for rank in range(2))
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    return one


def test_every_mixture_is_validated_by_one_rank(tmp_path):
    def write(rank):
        sb.utils.distributed.ddp_init_group(GLOO)
        Path(tmp_path, f"{rank}").write_text(f"{list(share_of_rank(range(5)))}")

    assert list(share_of_rank(range(5))) == [0, 1, 2, 3, 4]
    on_two_ranks(write)
    assert [Path(tmp_path, f"{rank}").read_text() for rank in range(2)] == ["[0, 2, 4]", "[1, 3]"]


def halves(batch, kept=(True,) * 4):
    """The batch, and its two halves; rows that are not kept say so in their ids."""
    batch.ids = [f"keep{row}" if keep else f"drop{row}" for row, keep in enumerate(kept)]
    tensors = (batch.mixture, batch.sources, batch.lengths)
    parts = [[tensor[rows] for tensor in tensors] for rows in (slice(0, 2), slice(2, 4))]
    return batch, *(
        MixtureBatch(batch.ids[2 * part : 2 * part + 2], mixture, sources, None, lengths)
        for part, (mixture, sources, lengths) in enumerate(parts)
    )


def test_two_ranks_equal_one_process_with_the_joined_batch(tiny_separator, make_batch, tmp_path):
    """Also where the ranks keep different numbers of rows, one of them none, or nobody any."""
    kept = [(1, 1, 1, 1), (0, 1, 1, 1), (0, 0, 1, 1), (0, 0, 0, 0), (1, 1, 0, 1)]
    batches = [halves(make_batch(seed=step), rows) for step, rows in enumerate(kept)]
    whole, *parts = zip(*batches, strict=True)
    alone = steps(tiny_separator(), Choosy(NegSNR(30)), whole)
    together = on_ranks(tmp_path, tiny_separator(), Choosy(NegSNR(30)), parts)
    assert len(alone[1]) == 4 and alone[0]["empty_batches"] == 0.2
    for expected, found in zip(alone, together, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


OBJECTIVES = {
    "mixpit": lambda loss: MixPIT(loss),
    "mixit": lambda loss: MixIT(loss),
    "mixcycle": lambda loss: MixCycle(MixPIT(loss), loss, switch=AfterEpochs(0), teacher=AveragedTeacher(0.5)),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_rank_mixes_its_own_rows_by_its_own_draws(name, tiny_separator, make_batch, tmp_path):
    """So the gradient is the mean of what each rank would have alone: not that of one process with the joined batch."""
    parts = [make_batch(size=3, seed=rank) for rank in range(2)]
    alone = [steps(tiny_separator(), OBJECTIVES[name](NegSNR(30)), [parts[rank]], rank)[1][0] for rank in range(2)]
    together = on_ranks(tmp_path, tiny_separator(), OBJECTIVES[name](NegSNR(30)), [[part] for part in parts])
    expected = [(one + two) / 2 for one, two in zip(*alone, strict=True)]
    torch.testing.assert_close(together[1][0], expected, rtol=1e-4, atol=1e-5)


def test_ranks_may_split_differently_often(make_batch, tmp_path):
    """One-and-rest training on mixtures of two speakers, beside a rank that has mixtures of three."""
    parts = [make_batch(size=3, count=2), make_batch(size=3, count=3, seed=1)]

    def separator():
        torch.manual_seed(0)
        return Masking(LearnedFilterbank(8), TemporalConvNet(8, 2, 4, 6, num_layers=2, num_stacks=1))

    alone = [steps(separator(), OneAndRest(NegSISDR()), [part])[1][0] for part in parts]
    together = on_ranks(tmp_path, separator(), OneAndRest(NegSISDR()), [[part] for part in parts])
    expected = [(one + two) / 2 for one, two in zip(*alone, strict=True)]
    torch.testing.assert_close(together[1][0], expected, rtol=1e-4, atol=1e-5)


def recipe(rank, name, folder, words=()):
    """Run a recipe on the tiny corpus."""
    options = ["--budget", "tiny", "--noprogressbar", "--device", "cpu", "--distributed_backend", "gloo"]
    options += ["--evaluation", "{metrics: {metrics: [si_snr]}}", "--output_folder", str(folder)]
    return run([str(RECIPES / f"{name}.yaml"), *options, *words], prepare_librimix)


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def weights(folder):
    latest = max(folder.glob("save/CKPT*/CKPT.yaml"), key=lambda path: path.stat().st_mtime)
    return torch.load(latest.with_name("separator.ckpt"))


@pytest.mark.slow
def test_a_recipe_gives_on_two_ranks_what_it_gives_on_one(corpora, tmp_path):
    """The same mixtures in each joined batch, the same figures, each mixture measured once, everything written once."""
    recipe(0, "pit", tmp_path / "one", ["--batch_size", "4"])
    on_two_ranks(recipe, "pit", tmp_path / "two", ["--batch_size", "2"])
    one, two = (rows(tmp_path / run / "curve.csv") for run in ("one", "two"))
    assert [(row["epoch"], row["steps"]) for row in two] == [("1", "3"), ("2", "6")]
    for expected, found in zip(one, two, strict=True):
        for figure in ("train_loss", "valid_si_snri"):
            assert float(found[figure]) == pytest.approx(float(expected[figure]), rel=1e-4, abs=1e-4)
    torch.testing.assert_close(weights(tmp_path / "two"), weights(tmp_path / "one"), rtol=1e-3, atol=1e-4)
    one, two = (rows(tmp_path / run / "test_metrics.csv") for run in ("one", "two"))
    assert [row["id"] for row in two] == [row["id"] for row in one]


class Normed(Masking):
    """Separates as it does, of a mixture that went through a batch norm."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.norm = torch.nn.BatchNorm1d(1)

    def forward(self, mixture, **options):
        return super().forward(self.norm(mixture.unsqueeze(1)).squeeze(1), **options)


def test_each_rank_norms_its_own_rows_on_cpus(make_batch, tmp_path):
    """Where torch cannot join their statistics, and SpeechBrain's way is refused."""

    def separator():
        torch.manual_seed(0)
        return Normed(LearnedFilterbank(8), TemporalConvNet(8, 2, 4, 6, num_layers=2, num_stacks=1))

    parts = [make_batch(size=3, seed=rank) for rank in range(2)]
    alone = [steps(separator(), PIT(NegSNR(30)), [part])[1][0] for part in parts]
    together = on_ranks(tmp_path, separator(), PIT(NegSNR(30)), [[part] for part in parts])
    expected = [(one + two) / 2 for one, two in zip(*alone, strict=True)]
    torch.testing.assert_close(together[1][0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_ranks_are_resumed(corpora, tmp_path):
    words = ["--batch_size", "2", "--warmup_epochs", "1", "--teacher", "!new:sb_ext.objectives.teacher.AveragedTeacher"]
    on_two_ranks(recipe, "mixcycle", tmp_path / "whole", words)
    on_two_ranks(recipe, "mixcycle", tmp_path / "parts", [*words, "--num_epochs", "1"])
    on_two_ranks(recipe, "mixcycle", tmp_path / "parts", words)
    torch.testing.assert_close(weights(tmp_path / "parts"), weights(tmp_path / "whole"), rtol=0, atol=0)
    whole, parts = (rows(tmp_path / run / "curve.csv") for run in ("whole", "parts"))
    for expected, found in zip(whole, parts, strict=True):
        for figure in ("epoch", "steps", "train_loss", "valid_si_snri", "valid_self_evaluation"):
            assert found[figure] == expected[figure], figure


def test_the_mean_negative_distance_is_that_of_all_ranks(tmp_path):
    """Each rank's losses and gradients are its part of those of one process with all rows."""
    positive, negative = torch.rand(2, 4, 2, dtype=torch.float64)
    keep = torch.tensor([True, False, True, True])

    def cost(rows):
        far = negative[rows].clone().requires_grad_()
        costs = WeightedSum()(positive[rows], far, keep[rows])
        (costs[keep[rows]].sum() / 3).backward()
        return costs.detach(), far.grad

    def write(rank):
        sb.utils.distributed.ddp_init_group(GLOO)
        torch.save(cost(slice(2 * rank, 2 * rank + 2)), f"{tmp_path}/{rank}.pt")

    on_two_ranks(write)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for found, expected in zip(zip(*parts, strict=True), cost(slice(0, 4)), strict=True):
        torch.testing.assert_close(torch.cat(found), expected)
