"""DPTNet's mask network against Asteroid's, and what holds whatever is kept for the backward pass."""

import pytest
import torch
from asteroid.masknn import DPTransformer
from hypothesis import given, settings
from hypothesis import strategies as st

from sb_ext.networks import DualPathTransformer
from sb_ext.networks.dual_path_transformer import cut, overlap_add

SMALL = dict(num_blocks=2, num_heads=2, cells=6, chunk_size=10, chunk_hop=5)


def theirs(num_inputs=8, num_outputs=2, num_blocks=2, num_heads=2, cells=6, chunk_size=10, chunk_hop=5, **more):
    torch.manual_seed(0)
    network = DPTransformer(
        num_inputs, num_outputs, num_heads, cells, chunk_size, chunk_hop, num_blocks, dropout=0.0, **more
    )
    for parameter in network.parameters():  # norms, slope and attention's biases away from their initial values, too
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def ours(seed=0, **more):
    torch.manual_seed(seed)
    return DualPathTransformer(**{"num_inputs": 8, "num_outputs": 2, **SMALL, **more})


def saved(run):
    """Bytes that autograd keeps, each storage once."""
    sizes = {}

    def pack(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(sizes.values())


def gradients(network, features, weights, seed=0, layers=False):
    """Masks of the last block, then the gradients of a weighted sum of all given, to features and parameters."""
    features = features.clone().requires_grad_()
    torch.manual_seed(seed)
    masks = network(features, layers=layers)
    network.zero_grad()
    sum((mask * weights).sum() for mask in masks).backward()
    return [masks[-1].detach(), features.grad, *(parameter.grad for parameter in network.parameters())]


def assert_equal_to_asteroid(reference, network, frames, batch=2):
    network.load_asteroid(reference.state_dict())
    features = torch.rand(batch, network.num_inputs, frames, requires_grad=True)
    weights = torch.randn(batch, network.num_outputs, network.num_inputs, frames)
    expected = reference(features)
    (expected * weights).sum().backward()
    masks, gradient, *rest = gradients(network, features.detach(), weights)
    assert (masks - expected).abs().max() < 1e-4 * expected.abs().max()
    assert (gradient - features.grad).abs().max() < 1e-4 * features.grad.abs().max()
    # Gradients have the shapes of weights: the same renaming brings Asteroid's into our order.
    network.load_asteroid({name: parameter.grad for name, parameter in reference.named_parameters()})
    largest = max(parameter.abs().max() for parameter in network.parameters())
    for mine, (name, wanted) in zip(rest, network.named_parameters(), strict=True):
        assert (mine - wanted).abs().max() / max(wanted.abs().max(), 1e-2 * largest) < 1e-4, name


@pytest.mark.parametrize("frames", [1, 4, 10, 11, 57, 60])
def test_masks_and_gradients_equal_asteroid(frames):
    assert_equal_to_asteroid(theirs(), ours(seed=1), frames)


@pytest.mark.parametrize(
    "mine, other",
    [
        ({"num_outputs": 3}, {"num_outputs": 3}),
        ({"bidirectional": False}, {"bidirectional": False}),
        ({"chunk_hop": 2}, {"chunk_hop": 2}),
        ({"activation": torch.nn.Sigmoid}, {"mask_act": "sigmoid"}),
        ({"checkpoint_blocks": True}, {}),
    ],
    ids=str,
)
def test_variants_equal_asteroid(mine, other):
    assert_equal_to_asteroid(theirs(**other), ours(seed=1, **mine), 33)


def test_the_papers_model_equals_asteroid():
    sizes = dict(num_inputs=64, num_blocks=6, num_heads=4, cells=128, chunk_size=100, chunk_hop=50)
    reference, network = theirs(**sizes), DualPathTransformer(64, 2)
    assert sum(one.numel() for one in network.parameters()) == sum(one.numel() for one in reference.parameters())
    assert_equal_to_asteroid(reference, network, 333, batch=1)


def test_a_model_of_another_size_is_named():
    with pytest.raises(RuntimeError, match="size mismatch for blocks.0.0.recurrent.weight_ih_l0"):
        ours(cells=5).load_asteroid(theirs().state_dict())


def test_one_mask_a_block_and_the_last_is_the_plain_one():
    network, features = ours(num_blocks=3), torch.rand(2, 8, 35)
    (plain,), layers = network(features), network(features, layers=True)
    assert len(layers) == 3
    torch.testing.assert_close(layers[-1], plain)
    assert not torch.allclose(layers[0], layers[1])


def test_an_earlier_layer_is_the_shorter_network():
    """The head is shared: cutting the last block off leaves a network whose mask the deep one gives as a layer."""
    deep, shallow = ours(num_blocks=3), ours(num_blocks=2)
    state = shallow.state_dict()
    shallow.load_state_dict({name: value for name, value in deep.state_dict().items() if name in state})
    features = torch.rand(2, 8, 35)
    torch.testing.assert_close(deep(features, layers=True)[1], shallow(features)[0])


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_checkpoints_change_no_gradient(dropout):
    """With dropout as well, whose choices must be the same when a block runs again."""
    features, weights = torch.rand(2, 8, 35), torch.randn(2, 2, 8, 35)
    plain, again = ours(dropout=dropout), ours(dropout=dropout, checkpoint_blocks=True)
    expected = gradients(plain, features, weights, layers=True)
    torch.testing.assert_close(gradients(again, features, weights, layers=True), expected)


def test_dropout_acts_while_training_only():
    network, features = ours(dropout=0.4), torch.rand(2, 8, 35)
    assert not torch.equal(network(features)[0], network(features)[0])
    network.eval()
    assert torch.equal(network(features)[0], network(features)[0])


def test_kept_for_the_backward_pass():
    """One second of the paper's model: less than a quarter of Asteroid's; with checkpoints less than a tenth."""
    features = torch.rand(1, 64, 999)
    reference = DPTransformer(64, 2, ff_hid=128, n_repeats=1)
    network, again = (DualPathTransformer(64, 2, num_blocks=1, checkpoint_blocks=on) for on in (False, True))
    theirs = saved(lambda: reference(features))
    assert saved(lambda: network(features)) < 0.25 * theirs
    assert saved(lambda: again(features)) < 0.1 * theirs


def test_bf16_is_close_and_trains():
    network, features = ours(), torch.rand(2, 8, 35)
    with torch.autocast("cpu", torch.bfloat16):
        masks = network(features, layers=True)
    torch.testing.assert_close(masks[-1].float(), network(features)[0], atol=0.05, rtol=0.1)
    sum(mask.float().square().sum() for mask in masks).backward()
    assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in network.parameters())


def test_items_do_not_depend_on_their_batch():
    network, features = ours(), torch.rand(3, 8, 35)
    alone = torch.cat([network(item[None])[0] for item in features])
    torch.testing.assert_close(network(features)[0], alone, atol=1e-5, rtol=1e-4)


@settings(max_examples=60, deadline=None)
@given(hop=st.integers(1, 7), pieces=st.integers(1, 4), length=st.integers(1, 60))
def test_overlap_add_undoes_cut(hop, pieces, length):
    features, size = torch.randn(2, length, 3), hop * pieces
    chunks = cut(features, size, hop)
    assert chunks.shape == (2, (length + size) // hop + 1, size, 3)
    torch.testing.assert_close(overlap_add(chunks, hop, length), features)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"num_heads": 3}, "num_heads: expected a divisor of 8 input channels, received 3"),
        ({"chunk_hop": 4}, "chunk_hop: expected a divisor of chunk_size 10, received 4"),
        ({"chunk_hop": 0}, "chunk_hop: expected a divisor of chunk_size 10, received 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ours(**wrong)
