"""Checkpoints that are there in full or not at all, whenever the program is killed."""

import logging
import os
import shutil

from speechbrain.utils.checkpoints import Checkpointer, ckpt_recency
from speechbrain.utils.distributed import ddp_barrier, if_main_process

logger = logging.getLogger(__name__)

# Most objectives keep nothing, which is no news at every checkpoint.
logging.getLogger("speechbrain.utils.checkpoints").addFilter(lambda record: "empty state_dict" not in str(record.msg))

# SpeechBrain sees checkpoints by the beginning of their names: behind this they are hidden from it.
HIDDEN = "."


class AtomicCheckpointer(Checkpointer):
    """Saves under a hidden name and renames, and renames before it deletes.

    SpeechBrain's own writes and deletes file by file in place, the file that makes a folder a checkpoint first: what is
    left of it after a kill is loaded by the next start, which fails.

    Example
    -------
    >>> import torch
    >>> checkpointer = AtomicCheckpointer(getfixture("tmp_path"), {"model": torch.nn.Linear(1, 1)})
    >>> first = checkpointer.save_checkpoint(name="first")
    >>> checkpointer.save_and_keep_only(name="second")
    >>> [path.name for path in checkpointer.checkpoints_dir.iterdir()]
    ['CKPT+second']
    """

    def save_checkpoint(self, *args, **kwargs):
        """As SpeechBrain's."""
        hidden = super().save_checkpoint(*args, **kwargs)
        if hidden is None:
            return None
        for file in hidden.path.iterdir():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())
        path = hidden.path.rename(hidden.path.with_name(hidden.path.name.removeprefix(HIDDEN)))
        return hidden._replace(path=path, paramfiles={name: path / f.name for name, f in hidden.paramfiles.items()})

    def _new_checkpoint_dirpath(self):
        return _hidden(super()._new_checkpoint_dirpath())

    def _custom_checkpoint_dirpath(self, name):
        return _hidden(super()._custom_checkpoint_dirpath(name))

    def delete_checkpoints(
        self, *, num_to_keep=1, min_keys=None, max_keys=None, importance_keys=(ckpt_recency,), ckpt_predicate=None,
        verbosity=logging.INFO,
    ):  # fmt: skip
        """As SpeechBrain's; what killed runs left behind goes with it."""
        orders = [{"min_key": key} for key in min_keys or ()] + [{"max_key": key} for key in max_keys or ()]
        orders += [{"importance_key": key} for key in importance_keys]
        if if_main_process():
            ranked = [self.find_checkpoints(**order, ckpt_predicate=ckpt_predicate) for order in orders]
            kept = {checkpoint.path for ranks in ranked for checkpoint in ranks[:num_to_keep]}
            for path in {checkpoint.path for ranks in ranked for checkpoint in ranks} - kept:
                path.rename(_hidden(path))
                logger.log(verbosity, "Deleting the checkpoint in %s", path)
            for path in self.checkpoints_dir.glob(f"{HIDDEN}CKPT*"):
                shutil.rmtree(path)
        ddp_barrier()


def _hidden(path):
    return path.with_name(HIDDEN + path.name)
