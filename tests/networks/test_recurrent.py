"""An LSTM that runs again in the backward pass beside a plain one."""

import pytest
import torch

from sb_ext.networks import recurrent
from sb_ext.networks.recurrent import recur


def results(run, lstm, features, weights, **autocast):
    features = features.clone().requires_grad_()
    lstm.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, **autocast):
        outputs = run(lstm, features)
    (outputs.float() * weights).sum().backward()
    return [outputs.detach(), features.grad, *(weight.grad for weight in lstm.parameters())]


def plain(lstm, features):
    return lstm(features)[0]


@pytest.fixture(params=[True, False], ids=["both ways", "one way"])
def lstm(request):
    torch.manual_seed(0)
    return torch.nn.LSTM(6, 5, bidirectional=request.param)


@pytest.mark.parametrize("steps", [1, 14, 15, 4096], ids=lambda steps: f"{steps} at a time")
@pytest.mark.parametrize("bf16", [False, True])
def test_outputs_and_gradients_are_the_plain_ones(lstm, steps, bf16, monkeypatch):
    monkeypatch.setattr(recurrent, "STEPS", steps)
    features, weights = torch.randn(7, 4, 6), torch.randn(7, 4, 5 * (1 + lstm.bidirectional))
    expected, ours = (results(run, lstm, features, weights, enabled=bf16) for run in (plain, recur))
    tolerance = {"atol": 0.05, "rtol": 0.02} if bf16 else {"atol": 1e-6, "rtol": 1e-5}
    torch.testing.assert_close(ours, expected, **tolerance)


def test_the_backward_pass_may_run_under_autocast(lstm):
    """Autocast must not hand out the weights that the forward pass cast without gradient."""
    with torch.autocast("cpu", torch.bfloat16):
        recur(lstm, torch.randn(7, 4, 6)).float().sum().backward()
    assert all(weight.grad.any() for weight in lstm.parameters())


@pytest.mark.parametrize("frozen", ["all", "some"])
def test_frozen_weights_let_the_gradient_through(lstm, frozen):
    for name, weight in lstm.named_parameters():
        weight.requires_grad_(frozen == "some" and "hh" in name)
    features, weights = torch.randn(7, 4, 6), torch.randn(7, 4, 5 * (1 + lstm.bidirectional))
    torch.testing.assert_close(results(recur, lstm, features, weights, enabled=False)[1:],
                               results(plain, lstm, features, weights, enabled=False)[1:])  # fmt: skip


def test_an_input_without_gradient(lstm):
    recur(lstm, torch.randn(7, 4, 6)).sum().backward()
    assert all(weight.grad.any() for weight in lstm.parameters())


def test_only_the_input_is_kept(lstm):
    features, kept = torch.randn(7, 4, 6, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.shape) or tensor, lambda _: _):
        recur(lstm, features)
    assert kept == [features.shape]
