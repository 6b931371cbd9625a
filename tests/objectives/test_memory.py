import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sb_ext.objectives.memory import MixtureMemory

names = st.text(min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(names, st.permutations(range(4)), st.floats(-80, 80, width=32)), max_size=60))
def test_it_remembers_what_a_dictionary_does(writes):
    memory, expected = MixtureMemory(rows=4), {}
    for name, order, figure in writes:
        memory.record([name], torch.tensor([order]), torch.tensor([figure]))
        expected[name] = (list(order), figure)
    assert len(memory) == len(expected)
    restored = MixtureMemory()
    restored.set_extra_state(memory.get_extra_state())
    for one in (memory, restored):
        assert not one.look_up(["a name that nobody wrote"], 4)[0].item()
        for name, (order, figure) in expected.items():
            known, permutation, value = one.look_up([name], 4)
            assert (known.item(), permutation[0].tolist(), value.item()) == (True, order, figure)


def test_twelve_sources_fit_and_sixteen_do_not():
    memory = MixtureMemory()
    order = torch.randperm(12).unsqueeze(0)
    memory.record(["a"], order, torch.zeros(1))
    assert torch.equal(memory.look_up(["a"], 12)[1], order)
    with pytest.raises(ValueError, match="at most 15 sources fit, received 16"):
        memory.record(["a"], torch.arange(16).unsqueeze(0), torch.zeros(1))


def test_a_mixture_costs_a_few_dozen_bytes():
    memory, count = MixtureMemory(), 20_000
    ids = [f"mixture-{place}" for place in range(count)]
    memory.record(ids, torch.tensor([[1, 0]]).expand(count, -1), torch.zeros(count))
    assert memory.nbytes / count < 54


def _rank(rank, folder):
    """Two mixtures a rank; afterwards each rank knows all four."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", world_size=2, rank=rank)
    memory = MixtureMemory()
    mine = [["a", "b"], ["c", "d"]][rank]
    memory.record(mine, torch.tensor([[1, 0], [0, 1]]), torch.tensor([1.0, 2.0]) + 10 * rank)
    torch.save(memory.get_extra_state(), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_ranks_agree(tmp_path):
    torch.multiprocessing.start_processes(_rank, (str(tmp_path),), nprocs=2, start_method="fork")
    alone = MixtureMemory()
    orders = torch.tensor([[1, 0], [0, 1], [1, 0], [0, 1]])
    alone.record(list("abcd"), orders, torch.tensor([1.0, 2.0, 11.0, 12.0]))
    for rank in range(2):
        state = torch.load(f"{tmp_path}/{rank}.pt", weights_only=True)
        assert all(torch.equal(state[name], expected) for name, expected in alone.get_extra_state().items())
