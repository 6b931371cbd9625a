"""The one Brain: trains any separator with any objective, and measures it."""

import logging
import time

import speechbrain as sb
import torch
import yaml
from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks
from speechbrain.utils.distributed import ddp_all_reduce, if_main_process, is_distributed_initialized
from torch.nn import BatchNorm1d
from torch.nn.parallel import DistributedDataParallel

from sb_ext.assignment import best_permutation, reorder
from sb_ext.evaluation.averages import Averages
from sb_ext.evaluation.improvement import si_snr_gain
from sb_ext.losses import NegSISDR

logger = logging.getLogger(__name__)

# A stride that keeps the random numbers of different steps, epochs and ranks apart.
SEED_STRIDE = 1_000_003


@register_checkpoint_hooks
class SeparationBrain(sb.Brain):
    """TRAIN asks the objective what the separator's estimates cost; VALID and TEST measure the separator.

    Besides SpeechBrain's own arguments it reads from ``hparams``: ``objective``, ``seed``, ``select_by`` (the figure,
    larger is better, that picks checkpoints), ``train_data``, ``recorder`` (writes curve and checkpoints) and
    ``evaluations`` (hooks that measure more; see sb_ext.evaluation.hooks).
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Not compiled, as a test set would need for each of its lengths, nor wrapped by DDP, which waits for others.
        self.separator = self.modules.separator

    def compute_forward(self, batch, stage):
        """The loss report while training, the estimates ``[B, C, T]`` otherwise."""
        batch = batch.to(self.device)
        if stage == sb.Stage.TRAIN:
            return self.hparams.objective(self.modules.separator, batch, self.epoch)
        count = batch.sources.shape[1] if batch.sources is not None and self.separator.chooses_count else None
        return self.separator(batch.mixture, oracle=batch.sources, num_sources=count).sources

    def compute_objectives(self, predictions, batch, stage):
        """The mean loss of the kept rows while training; the negative SI-SNR improvement otherwise, in dB."""
        if stage == sb.Stage.TRAIN:
            return self._mean_of_kept(predictions)
        with torch.autocast(self.device_type, enabled=False):
            return self._measure(predictions.float(), batch.to(self.device))

    def _mean_of_kept(self, report):
        """Over the kept rows of all DDP ranks, as in one process with the joined batch."""
        finite = torch.isfinite(report.loss)
        keep, loss = report.keep & finite, torch.nan_to_num(report.loss)
        total = torch.where(keep, loss, 0).sum()
        sums = [total.detach(), keep.sum(), finite.sum(), report.keep.sum(), torch.ones_like(keep).sum()]
        sums = ddp_all_reduce(torch.stack([value.float() for value in sums]), torch.distributed.ReduceOp.SUM)
        cost, kept, usable, wanted, rows = sums.tolist()
        self.kept_rows = kept + (self.kept_rows or 0)
        self.averages.add("dropped", 1 - wanted / rows)
        self.averages.add("nonfinite", 1 - usable / rows)
        self.averages.add("empty_batches", float(kept == 0))
        for name, value in report.log.items():
            self.averages.add(name, float(value))
        if kept == 0:
            # Zero, yet connected to every parameter that took part: DDP waits for their gradients.
            return loss.sum() * 0
        self.averages.add("loss", cost / kept)
        # DDP divides the sum of the ranks' gradients by their number.
        return total * (torch.distributed.get_world_size() if is_distributed_initialized() else 1) / kept

    def optimizers_step(self):
        """No optimiser step where no row was kept: momentum alone must not move the weights."""
        if self.kept_rows == 0:
            self.zero_grad(set_to_none=True)
        else:
            super().optimizers_step()

    def _measure(self, estimates, batch):
        """Mean negative SI-SNR improvement of a batch, each item cut to its own length; feeds the hooks."""
        ordered, loss = None, estimates.new_zeros(())
        self.items += len(batch)
        if batch.sources is not None:
            improvement, ordered = si_snr_improvement(estimates, batch)
            known = improvement[~improvement.isnan()]
            self.averages.add("left_out", 1 - len(known) / len(batch), len(batch))
            for value in known.tolist():
                self.averages.add("si_snri", value)
            loss = -known.sum() / max(1, len(known))
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
        if stage != sb.Stage.TRAIN or self.step == 0:
            # A run that was killed inside an epoch goes on with what the checkpoint holds.
            self.averages, self.stage_seconds = Averages(), 0.0
        self.step_ended = time.perf_counter()
        self.stage_began = self.step_ended - self.stage_seconds
        self.hooks, self.kept_rows, self.items = [], None, 0
        if stage == sb.Stage.TRAIN:
            self.epoch = epoch
            self.hparams.train_data.set_epoch(epoch)
            self.hparams.objective.train()
            return
        # Every rank validates its share; the test's tables are made and written once.
        wanted = stage == sb.Stage.VALID or if_main_process()
        self.hooks = [hook for hook in self.hparams.evaluations if wanted and hook.wanted(stage.name, epoch)]
        for hook in self.hooks:
            hook.start(stage.name)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Keep the training figures; after validation write the curve and the checkpoint, after a test the results."""
        seconds = time.perf_counter() - self.stage_began
        if stage == sb.Stage.TRAIN:
            stats = self.averages.over_ranks().means()
            if stats.get("nonfinite") == 1:
                raise ValueError(
                    f"loss: not finite for any training mixture of epoch {epoch}, so that no step was taken; look at "
                    "the data and at the weights that were loaded, or lower --learning_rate"
                )
            wait = stats.pop("data_wait", 0.0) * self.averages.count("data_wait") / seconds
            loss = stats.pop("loss", float("nan"))
            self.train_stats = {"loss": loss, **stats, "data_wait": wait, "seconds": seconds}
            self.train_stats["learning_rate"] = self.optimizer.param_groups[0]["lr"]
            return
        figures = {}
        for hook in self.hooks:
            figures |= hook.finish(self.separate, stage.name)
        if stage == sb.Stage.VALID and is_distributed_initialized():
            for name in list(figures):
                self.averages.add(name, figures.pop(name), self.items)
        stats = self.averages.over_ranks().means() | figures
        stats["seconds"] = time.perf_counter() - self.stage_began
        self.hparams.recorder.stage_ended(self, stage, stats, epoch)

    @torch.no_grad()
    def separate(self, mixture, layers=False):
        """Estimates ``[B, C, T]`` of ``mixture [B, T]`` on the Brain's device, in evaluation mode.

        With ``layers`` a tuple of them, one a layer where the separator has layers, the last layer's last.
        """
        with self.evaluation_ctx:
            separation = self.separator(mixture.to(self.device), layers=layers)
        if not layers:
            return separation.sources.float()
        return tuple(estimates.float() for estimates in separation.layers or (separation.sources,))

    @property
    def trainable(self):
        """Whether there is anything to train."""
        return any(parameter.requires_grad for parameter in self.modules.parameters())

    def _wrap_distributed(self):
        """As in SpeechBrain; but on CPUs, where torch cannot join batch norms' statistics, each rank keeps its own."""
        if not self.distributed_launch or self.device_type != "cpu":
            super()._wrap_distributed()
            return
        for name, module in self.modules.items():
            if any(parameter.requires_grad for parameter in module.parameters()):
                if any(isinstance(part, BatchNorm1d) and part.training for part in module.modules()):
                    logger.warning("Batch norms take the statistics of each rank's own rows: CPUs cannot join them")
                wrapped = DistributedDataParallel(module, find_unused_parameters=self.find_unused_parameters)
                self.modules[name] = wrapped

    def init_optimizers(self):
        """Nothing to optimise in an oracle."""
        if self.trainable:
            super().init_optimizers()

    def on_fit_start(self):
        """As in SpeechBrain; then say where the run stands."""
        # SpeechBrain looks at the keys only where everything is to be compiled.
        self.compile = self.compile or bool(self.compile_module_keys)
        super().on_fit_start()
        self.modules.separator.register_forward_hook(drop_nonfinite_gradients)
        counter = self.hparams.recorder.epoch_counter
        done = counter.current
        if self._optimizer_step_limit_exceeded and self.step == 0:
            # SpeechBrain would begin another epoch, find no step to take, and validate.
            counter.limit = done
        if done and if_main_process():
            logger.info("Resuming after epoch %d, optimiser step %d", done, self.optimizer_step)

    def _should_save_intra_epoch_ckpt(self, *times):
        """Not among the batches of one step: what they have gathered of its gradient is in no checkpoint."""
        whole = self.step % self.grad_accumulation_factor == 0
        return whole and super()._should_save_intra_epoch_ckpt(*times)

    @mark_as_saver
    def _save(self, path):
        """As in SpeechBrain; with what the epoch has measured so far, for the curve of a run that is killed in it."""
        super()._save(path)
        measured = {"averages": vars(self.averages), "seconds": time.perf_counter() - self.stage_began}
        with open(path, "a", encoding="utf-8") as file:
            yaml.safe_dump(measured, file)

    @mark_as_loader
    def _recover(self, path, end_of_epoch):
        """As in SpeechBrain."""
        super()._recover(path, end_of_epoch)
        with open(path, encoding="utf-8") as file:
            state = yaml.safe_load(file)
        self.averages, self.stage_seconds = Averages(), state.get("seconds", 0.0)
        vars(self.averages).update(state.get("averages", {}))


def drop_nonfinite_gradients(separator, inputs, separation):
    """A forward hook: a row whose loss is not finite sends back zeros, not NaN, to the weights that all rows share."""
    for tensor in (separation.sources, *(getattr(separation, "space", None) or ())):
        if tensor is not None and tensor.requires_grad:
            tensor.register_hook(torch.nan_to_num)


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
        ``[B]``, mean over the sources, in dB; NaN for an item with a silent source.
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
        improvements.append(si_snr_gain(reorder(estimate, permutation)[0], batch.mixture[row, :length], sources[0]))
        ordered.append(reorder(estimates[row : row + 1].float(), permutation))
    return torch.stack(improvements), torch.cat(ordered)
