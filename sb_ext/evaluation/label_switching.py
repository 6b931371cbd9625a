"""Label-assignment switching: how often PIT's choice for a training mixture changes from one epoch to the next.

Gao et al. 2023 (dynamic sample dropout), sections 5.1 and 5.3: switching disturbs training, and layers whose curves
differ from the last layer's are trained in other directions ("layer-decoupling").

=======================  =========================================================================================
``label_switching.csv``  epoch, layer, ratio (0 to 1), valid_si_snri (dB), train_dropped (0 to 1); from epoch 2 on
``layer_decoupling.csv``  layer, last_layer, distance, epochs; where the separator gives several layers
=======================  =========================================================================================

The paper prints L1 distances (Table 2: 37.50 for PIT's layer 1 against 6) without a unit. Here a distance is the sum
over the epochs of the absolute difference of two ratios, each from 0 to 1. That is likely the paper's too: 37.50 over
its 200 epochs is a mean difference of 0.19, and assignments of two speakers by chance would switch with 0.5. It grows
with the number of epochs: runs of different length compare by distance / epochs.
"""

import math
import os

import numpy as np
import torch
from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks
from speechbrain.utils.distributed import if_main_process, is_distributed_initialized
from torch.utils.data import DataLoader
from tqdm import tqdm

from sb_ext.assignment import best_permutation
from sb_ext.atomic import write_text
from sb_ext.data.loader import MixtureDataset, collate, share_of_rank
from sb_ext.data.store import Subset
from sb_ext.evaluation.hooks import Evaluation
from sb_ext.losses import NegSISDR
from sb_ext.recorder import csv_text, read_curve

SWITCHING = ("epoch", "layer", "ratio", "valid_si_snri", "train_dropped")
DECOUPLING = ("layer", "last_layer", "distance", "epochs")


@register_checkpoint_hooks
class LabelSwitching(Evaluation):
    """Share of training mixtures whose PIT assignment (by SI-SNR) differs from the epoch before, for every layer.

    Measured after each epoch in evaluation mode, on crops that stay the same, so that only the model changes. Gives
    the last layer's share as ``switching``. A separator without layers has one: the last.

    Arguments
    ---------
    folder : str
        The experiment's output folder.
    mixtures : int, optional
        How many training mixtures, a seeded choice; all of them by default, as in the paper.
    batch_size : int
    seed : int
        Of the choice and of the crops.
    """

    gives = ("switching",)

    def __init__(self, folder, mixtures=None, batch_size=32, seed=0):
        super().__init__(("VALID",))
        if batch_size < 1 or (mixtures is not None and mixtures < 1):
            raise ValueError(
                f"LabelSwitching: expected batch_size and mixtures of at least 1, received {batch_size} and {mixtures}"
            )
        self.folder, self.mixtures, self.batch_size, self.seed = folder, mixtures, batch_size, seed
        self.assignments = None

    def prepare(self, train_data, checkpointer):
        """Choose mixtures and crops; ValueError where there are no references to assign."""
        store = train_data.store
        if not store.num_sources:
            raise ValueError(
                f"LabelSwitching: the training data have no reference sources (first mixture: {store.ids[0]}), so that "
                "there are no assignments to follow; take label_switching out of evaluations"
            )
        chosen = np.random.default_rng(self.seed).permutation(len(store))[: self.mixtures]
        self.data = MixtureDataset(Subset(store, np.sort(chosen)), train_data.segment, self.seed)
        # A run may take this evaluation up when it is continued.
        checkpointer.add_recoverable("label_switching", self, optional_load=True)

    def finish(self, separate, stage):
        """The last layer's share; none after the first epoch, which has nothing before it."""
        before, self.assignments = self.assignments, self._assign(separate)
        if before is None or before.shape != self.assignments.shape:
            self.ratios = []
            return {}
        self.ratios = (before != self.assignments).any(-1).double().mean(0).tolist()
        return {"switching": self.ratios[-1]}

    @torch.no_grad()
    def _assign(self, separate):
        """PIT's assignments of all chosen mixtures, ``[N, layers, C]``, each found by one DDP rank."""
        # A loader without a generator draws from the global random state.
        options = {"collate_fn": collate, "generator": torch.Generator()}
        loader = DataLoader(self.data, self.batch_size, sampler=share_of_rank(self.data), **options)
        progress = tqdm(loader, "Label switching", leave=False, disable=None if if_main_process() else True)
        found = [assignment for batch in progress for assignment in _assignments(separate, batch)]
        parts, whole = [found], [None] * len(self.data)
        if is_distributed_initialized():
            parts *= torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, found)
        for rank, part in enumerate(parts):
            whole[rank :: len(parts)] = part
        return torch.stack(whole)

    def recorded(self, row):
        """Write both tables anew; rows of epochs that are trained again after a restart are replaced."""
        path = os.path.join(self.folder, "label_switching.csv")
        rows = [old for old in read_curve(path) if int(old["epoch"]) < row["epoch"]]
        rows += [{**row, "layer": layer, "ratio": ratio} for layer, ratio in enumerate(self.ratios, start=1)]
        write_text(path, csv_text(SWITCHING, rows))
        path = os.path.join(self.folder, "layer_decoupling.csv")
        write_text(path, csv_text(DECOUPLING, layer_decoupling(rows)))

    @mark_as_saver
    def _save(self, path):
        """This epoch's assignments, for the next to be compared with."""
        torch.save(self.assignments, path)

    @mark_as_loader
    def _load(self, path, end_of_epoch):
        """Those of the epoch before."""
        self.assignments = torch.load(path)


def _assignments(separate, batch):
    """``[layers, C]`` for each mixture of a batch."""
    layers = separate(batch.mixture, layers=True)
    sources, loss = batch.sources.to(layers[-1].device), NegSISDR()
    best = [best_permutation(loss.scores(estimates, sources)) for estimates in layers]
    return torch.stack(best, 1).to("cpu", torch.int8).unbind()


def layer_decoupling(rows):
    """Distance of every layer's switching curve from the last layer's: sum of absolute differences over the epochs.

    Arguments
    ---------
    rows : list of dict
        As in ``label_switching.csv``.

    Returns
    -------
    list of dict
        The rows of ``layer_decoupling.csv``; none where there is one layer.

    Example
    -------
    >>> ratios = {1: [0.5, 0.5], 2: [0.25, 0.0]}
    >>> layer_decoupling([{"layer": layer, "ratio": ratio} for layer in ratios for ratio in ratios[layer]])
    [{'layer': 1, 'last_layer': 2, 'distance': 0.75, 'epochs': 2}]
    """
    curves = {}
    for row in rows:
        curves.setdefault(int(row["layer"]), []).append(float(row["ratio"]))
    last = max(curves, default=None)
    return [
        {
            "layer": layer,
            "last_layer": last,
            "distance": math.fsum(abs(one - other) for one, other in zip(curve, curves[last], strict=True)),
            "epochs": len(curve),
        }
        for layer, curve in sorted(curves.items())
        if layer != last
    ]
