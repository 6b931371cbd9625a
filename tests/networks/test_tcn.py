"""The mask network against torchaudio's, which the public MixCycle code trains."""

import pytest
import torch
from torchaudio.models.conv_tasnet import MaskGenerator

from sb_ext.networks import TemporalConvNet
from sb_ext.networks.tcn import DepthwiseConv

SIZES = dict(bottleneck=12, hidden=20, num_layers=3, num_stacks=2)


def theirs(num_outputs=2):
    torch.manual_seed(0)
    network = MaskGenerator(33, num_outputs, 3, SIZES["bottleneck"], SIZES["hidden"], 3, 2, "sigmoid")
    for parameter in network.parameters():  # norms and PReLUs away from their initial values, too
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def relative_error(ours, reference):
    return ((ours - reference).abs().max() / reference.abs().max().clamp_min(1e-12)).item()


@pytest.mark.parametrize("num_outputs", [1, 2, 3])
@pytest.mark.parametrize("frames", [1, 2, 7, 40])
def test_masks_and_gradients_equal_torchaudio(num_outputs, frames):
    reference, network = theirs(num_outputs), TemporalConvNet(33, num_outputs, **SIZES)
    network.load_torchaudio(reference.state_dict())
    features = torch.rand(3, 33, frames)
    weights = torch.randn(3, num_outputs, 33, frames)
    inputs = [features.clone().requires_grad_(), features.clone().requires_grad_()]
    expected, (masks,) = reference(inputs[0]), network(inputs[1])
    assert relative_error(masks, expected) < 1e-4
    (expected * weights).sum().backward()
    (masks * weights).sum().backward()
    assert relative_error(inputs[1].grad, inputs[0].grad) < 1e-4
    # Gradients have the shapes of weights: the same renaming brings torchaudio's into our order.
    gradients = TemporalConvNet(33, num_outputs, **SIZES)
    gradients.load_torchaudio({name: parameter.grad for name, parameter in reference.named_parameters()})
    largest = max(parameter.abs().max() for parameter in gradients.parameters())
    for (name, ours), wanted in zip(network.named_parameters(), gradients.parameters(), strict=True):
        assert (ours.grad - wanted).abs().max() / max(wanted.abs().max(), 1e-2 * largest) < 1e-4, name


def test_as_many_parameters_as_torchaudio():
    reference = MaskGenerator(257, 2, 3, 128, 512, 4, 3, "sigmoid")
    ours = TemporalConvNet(257, 2)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in reference.parameters())


def test_one_mask_a_stack_and_the_last_is_the_plain_one():
    network = TemporalConvNet(9, 2, bottleneck=4, hidden=6, num_layers=2, num_stacks=3)
    features = torch.rand(2, 9, 15)
    (plain,), layers = network(features), network(features, layers=True)
    assert len(layers) == 3 and layers[-1].equal(plain)
    assert not torch.allclose(layers[0], layers[1])


def test_an_earlier_layer_is_the_shorter_network():
    deep = TemporalConvNet(9, 2, bottleneck=4, hidden=6, num_layers=2, num_stacks=3)
    shallow = TemporalConvNet(9, 2, bottleneck=4, hidden=6, num_layers=2, num_stacks=2)
    state = {name: value for name, value in deep.state_dict().items() if name in shallow.state_dict()}
    for kind in ("weight", "bias"):  # the last block has the skip part only, which comes second
        state[f"blocks.3.project.{kind}"] = deep.state_dict()[f"blocks.3.project.{kind}"].chunk(2)[1]
    shallow.load_state_dict(state)
    features = torch.rand(2, 9, 15)
    torch.testing.assert_close(deep(features, layers=True)[1], shallow(features)[0])


@pytest.mark.parametrize("kernel_size, dilation", [(1, 1), (3, 1), (3, 8), (5, 3), (7, 2)])
@pytest.mark.parametrize("frames", [1, 5, 30])
def test_shifted_products_equal_the_depthwise_convolution(kernel_size, dilation, frames):
    torch.manual_seed(0)
    layer = DepthwiseConv(6, kernel_size, dilation)
    features = torch.randn(2, 6, frames)
    expected = torch.nn.functional.conv1d(
        features, layer.weight, layer.bias, padding=layer.reach, dilation=dilation, groups=6
    )
    torch.testing.assert_close(layer(features), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_gradients_equal_eager_ones(dtype):
    """An addition in place, within an autograd.Function that is compiled, gave gradients of zero."""
    torch.manual_seed(0)
    network, features = TemporalConvNet(9, 2, bottleneck=4, hidden=6, num_layers=2, num_stacks=2), torch.rand(2, 9, 15)
    gradients = []
    for run in (network, torch.compile(network, backend="aot_eager")):
        network.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            run(features)[0].square().sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert relative_error(gradients[1], gradients[0]) < (1e-5 if dtype == torch.float32 else 2e-2)


def test_depthwise_starts_like_torch_conv1d():
    torch.manual_seed(0)
    ours, reference = DepthwiseConv(4000, 3, 1), torch.nn.Conv1d(4000, 4000, 3, groups=4000)
    for mine, other in ((ours.weight, reference.weight), (ours.bias, reference.bias)):
        assert mine.std().item() == pytest.approx(other.std().item(), rel=0.05)
        assert mine.abs().max().item() == pytest.approx(other.abs().max().item(), rel=0.01)


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="kernel_size: expected an odd number, received 4"):
        DepthwiseConv(4, 4, 1)
