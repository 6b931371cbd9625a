"""Label switching with separators whose assignments are known, and in a run that is resumed."""

import csv
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speechbrain.utils.checkpoints import Checkpointer

from sb_ext.data.loader import MixtureDataset
from sb_ext.data.recipes import prepare_librimix
from sb_ext.data.store import MixtureStore
from sb_ext.evaluation.label_switching import LabelSwitching
from sb_ext.experiment import run

PIT = Path(__file__).resolve().parents[2] / "recipes" / "LibriMix" / "hparams" / "pit.yaml"
ORDERS = list(itertools.permutations(range(3)))


class Noise(MixtureStore):
    """Noise; mixtures are told apart by any of their samples."""

    def __init__(self, count, samples=64, num_sources=3):
        self.sources = np.random.default_rng(0).standard_normal((count, 3, samples), dtype=np.float32)
        ids = [f"mix{place}" for place in range(count)]
        super().__init__(ids, np.full(count, samples), None, 8000, num_sources)

    def _read(self, index, start, stop):
        sources = self.sources[index, :, start:stop]
        return sources.sum(0), sources if self.num_sources else None


class Script:
    """Gives the estimates of ``orders [layers, N]``, numbers of ORDERS, with some noise."""

    def __init__(self, store, orders):
        self.sources, self.orders = torch.from_numpy(store.sources), np.array(orders)

    def __call__(self, mixture, layers=False):
        assert layers
        places = [int((self.sources.sum(1) - one).abs().sum(-1).argmin()) for one in mixture]
        orders = torch.tensor([[ORDERS[layer[place]] for place in places] for layer in self.orders])
        noise = 0.1 * torch.randn(len(places), 3, mixture.shape[-1])
        estimates = self.sources[places] + noise
        return tuple(estimates.gather(1, order.argsort(-1)[..., None].expand_as(estimates)) for order in orders)


def prepared(folder, store, **options):
    """A hook and the checkpointer that it is in."""
    hook, checkpointer = LabelSwitching(str(folder), batch_size=2, **options), Checkpointer(folder / "save")
    hook.prepare(MixtureDataset(store, segment=64), checkpointer)
    return hook, checkpointer


def validate(hook, store, epoch, orders):
    """What the Brain and the recorder do with it in an epoch."""
    hook.start("VALID")
    figures = hook.finish(Script(store, orders), "VALID")
    hook.recorded({"epoch": epoch, "valid_si_snri": epoch / 2, "train_dropped": 0.01, "steps": 7})
    return figures


SWAPS = [
    [[0, 0, 0, 0], [0, 0, 0, 0]],
    [[1, 5, 0, 0], [0, 4, 0, 0]],
    [[2, 5, 0, 0], [0, 4, 0, 0]],
]


