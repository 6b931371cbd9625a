"""The one Brain: trains any separator with any objective, and measures it."""

import logging
import time

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process

from sb_ext.assignment import best_permutation, reorder
from sb_ext.evaluation.averages import Averages
from sb_ext.losses import NegSISDR

logger = logging.getLogger(__name__)

# A stride that keeps the random numbers of different steps, epochs and ranks apart.
SEED_STRIDE = 1_000_003


class SeparationBrain(sb.Brain):
    """TRAIN asks the objective what the separator's estimates cost; VALID and TEST measure the separator.

    Besides SpeechBrain's own arguments it reads from ``hparams``: ``objective``, ``seed``, ``select_by`` (the figure,
    larger is better, that picks checkpoints), ``train_data``, ``recorder`` (writes curve and checkpoints) and
    ``evaluations`` (hooks that measure more; see sb_ext.evaluation.hooks).
    """

    def compute_forward(self, batch, stage):
        """The loss report while training, the estimates ``[B, C, T]`` otherwise."""
        batch = batch.to(self.device)
        if stage == sb.Stage.TRAIN:
            return self.hparams.objective(self.modules.separator, batch, self.epoch)
        return self.modules.separator(batch.mixture, oracle=batch.sources).sources

    def compute_objectives(self, predictions, batch, stage):
        """The mean loss of the kept rows while training; the negative SI-SNR improvement otherwise, in dB."""
        if stage == sb.Stage.TRAIN:
            return self._mean_of_kept(predictions)
        return self._measure(predictions, batch.to(self.device))

    def _mean_of_kept(self, report):
        finite = torch.isfinite(report.loss)
        keep = report.keep & finite
        rows, kept = len(keep), int(keep.sum())
        self.kept_rows = kept + (self.kept_rows or 0)
        self.averages.add("dropped", 1 - int(report.keep.sum()) / rows)
        self.averages.add("nonfinite", 1 - int(finite.sum()) / rows)
        self.averages.add("empty_batches", float(kept == 0))
        for name, value in report.log.items():
            self.averages.add(name, float(value))
        if kept == 0:
            # Zero, yet connected to every parameter that took part: DDP waits for their gradients.
            return torch.nan_to_num(report.loss).sum() * 0
        return torch.where(keep, torch.nan_to_num(report.loss), 0).sum() / kept

    def optimizers_step(self):
        """No optimiser step where no row was kept: momentum alone must not move the weights."""
        if self.kept_rows == 0:
            self.zero_grad(set_to_none=True)
        else:
            super().optimizers_step()

    def _measure(self, estimates, batch):
        """Mean negative SI-SNR improvement of a batch, each item cut to its own length; feeds the hooks."""
        ordered = None
        loss = estimates.new_zeros(())
        if batch.sources is not None:
            improvement, ordered = si_snr_improvement(estimates, batch)
            for value in improvement.tolist():
                self.averages.add("si_snri", value)
            loss = -improvement.mean()
        for hook in self.hooks:
            hook.update(batch, estimates, ordered)
        return loss

    def on_fit_batch_start(self, batch, should_step):
        """Random numbers depend on seed, epoch, step and rank alone: a resumed run draws what it would have drawn."""
        rank = getattr(self, "rank", 0)
        torch.manual_seed(self.hparams.seed + SEED_STRIDE * (self.epoch * SEED_STRIDE + self.step * 64 + rank))
        self.averages.add("data_wait", time.perf_counter() - self.step_ended)

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """Count kept rows from zero after a step; note when it ended, to know how long the next waits for its data."""
        self.kept_rows = None if should_step else self.kept_rows
        self.step_ended = time.perf_counter()

    def on_stage_start(self, stage, epoch=None):
        """Start averaging; hooks of validation and test make ready."""
        self.averages = Averages()
        self.stage_began = self.step_ended = time.perf_counter()
        self.hooks, self.kept_rows = [], None
        if stage == sb.Stage.TRAIN:
            self.epoch = epoch
            self.hparams.train_data.set_epoch(epoch)
            self.hparams.objective.train()
            return
        # Every rank validates, since all choose checkpoints by it; the test's tables are made and written once.
        wanted = stage == sb.Stage.VALID or if_main_process()
        self.hooks = [hook for hook in self.hparams.evaluations if wanted and hook.wanted(stage.name, epoch)]
        for hook in self.hooks:
            hook.start(stage.name)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Keep the training figures; after validation write the curve and the checkpoint, after a test the results."""
        stats = self.averages.means()
        seconds = time.perf_counter() - self.stage_began
        if stage == sb.Stage.TRAIN:
            wait = stats.pop("data_wait", 0.0) * self.averages.count("data_wait") / seconds
            self.train_stats = {"loss": stage_loss, **stats, "data_wait": wait, "seconds": seconds}
            return
        stats["seconds"] = seconds
        for hook in self.hooks:
            stats.update(hook.finish(self.separate, stage.name))
        self.hparams.recorder.stage_ended(self, stage, stats, epoch)

    @torch.no_grad()
    def separate(self, mixture):
        """Estimates ``[B, C, T]`` of ``mixture [B, T]`` on the Brain's device, in evaluation mode."""
        with self.evaluation_ctx:
            return self.modules.separator(mixture.to(self.device)).sources.float()

    @property
    def trainable(self):
        """Whether there is anything to train."""
        return any(parameter.requires_grad for parameter in self.modules.parameters())

    def init_optimizers(self):
        """Nothing to optimise in an oracle."""
        if self.trainable:
            super().init_optimizers()

    def on_fit_start(self):
        """As in SpeechBrain; then say where the run stands."""
        if not (self.compile or self.compile_module_keys):
            self.modules.separator.register_forward_hook(drop_nonfinite_gradients)
        super().on_fit_start()
        counter = self.hparams.recorder.epoch_counter
        done = counter.current
        if self._optimizer_step_limit_exceeded:
            # SpeechBrain would begin another epoch, find no step to take, and validate.
            counter.limit = done
        if done and if_main_process():
            logger.info("Resuming after epoch %d, optimiser step %d", done, self.optimizer_step)


