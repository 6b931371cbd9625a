"""LSTMs that keep little for the backward pass."""

import torch
from torch.autograd.function import once_differentiable

# Steps that run again at a time: what oneDNN keeps for them fits into memory that is at hand.
STEPS = 4096


class _RunAgain(torch.autograd.Function):
    """Keeps the input only.

    oneDNN keeps many numbers a cell and step, and making that much fresh memory at every step takes time of its own. A
    first pass that keeps nothing is quicker, and running again piece after piece uses the same memory: what that costs
    and saves, `benchmarks/dptnet_step.py` prints.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx, lstm, features, *weights):
        ctx.lstm = lstm
        ctx.save_for_backward(features)
        return lstm(features)[0]

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, gradient):
        (features,) = ctx.saved_tensors
        trained = [weight for weight in ctx.lstm.parameters() if weight.requires_grad]
        size = max(1, STEPS // len(features))
        pieces, totals = [], [torch.zeros_like(weight) for weight in trained]
        for inputs, wanted in zip(features.split(size, 1), gradient.split(size, 1), strict=True):
            inputs = inputs.detach().requires_grad_()
            with torch.enable_grad():
                outputs = ctx.lstm(inputs)[0]
            piece, *rest = torch.autograd.grad(outputs, [inputs, *trained], wanted)
            pieces.append(piece)
            totals = [total.add_(part) for total, part in zip(totals, rest, strict=True)]
        found = iter(totals)
        return None, torch.cat(pieces, 1), *(next(found) if need else None for need in ctx.needs_input_grad[2:])


def recur(lstm, features):
    """Outputs ``[L, N, D]`` of a one-layer ``torch.nn.LSTM`` for ``features [L, N, C]``, with little kept on a CPU.

    Example
    -------
    >>> recur(torch.nn.LSTM(8, 3, bidirectional=True), torch.randn(5, 2, 8)).shape
    torch.Size([5, 2, 6])
    """
    if features.device.type != "cpu" or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return lstm(features)[0]
    return _RunAgain.apply(lstm, features, *lstm.parameters())
