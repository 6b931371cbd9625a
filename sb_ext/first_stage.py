"""Recipes of two stages: the first one's filterbank goes into the second one's separator."""

import logging
import os
from dataclasses import replace

from sb_ext.configuration import load_weights
from sb_ext.yaml_keys import known_part

logger = logging.getLogger(__name__)

# What belongs to the second stage alone.
OWN = ("output_folder", "experiment", "pretrained", "encoder_folder", "select_by")


def first_stage(command, hparams):
    """The folder where the first stage of a recipe is or will be, and the command that trains it.

    Arguments
    ---------
    command : sb_ext.command.Command
        Of the second stage; what it overrides of the data and the training holds for the first one, too.
    hparams : dict
        Reads ``encoder_folder``, ``first_stage``, ``output_folder``, ``num_speakers``, ``sample_rate`` and ``seed``.

    Returns
    -------
    folder : str
    command : sb_ext.command.Command or None
        None where the folder was given, or the first stage is done.
    """
    folder = hparams["encoder_folder"] or os.path.join(hparams["output_folder"], "encoder")
    if hparams["encoder_folder"] or os.path.isfile(os.path.join(folder, "test_summary.json")):
        return folder, None
    recipe = os.path.join(os.path.dirname(command.recipe), hparams["first_stage"])
    shared = {key: value for key, value in command.overrides.items() if key not in OWN}
    overrides = known_part(recipe, shared) | {"output_folder": folder}
    overrides |= {"num_speakers": _fewest(hparams["num_speakers"])}
    return folder, replace(command, recipe=recipe, overrides=overrides)


def _fewest(num_speakers):
    return min(num_speakers) if isinstance(num_speakers, (list, tuple)) else num_speakers


def load_first_stage(separator, folder, sample_rate):
    """Give ``separator.filterbank`` the weights of the first stage, through SpeechBrain's Pretrainer.

    Raises
    ------
    ValueError
        If there is no such model, its filterbank is another, or it was trained at another rate than ``sample_rate``.
    """
    load_weights(separator.filterbank, folder, key="encoder_folder", part="filterbank", sample_rate=sample_rate)
    logger.info("The filterbank of %s", folder)