def drop_nonfinite_gradients(separator, inputs, separation):
    """A forward hook: a row whose loss is not finite sends back zeros, not NaN, to the weights that all rows share."""
    if separation.sources.requires_grad:
        separation.sources.register_hook(torch.nan_to_num)


def si_snr_improvement(estimates, batch):
    """SI-SNR improvement of each item under its best permutation, padding not counted.

    Arguments
    ---------
    estimates : torch.Tensor
        ``[B, E, T]``, E >= C.
    batch : MixtureBatch
        With sources.

    Returns
    -------
    improvement : torch.Tensor
        ``[B]``, mean over the sources, in dB.
    ordered : torch.Tensor
        ``[B, C, T]``, the estimates in the order of the sources.

    Example
    -------
    >>> from sb_ext.contracts import MixtureBatch
    >>> sources = torch.randn(1, 2, 800)
    >>> batch = MixtureBatch(["a"], sources.sum(1), sources, None, torch.tensor([800]))
    >>> bool(si_snr_improvement(sources.flip(1), batch)[0] > 60)
    True
    """
    loss, improvements, ordered = NegSISDR(), [], []
    for row, length in enumerate(batch.lengths.tolist()):
        estimate = estimates[row : row + 1, :, :length].float()
        sources = batch.sources[row : row + 1, :, :length]
        permutation = best_permutation(loss.pairwise(estimate, sources))
        before = loss(batch.mixture[row, :length].expand_as(sources), sources)
        improvements.append((before - loss(reorder(estimate, permutation), sources)).mean())
        ordered.append(reorder(estimates[row : row + 1].float(), permutation))
    return torch.stack(improvements), torch.cat(ordered)
