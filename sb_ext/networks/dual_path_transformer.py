"""DPTNet, the dual-path transformer network (Chen et al. 2020), arranged for little memory.

Three things differ from the public implementations while the function stays the same: features lie channels-last, as
attention, LSTM and norm read them; on a CPU the LSTMs keep their input only and run again in the backward pass; and the
mask head adds the chunks up before its first convolution, not after: half the frames, and no copy a source.
"""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sb_ext.networks.recurrent import recur
from sb_ext.networks.tcn import NORM_EPS

# Asteroid's names and ours
RENAMED = {"in_norm": "norm", "layers": "blocks", "mha": "attention", "norm_mha": "attention_norm", "norm_ff": "norm"}
RENAMED |= {"linear": "project", "gamma": "weight", "beta": "bias"}


def cut(features, size, hop):
    """Frames ``[B, L, C]`` to overlapping chunks ``[B, S, size, C]``, S = (L + size) // hop + 1, zeros at both ends.

    Example
    -------
    >>> cut(torch.ones(1, 3, 1), 2, 1).squeeze().tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
    """
    padded = nn.functional.pad(features, (0, 0, size, size))
    return padded.unfold(1, size, hop).transpose(2, 3).contiguous()


def overlap_add(chunks, hop, length):
    """Undo ``cut``: the mean of the chunks over each frame, ``[B, S, K, C]`` to ``[B, length, C]``; hop divides K.

    Example
    -------
    >>> overlap_add(cut(torch.tensor([[[1.0], [2.0], [3.0]]]), 2, 1), 1, 3).flatten().tolist()
    [1.0, 2.0, 3.0]
    """
    size = chunks.shape[2]
    last = size // hop - 1
    pieces = chunks.unflatten(2, (-1, hop)).unbind(2)
    shifted = (nn.functional.pad(piece, (0, 0, 0, 0, by, last - by)) for by, piece in enumerate(pieces))
    return sum(shifted).flatten(1, 2)[:, size : size + length] * (hop / size)


def attend(query, key, value, dropout=0.0):
    """Attention ``[N, H, L, D]``; on CPUs in single precision, since bf16 makes the fused kernel's backward slow."""
    kernel = nn.functional.scaled_dot_product_attention
    if query.is_cuda or not torch.is_autocast_enabled("cpu"):
        return kernel(query, key, value, dropout_p=dropout)
    with torch.autocast("cpu", enabled=False):
        return kernel(query.float(), key.float(), value.float(), dropout_p=dropout)


class GlobalNorm(nn.Module):
    """Normalisation over time and channels, with a gain and an offset a channel."""

    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, features):
        """``[N, L, C]`` to ``[N, L, C]``, each of the N on its own."""
        shape = features.shape[1:]
        return nn.functional.layer_norm(features, shape, self.weight.expand(shape), self.bias.expand(shape), NORM_EPS)


class ImprovedTransformer(nn.Module):
    """Self-attention, then an LSTM in place of a transformer's feed-forward part.

    Arguments
    ---------
    channels, num_heads, cells : int
        C, attention heads, LSTM cells each way.
    dropout : float
    bidirectional : bool
        Whether the LSTM runs both ways.
    """

    def __init__(self, channels, num_heads, cells, dropout=0.0, bidirectional=True):
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, num_heads, dropout)
        self.attention_norm = GlobalNorm(channels)
        self.recurrent = nn.LSTM(channels, cells, bidirectional=bidirectional)
        self.project = nn.Linear(cells * (1 + bidirectional), channels)
        self.norm = GlobalNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features):
        """Sequences ``[N, L, C]`` to ``[N, L, C]``."""
        features = self.attention_norm(features + self.dropout(self._attend(features)))
        hidden = self.dropout(recur(self.recurrent, features.transpose(0, 1)).relu())
        return self.norm(features + self.dropout(self.project(hidden)).transpose(0, 1))

    def _attend(self, features):
        own = self.attention
        mixed = nn.functional.linear(features, own.in_proj_weight, own.in_proj_bias)
        query, key, value = mixed.unflatten(-1, (3, own.num_heads, -1)).permute(2, 0, 3, 1, 4)
        heads = attend(query, key, value, own.dropout if self.training else 0.0)
        return own.out_proj(heads.transpose(1, 2).flatten(2))


class DualPathBlock(nn.Sequential):
    """An improved transformer within the chunks, then one across them."""

    def forward(self, chunks):
        """``[B, S, K, C]`` to ``[B, S, K, C]``."""
        for path in self:
            chunks = path(chunks.flatten(0, 1)).view_as(chunks).transpose(1, 2).contiguous()
        return chunks


