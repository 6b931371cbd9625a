import copy
import math

import pytest
import torch
from torch import nn

from sb_ext.contracts import MixtureBatch, Separation
from sb_ext.losses import NegSISDR
from sb_ext.objectives import PIT, KeptAssignment, PITDynamicMixing, SampleDropout
from sb_ext.objectives.label_assignment import ExactAssignment, SinkhornAssignment, SoftMinimumAssignment
from sb_ext.objectives.layer_wise import LastLayer, LayerWise

STAY, SWITCH = [0, 1], [1, 0]
# First epoch: assignment STAY. Then: relaxation, figure before, assignment and figure now; kept? what is remembered.
RULE = [
    (0.1, 5.0, STAY, 7.0, True, STAY, 7.0),  # same, better
    (0.1, 5.0, STAY, 3.0, True, STAY, 5.0),  # same, worse: trained, the best stays
    (0.1, 5.0, SWITCH, 7.0, True, SWITCH, 7.0),  # switched and better
    (0.1, 5.0, SWITCH, 4.6, True, SWITCH, 4.6),  # switched and relaxed better: 5.06 > 5
    (0.1, 5.0, SWITCH, 4.5, False, STAY, 5.0),  # switched and worse: 4.95
    (0.1, -5.0, SWITCH, -5.5, True, SWITCH, -5.5),  # negative: -5.5 x 0.9 = -4.95
    (0.1, -5.0, SWITCH, -5.6, False, STAY, -5.0),  # -5.04
    (0.0, 5.0, SWITCH, 5.0, False, STAY, 5.0),  # not better than itself
    (0.0, 5.0, SWITCH, 5.1, True, SWITCH, 5.1),
    (0.5, 5.0, SWITCH, 3.4, True, SWITCH, 3.4),  # 5.1
    (math.inf, 5.0, SWITCH, -60.0, True, SWITCH, -60.0),
    (math.inf, 5.0, SWITCH, 0.0, True, SWITCH, 0.0),
]


def tell(memory, order, figure, epoch):
    return memory(["a"], torch.tensor([order]), torch.tensor([figure]), epoch)


@pytest.mark.parametrize("reorder", [False, True])
@pytest.mark.parametrize(("relaxation", "before", "order", "now", "kept", "then", "best"), RULE)
def test_every_branch_of_the_rule(relaxation, before, order, now, kept, then, best, reorder):
    dropout = SampleDropout(relaxation, reorder)
    assert tell(dropout, STAY, before, 1)[0].item()
    keep, bound, given = tell(dropout, order, now, 2)
    assert (keep.item(), bound.item()) == ((True, not kept) if reorder else (kept, False))
    if reorder:
        assert given[0].tolist() == (order if kept else STAY)
    known, remembered, figure = dropout.memory.look_up(["a"], 2)
    assert known.item() and remembered[0].tolist() == then
    assert figure.item() == pytest.approx(best)


def test_pit_fix_keeps_the_last_choice_of_its_epochs_of_pit():
    kept = KeptAssignment(pit_epochs=2)
    orders = [tell(kept, order, 0.0, epoch)[2][0].tolist() for epoch, order in enumerate([STAY, SWITCH, STAY, STAY], 1)]
    assert orders == [STAY, SWITCH, SWITCH, SWITCH]


class Network(nn.Module):
    """Two estimates and two layers from a linear map of the samples."""

    def __init__(self, samples):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(nn.Linear(samples, 2 * samples) for _ in range(2))

    def forward(self, mixture, layers=False):
        estimates = tuple(block(mixture).unflatten(-1, (2, -1)) for block in self.blocks)
        return Separation(estimates[-1], estimates if layers else ())


def batch_of(seed, ids="abcd", samples=64):
    sources = torch.randn(len(ids), 2, samples, generator=torch.manual_seed(seed))
    return MixtureBatch(list(ids), sources.sum(1), sources, None, torch.full((len(ids),), samples))


def train(objective, steps=6, start=0, network=None):
    network = network or Network(64)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    for step in range(start, start + steps):
        report = objective(network, batch_of(step), epoch=1 + step)
        optimizer.zero_grad()
        (report.loss * report.keep).sum().div(max(1, int(report.keep.sum()))).backward()
        optimizer.step()
    return network


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize("reorder", [False, True])
@pytest.mark.parametrize("layers", [LastLayer, LayerWise])
def test_infinite_relaxation_is_exactly_pit(reorder, layers):
    plain = train(PIT(NegSISDR(), layers=layers()))
    dropped = train(PIT(NegSISDR(), memory=SampleDropout(math.inf, reorder), layers=layers()))
    assert torch.equal(weights(plain), weights(dropped))
    assert not torch.equal(weights(plain), weights(train(PIT(NegSISDR(), memory=SampleDropout(0.0, reorder)))))


@pytest.mark.parametrize("memory", [SampleDropout, lambda: KeptAssignment(2)])
def test_a_resumed_training_equals_one_that_was_not_interrupted(memory):
    whole = train(PIT(NegSISDR(), memory=memory()), steps=8)
    first = PIT(NegSISDR(), memory=memory())
    network = train(first, steps=4)
    second = PIT(NegSISDR(), memory=memory())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert torch.equal(weights(whole), weights(train(second, steps=4, start=4, network=network)))


@pytest.mark.parametrize("layers", [LastLayer, LayerWise])
@pytest.mark.parametrize(
    "memory", [lambda: None, SampleDropout, lambda: SampleDropout(0.0, True), lambda: KeptAssignment(1)]
)
@pytest.mark.parametrize("assignment", [ExactAssignment, SinkhornAssignment, SoftMinimumAssignment])
def test_assignment_memory_and_layers_combine_freely(assignment, memory, layers):
    network = train(PIT(NegSISDR(), assignment(), memory(), layers()), steps=3)
    assert torch.isfinite(weights(network)).all()


def test_layer_wise_loss_is_the_weighted_mean_of_the_layers():
    batch, network = batch_of(0), Network(64)
    report = PIT(NegSISDR(), layers=LayerWise())(network, batch, 1)
    layers = network(batch.mixture, True).layers
    each = [PIT(NegSISDR())(lambda mixture, one=one: Separation(one), batch, 1).loss for one in layers]
    torch.testing.assert_close(report.loss, (0.5 * each[0] + 1.0 * each[1]) / 2)


def test_layer_wise_needs_layers():
    with pytest.raises(ValueError, match="gives 0 layer estimates, at least two"):
        PIT(NegSISDR(), layers=LayerWise())(lambda mixture, layers: Separation(None), batch_of(0), 1)


def test_dynamic_mixing_refuses_a_memory():
    with pytest.raises(ValueError, match="SampleDropout remembers mixtures, and with dynamic mixing none comes back"):
        PITDynamicMixing(NegSISDR(), memory=SampleDropout())


def test_a_soft_assignment_with_a_recorded_order_is_exact_on_bound_rows():
    batch, network = batch_of(0), Network(64)
    memory = KeptAssignment(1)
    memory(batch.ids[:2], torch.tensor([STAY, SWITCH]), torch.zeros(2), 1)
    loss = PIT(NegSISDR(), SoftMinimumAssignment(), memory)(network, batch, 2).loss
    pairs = NegSISDR().pairwise(network(batch.mixture).sources, batch.sources)
    expected = [(pairs[0, 0, 0] + pairs[0, 1, 1]) / 2, (pairs[1, 1, 0] + pairs[1, 0, 1]) / 2]
    torch.testing.assert_close(loss[:2], torch.stack(expected))
