"""Representations of targets on disk."""

import hashlib
import json
import logging
import os
from pathlib import Path

import numpy as np
import torch

from sb_ext.atomic import check_writable, whole_file

logger = logging.getLogger(__name__)

# After so many targets, all of them new, it is said that keeping them is in vain.
PATIENCE = 1000


def fingerprint(model, about=()):
    """A digest of a model's modules and weights, and of what else decides what it gives.

    Example
    -------
    >>> layer = torch.nn.Linear(2, 2)
    >>> fingerprint(layer) == fingerprint(layer), fingerprint(layer) == fingerprint(layer, ("bf16",))
    (True, False)
    """
    digest = hashlib.blake2b(json.dumps([repr(model), *map(str, about)]).encode(), digest_size=8)
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class RepresentationCache:
    """Representations found by the very samples they were made of, so that no crop is taken for another.

    It helps where the same samples come back: utterances no longer than the segment, each padded to it, under plain or
    dynamic mixing. Random crops of longer utterances start elsewhere every epoch and are not found: after a thousand
    such targets a warning says so. What it saves is the targets' forward pass. Equal to computing them up to
    rounding, since those that are missing are computed in a smaller batch.

    Arguments
    ---------
    folder : str
    name : str
        The fingerprint of what makes the representations.
    gigabytes : float
        When the files of this model take so much, no more are written.
    """

    def __init__(self, folder, name, gigabytes=20.0):
        check_writable("cache_folder", folder)
        self.folder = Path(folder, name)
        self.room = gigabytes * 1e9 - sum(path.stat().st_size for path in self.folder.glob("*/*.npy"))
        self.found, self.asked = 0, 0

    def __call__(self, signals, compute):
        """``compute(signals)``, ``[N, T]`` to ``[N, L, D]``, for those signals only that are not known."""
        paths = [self._path(samples) for samples in signals.detach().cpu().numpy()]
        rows = [self._read(path, signals) for path in paths]
        known = [row is not None for row in rows]
        self._count(known)
        missing = torch.tensor([not there for there in known], device=signals.device)
        computed = iter(compute(signals[missing])) if missing.any() else iter(())
        rows = [row if row is not None else next(computed) for row in rows]
        for path, there, row in zip(paths, known, rows, strict=True):
            if not there:
                self._write(path, row)
        return torch.stack(rows)

    def _path(self, samples):
        key = hashlib.blake2b(np.ascontiguousarray(samples), digest_size=16).hexdigest()
        return self.folder / key[:2] / f"{key[2:]}.npy"

    @staticmethod
    def _read(path, like):
        """None where nothing is known, or a full disk has cut the file short."""
        try:
            return torch.from_numpy(np.load(path)).to(like.device)
        except (OSError, ValueError, EOFError):
            return None

    def _write(self, path, row):
        self.room -= row.nbytes
        if self.room > 0:
            os.makedirs(path.parent, exist_ok=True)
            with whole_file(path) as temporary, open(temporary, "wb") as file:
                np.save(file, row.cpu().numpy())

    def _count(self, known):
        before, self.asked, self.found = self.asked, self.asked + len(known), self.found + sum(known)
        if not self.found and before < PATIENCE <= self.asked:
            logger.warning(
                "cache_folder: none of %d targets came back; random crops of long utterances never do. Set "
                "cache_folder to null, or segment_seconds to more than the utterances last",
                self.asked,
            )
