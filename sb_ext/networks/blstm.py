"""Bidirectional LSTMs between dense layers, in the shape of Open-Unmix (Stoeter et al. 2019)."""

import torch
from torch import nn


class BLSTM(nn.Module):
    """Two dense layers in, bidirectional LSTM layers, two dense layers out.

    As Open-Unmix: each bin is shifted and scaled by learned numbers; a dense layer with batch norm and tanh; the LSTM,
    whose input is joined to its output; a dense layer with batch norm and ReLU; a dense layer with batch norm.

    Arguments
    ---------
    num_inputs : int
        F, bins.
    num_outputs : int
        D numbers a bin; E masks a bin is the same.
    cells : int
        Of each LSTM layer, each way.
    num_layers : int
    dropout : float
        Between LSTM layers.
    activation : type of nn.Module
        Of the outputs.
    num_bins : int, optional
        Bins of the outputs; as many as inputs by default.

    Example
    -------
    >>> BLSTM(33, 4, cells=8)(torch.rand(2, 33, 20))[-1].shape
    torch.Size([2, 4, 33, 20])
    """

    def __init__(
        self, num_inputs, num_outputs, cells=256, num_layers=3, dropout=0.0, activation=nn.Identity, num_bins=None
    ):  # fmt: skip
        super().__init__()
        self.num_bins = num_bins or num_inputs
        self.num_inputs, self.num_outputs = num_inputs, num_outputs
        self.shift, self.scale = nn.Parameter(torch.zeros(num_inputs)), nn.Parameter(torch.ones(num_inputs))
        width = 2 * cells
        self.encode = nn.Sequential(_Dense(num_inputs, width), nn.Tanh())
        self.lstm = nn.LSTM(width, cells, num_layers, bidirectional=True, dropout=dropout)
        self.decode = nn.Sequential(_Dense(2 * width, width), nn.ReLU(), _Dense(width, self.num_bins * num_outputs))
        self.activation = activation()

    def forward(self, features, layers=False):
        """``features [B, F, L]`` to a tuple of one ``[B, D, F, L]``."""
        frames = features.permute(2, 0, 1)
        encoded = self.encode((frames + self.shift) * self.scale)
        outputs = self.decode(torch.cat([encoded, self.lstm(encoded)[0]], -1))
        outputs = outputs.unflatten(-1, (self.num_outputs, self.num_bins)).permute(1, 2, 3, 0)
        return (self.activation(outputs),)


class _Dense(nn.Module):
    """A dense layer with batch norm in place of its bias."""

    def __init__(self, num_inputs, num_outputs):
        super().__init__()
        self.dense, self.norm = nn.Linear(num_inputs, num_outputs, bias=False), nn.BatchNorm1d(num_outputs)

    def forward(self, features):
        """``[L, B, F]`` to ``[L, B, F']``."""
        return self.norm(self.dense(features).flatten(0, 1)).unflatten(0, features.shape[:2])
