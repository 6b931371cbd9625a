"""What is remembered of each training mixture: its assignment and a figure, found by the mixture's id."""

import hashlib

import numpy as np
import torch
from speechbrain.utils.distributed import is_distributed_initialized
from torch import nn

# Rows are spread by their keys; beyond this share of taken rows the search for a free one grows long.
FULL = 0.75
# An assignment is packed into one number, four bits a target.
BITS, MAX_SOURCES = 4, 15


def _key(name):
    """A number for an id, never zero, which marks a free row."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True) or 1


def _pack(permutation):
    if permutation.shape[1] > MAX_SOURCES:
        raise ValueError(f"permutation: at most {MAX_SOURCES} sources fit, received {permutation.shape[1]}")
    shifts = BITS * torch.arange(permutation.shape[1])
    return (permutation.cpu() << shifts).sum(1)


class MixtureMemory(nn.Module):
    """An open-addressing hash table of 20 bytes a row, saved with the objective that owns it.

    Under DDP every rank writes what all ranks saw, so that the ranks agree when a mixture moves between them.

    Example
    -------
    >>> memory = MixtureMemory()
    >>> memory.record(["a", "b"], torch.tensor([[1, 0], [0, 1]]), torch.tensor([3.5, -1.0]))
    >>> known, permutation, figure = memory.look_up(["b", "c", "a"], num_sources=2)
    >>> known.tolist(), permutation[2].tolist(), figure[2].item(), len(memory)
    ([True, False, True], [1, 0], 3.5, 2)
    """

    def __init__(self, rows=1024):
        super().__init__()
        self._allocate(rows)

    def _allocate(self, rows):
        self.keys = np.zeros(rows, np.int64)
        self.packed = np.zeros(rows, np.int64)
        self.figures = np.zeros(rows, np.float32)
        self.taken = 0

    def __len__(self):
        return self.taken

    @property
    def nbytes(self):
        """Bytes of memory in all."""
        return self.keys.nbytes + self.packed.nbytes + self.figures.nbytes

    def _row(self, key):
        """Where a key is, or would be written."""
        mask = len(self.keys) - 1
        row = key & mask
        while self.keys[row] not in (0, key):
            row = (row + 1) & mask
        return row

    def look_up(self, ids, num_sources):
        """What is remembered of mixtures.

        Arguments
        ---------
        ids : list of str
        num_sources : int

        Returns
        -------
        known : torch.Tensor
            ``[B]``, bool; what follows means nothing where it is false.
        permutation : torch.Tensor
            ``[B, C]``, the estimate that belonged to each target.
        figure : torch.Tensor
            ``[B]``, float32.
        """
        keys = [_key(name) for name in ids]
        rows = [self._row(key) for key in keys]
        packed = torch.from_numpy(self.packed[rows]).unsqueeze(1)
        permutation = (packed >> (BITS * torch.arange(num_sources))) & (2**BITS - 1)
        return torch.from_numpy(self.keys[rows] == keys), permutation, torch.from_numpy(self.figures[rows])

    def record(self, ids, permutation, figure):
        """Remember ``permutation [B, C]`` and ``figure [B]`` of mixtures; on all ranks those of all ranks."""
        keys = torch.tensor([_key(name) for name in ids], dtype=torch.int64)
        bits = figure.detach().float().cpu().view(torch.int32).long()
        for key, packed, bit in _of_all_ranks(torch.stack([keys, _pack(permutation), bits], 1), figure.device):
            if self.taken >= FULL * len(self.keys):
                self._grow()
            self._write(key, packed, np.int32(bit).view(np.float32))

    def _write(self, key, packed, figure):
        row = self._row(key)
        self.taken += self.keys[row] == 0
        self.keys[row], self.packed[row], self.figures[row] = key, packed, figure

    def _grow(self):
        old = self.keys, self.packed, self.figures
        self._allocate(2 * len(self.keys))
        for key, packed, figure in zip(*old, strict=True):
            if key:
                self._write(int(key), packed, figure)

    def get_extra_state(self):
        """The table, for the checkpoint: taken rows only, so that it does not depend on when the table grew."""
        taken = np.flatnonzero(self.keys)
        order = taken[np.argsort(self.keys[taken])]
        return {name: torch.from_numpy(getattr(self, name)[order]) for name in ("keys", "packed", "figures")}

    def set_extra_state(self, state):
        """Take the table of a checkpoint."""
        columns = [state[name].numpy() for name in ("keys", "packed", "figures")]
        self._allocate(1024)
        while len(columns[0]) >= FULL * len(self.keys):
            self._allocate(2 * len(self.keys))
        for key, packed, figure in zip(*columns, strict=True):
            self._write(int(key), packed, figure)


def _of_all_ranks(rows, device):
    """``rows [B, 3]`` of every rank, as a list in the order of the ranks."""
    if is_distributed_initialized() and torch.distributed.get_world_size() > 1:
        # NCCL moves tensors of the GPU only.
        rows = rows.to(device)
        gathered = [torch.empty_like(rows) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(gathered, rows)
        rows = torch.cat(gathered)
    return rows.tolist()
