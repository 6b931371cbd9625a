"""Parts of a model that were trained before it: where their weights come from."""

import logging
import textwrap
from pathlib import Path

from sb_ext.configuration import load_weights
from sb_ext.model_folder import read_state

logger = logging.getLogger(__name__)

RANDOM = "random"


class TrainedPart:
    """A part of a model that was trained on its own, as a recipe lists it under ``trained_parts``.

    Arguments
    ---------
    key : str
        The recipe's key for ``source``, for messages.
    module : torch.nn.Module
        Gets the weights.
    source : str
        The training's output folder, its model folder, a hub name, a file of weights, or ``random``: none.
    command : str
        The training's command, for messages.
    part : str
        Which submodule of the trained model; the whole by default.
    sample_rate : int, optional
        In Hz, at which it must have been trained, where the module does not say.

    Example
    -------
    >>> import torch
    >>> TrainedPart("basic", torch.nn.Linear(2, 2), "nowhere/at/all", "train.py pit.yaml").load()
    Traceback (most recent call last):
    ValueError: basic: no model can be loaded from nowhere/at/all (nowhere/at/all: no such folder; expected an output folder, a model folder or a hub name); set --basic to an output folder, a model folder or a hub name; train it with the same --budget by `train.py pit.yaml`, or say --basic random to start from nothing
    """  # noqa: E501

    def __init__(self, key, module, source, command, part="", sample_rate=None):
        self.key, self.module, self.source, self.command = key, module, source, command
        self.part, self.sample_rate = part, sample_rate

    def load(self):
        """Give the module its weights.

        Raises
        ------
        ValueError
            If there are none, or they do not fit.
        """
        if self.source == RANDOM:
            logger.warning("%s: %s: this part of the model starts untrained", self.key, RANDOM)
            return
        try:
            if Path(self.source).is_file():
                self._load_file()
            else:
                load_weights(self.module, self.source, self.key, self.part, self.sample_rate)
        except ValueError as error:
            raise ValueError(
                f"{error}; train it with the same --budget by `{self.command}`, "
                f"or say --{self.key} {RANDOM} to start from nothing"
            ) from None
        logger.info("%s: weights from %s", self.key, self.source)

    def _load_file(self):
        try:
            # What torch.nn.DataParallel puts before every name.
            state, prefix = _without("module.", read_state(self.source)), f"{self.part}."
            inside = {name: value for name, value in state.items() if name.startswith(prefix)}
            self.module.load_state_dict(_without(prefix, inside or state))
        except (RuntimeError, ValueError) as error:
            reason = textwrap.shorten(str(error), 300, placeholder=" ...")
            raise ValueError(
                f"{self.key}: {self.source} holds no weights of this recipe's model ({reason}); "
                "set the model's keys as they were in its training, or give another file"
            ) from None


def _without(prefix, state):
    return {name.removeprefix(prefix): value for name, value in state.items()}