class DualPathTransformer(nn.Module):
    """Features to masks, by blocks that look within chunks of frames and across them (Chen et al. 2020).

    Arguments
    ---------
    num_inputs : int
        F, input channels; a multiple of ``num_heads``.
    num_outputs : int
        E, sources to give a mask for.
    num_blocks, num_heads, cells : int
        Blocks, attention heads, LSTM cells each way.
    chunk_size, chunk_hop : int
        In frames; the hop divides the size.
    dropout : float
    bidirectional : bool
        Whether the LSTMs across chunks run both ways; those within always do.
    activation : type of nn.Module
        Of the masks.
    checkpoint_blocks : bool
        Whether to keep each block's input only and run the block again in the backward pass: less memory, more time.

    Example
    -------
    >>> network = DualPathTransformer(8, 2, num_blocks=3, num_heads=2, cells=4, chunk_size=6, chunk_hop=3)
    >>> [mask.shape for mask in network(torch.rand(5, 8, 20), layers=True)]
    [torch.Size([5, 2, 8, 20]), torch.Size([5, 2, 8, 20]), torch.Size([5, 2, 8, 20])]
    """

    def __init__(
        self,
        num_inputs,
        num_outputs,
        num_blocks=6,
        num_heads=4,
        cells=128,
        chunk_size=100,
        chunk_hop=50,
        dropout=0.0,
        bidirectional=True,
        activation=nn.ReLU,
        checkpoint_blocks=False,
    ):
        super().__init__()
        if num_inputs % num_heads:
            raise ValueError(f"num_heads: expected a divisor of {num_inputs} input channels, received {num_heads}")
        if chunk_hop < 1 or chunk_size % chunk_hop:
            raise ValueError(f"chunk_hop: expected a divisor of chunk_size {chunk_size}, received {chunk_hop}")
        self.num_inputs, self.num_outputs = num_inputs, num_outputs
        self.chunk_size, self.chunk_hop, self.checkpoint_blocks = chunk_size, chunk_hop, checkpoint_blocks
        self.norm = GlobalNorm(num_inputs)
        ways = (True, bidirectional)
        self.blocks = nn.ModuleList(
            DualPathBlock(*(ImprovedTransformer(num_inputs, num_heads, cells, dropout, both) for both in ways))
            for _ in range(num_blocks)
        )
        self.slope = nn.PReLU()
        self.split = nn.Linear(num_inputs, num_inputs * num_outputs)
        self.gate = nn.Linear(num_inputs, 2 * num_inputs)
        self.activation = activation()

    def forward(self, features, layers=False):
        """Masks of ``features [B, F, L]``: a tuple of ``[B, E, F, L]``, one a block when ``layers``, else the last."""
        chunks, sums = cut(self.norm(features.mT), self.chunk_size, self.chunk_hop), []
        for place, block in enumerate(self.blocks, start=1):
            again = self.checkpoint_blocks and torch.is_grad_enabled()
            chunks = checkpoint(block, chunks, use_reentrant=False) if again else block(chunks)
            if layers or place == len(self.blocks):
                sums.append(overlap_add(self.slope(chunks), self.chunk_hop, features.shape[-1]))
        return self._masks(torch.stack(sums)).unbind()

    def _masks(self, features):
        """The head, the same for all blocks: ``[N, B, L, F]`` to ``[N, B, E, F, L]``."""
        split = self.split(features).unflatten(-1, (self.num_outputs, self.num_inputs))
        output, gate = self.gate(split).chunk(2, -1)
        return self.activation(output.tanh() * gate.sigmoid()).permute(0, 1, 3, 4, 2)

    def load_asteroid(self, state):
        """Take the weights of ``asteroid.masknn.DPTransformer``, the ``masker`` of Asteroid's DPTNet.

        Arguments
        ---------
        state : dict
            Its ``state_dict()``.
        """
        own = {"slope.weight": state["first_out.0.weight"]}
        for kind in ("weight", "bias"):
            own[f"split.{kind}"] = state[f"first_out.1.{kind}"]
            own[f"gate.{kind}"] = torch.cat([state[f"net_out.0.{kind}"], state[f"net_gate.0.{kind}"]])
        for name, value in state.items():
            if not name.startswith(("first_out", "net_")):
                own[".".join(RENAMED.get(part, part) for part in name.split("."))] = value
        # The head's 1x1 convolutions are matrix products here.
        self.load_state_dict({name: value.flatten(1) if value.dim() > 2 else value for name, value in own.items()})