def test_a_table_by_hand(tmp_path):
    store = Noise(4)
    hook, _ = prepared(tmp_path, store)
    figures = [validate(hook, store, epoch, orders) for epoch, orders in enumerate(SWAPS, start=1)]
    assert figures == [{}, {"switching": 0.25}, {"switching": 0.0}]
    lines = (tmp_path / "label_switching.csv").read_text().splitlines()
    assert lines[0] == "epoch,layer,ratio,valid_si_snri,train_dropped"
    assert lines[1:] == ["2,1,0.5,1.0,0.01", "2,2,0.25,1.0,0.01", "3,1,0.25,1.5,0.01", "3,2,0.0,1.5,0.01"]
    assert (tmp_path / "layer_decoupling.csv").read_text() == "layer,last_layer,distance,epochs\n1,2,0.5,2\n"


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_ratios_and_distances_are_those_of_the_script(data):
    count, layers, epochs = (data.draw(st.integers(low, high)) for low, high in ((1, 5), (1, 3), (1, 4)))
    row = st.lists(st.integers(0, 5), min_size=count, max_size=count)
    script = data.draw(st.lists(st.lists(row, min_size=layers, max_size=layers), min_size=epochs, max_size=epochs))
    store = Noise(count)
    with tempfile.TemporaryDirectory() as folder:
        hook, _ = prepared(Path(folder), store)
        figures = [validate(hook, store, epoch, orders) for epoch, orders in enumerate(script, start=1)]
        switching, decoupling = (rows(Path(folder, f"{name}.csv")) for name in ("label_switching", "layer_decoupling"))
    ratios = (np.diff(np.array(script), axis=0) != 0).mean(-1)
    assert [figure.get("switching") for figure in figures] == [None, *ratios[:, -1]]
    assert [float(row["ratio"]) for row in switching] == ratios.flatten().tolist()
    distances = np.abs(ratios - ratios[:, -1:]).sum(0)[:-1] if epochs > 1 else []
    assert [float(row["distance"]) for row in decoupling] == pytest.approx(list(distances))


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_that_was_killed_between_its_tables_and_its_checkpoint_is_resumed_exactly(tmp_path):
    store, script = Noise(5), np.random.default_rng(1).integers(6, size=(5, 2, 5))
    hook, _ = prepared(tmp_path / "whole", store)
    for epoch, orders in enumerate(script, start=1):
        validate(hook, store, epoch, orders)
    hook, checkpointer = prepared(tmp_path / "parts", store)
    for epoch in (1, 2, 3):
        validate(hook, store, epoch, script[epoch - 1])
        if epoch < 3:
            checkpointer.save_and_keep_only()
    hook, checkpointer = prepared(tmp_path / "parts", store)
    checkpointer.recover_if_possible()
    for epoch in (3, 4, 5):
        validate(hook, store, epoch, script[epoch - 1])
    for name in ("label_switching.csv", "layer_decoupling.csv"):
        assert (tmp_path / "parts" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_crops_and_choice_stay_the_same_and_leave_the_global_random_state_alone(tmp_path):
    data, heard, state = MixtureDataset(Noise(9, samples=300), segment=50), [], torch.get_rng_state()
    chosen = []
    for seed in (0, 0, 1):
        hook = LabelSwitching(str(tmp_path), mixtures=4, seed=seed)
        hook.prepare(data, Checkpointer(tmp_path))
        chosen.append(list(hook.data.store.ids))
        for epoch in (1, 2):
            data.set_epoch(epoch)
            hook.finish(lambda mixture, layers: heard.append(mixture) or (torch.ones(4, 3, 50),), "VALID")
    assert torch.equal(state, torch.get_rng_state())
    assert heard[0].shape == (4, 50) and all(torch.equal(heard[0], other) for other in heard[1:4])
    assert not torch.equal(heard[0], heard[4]) and chosen[0] == chosen[1] != chosen[2]


def test_what_it_cannot_measure_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no reference sources \(first mixture: mix0\).*take label_switching out"):
        prepared(tmp_path, Noise(2, num_sources=0))
    with pytest.raises(ValueError, match="received 32 and 0"):
        LabelSwitching(str(tmp_path), mixtures=0)


def _rank(rank, folder, count):
    """Both ranks, one of them with fewer mixtures than the other."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting{count}", world_size=2, rank=rank)
    store = Noise(count)
    hook, _ = prepared(folder / f"{rank}", store)
    for epoch, orders in enumerate(SWAPS, start=1):
        validate(hook, store, epoch, [layer[:count] for layer in orders])
    hook._save(folder / f"{rank}" / "assignments.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("count", [1, 3])
def test_two_ranks_find_what_one_does(count, tmp_path):
    torch.multiprocessing.start_processes(_rank, (tmp_path, count), nprocs=2, start_method="fork")
    store = Noise(count)
    hook, _ = prepared(tmp_path / "alone", store)
    for epoch, orders in enumerate(SWAPS, start=1):
        validate(hook, store, epoch, [layer[:count] for layer in orders])
    expected = (tmp_path / "alone" / "label_switching.csv").read_text()
    for rank in range(2):
        assert (tmp_path / f"{rank}" / "label_switching.csv").read_text() == expected
        assert torch.equal(torch.load(tmp_path / f"{rank}" / "assignments.pt"), hook.assignments)


def train(folder, *words):
    options = ["--budget", "tiny", "--noprogressbar", "--device", "cpu", "--output_folder", str(folder)]
    options += ["--separator", "{num_stacks: 2}", "--learning_rate", "0.02", *words]
    run([str(PIT), *options], prepare_librimix)


@pytest.mark.slow
def test_a_recipe_measures_it_for_every_stack_and_is_resumed(corpora, tmp_path):
    """Also where a run takes the evaluation up only when it is continued."""
    measured = ["--evaluations", '[!ref "<evaluation[label_switching]>"]']
    train(tmp_path / "whole", *measured, "--num_epochs", "3")
    train(tmp_path / "parts", *measured, "--num_epochs", "2")
    train(tmp_path / "parts", *measured, "--num_epochs", "3")
    whole = rows(tmp_path / "whole" / "label_switching.csv")
    assert rows(tmp_path / "parts" / "label_switching.csv") == whole
    assert [(row["epoch"], row["layer"]) for row in whole] == [("2", "1"), ("2", "2"), ("3", "1"), ("3", "2")]
    curve = rows(tmp_path / "whole" / "curve.csv")
    assert [row["valid_switching"] for row in curve] == ["", whole[1]["ratio"], whole[3]["ratio"]]
    assert [row["valid_si_snri"] for row in curve[1:]] == [row["valid_si_snri"] for row in whole[::2]]
    assert any(float(row["ratio"]) > 0 for row in whole)
    train(tmp_path / "late", "--evaluations", "[]", "--num_epochs", "1")
    train(tmp_path / "late", *measured, "--num_epochs", "3")
    assert [row["epoch"] for row in rows(tmp_path / "late" / "label_switching.csv")] == ["3", "3"]
    assert rows(tmp_path / "late" / "label_switching.csv") == whole[2:]
