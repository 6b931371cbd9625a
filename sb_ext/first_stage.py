"""Recipes of two stages: the first one's filterbank goes into the second one's separator."""

import os
from dataclasses import replace

from sb_ext.trained_parts import TrainedPart
from sb_ext.yaml_keys import known_part

# What belongs to the second stage alone.
OWN = ("output_folder", "experiment", "pretrained", "encoder_folder", "select_by")


def first_stage(command, hparams):
    """The first stage of a recipe that names one: what it gives to the second, and the command that trains it.

    Arguments
    ---------
    command : sb_ext.command.Command
        Of the second stage; what it overrides of the data and the training holds for the first one, too.
    hparams : dict
        Reads ``first_stage``, the recipe's file, and where there is one ``encoder_folder``, ``output_folder``,
        ``num_speakers``, ``sample_rate`` and ``separator[model]``.

    Returns
    -------
    parts : list of TrainedPart
        Empty for a recipe of one stage.
    command : sb_ext.command.Command or None
        None where there is nothing to train: the folder was given, or the first stage is done.
    """
    if "first_stage" not in hparams:
        return [], None
    folder = hparams["encoder_folder"] or os.path.join(hparams["output_folder"], "encoder")
    filterbank, words = hparams["separator"]["model"].filterbank, f"python train.py hparams/{hparams['first_stage']}"
    part = TrainedPart("encoder_folder", filterbank, folder, words, "filterbank", hparams["sample_rate"])
    if hparams["encoder_folder"] or os.path.isfile(os.path.join(folder, "test_summary.json")):
        return [part], None
    recipe = os.path.join(os.path.dirname(command.recipe), hparams["first_stage"])
    shared = {key: value for key, value in command.overrides.items() if key not in OWN}
    overrides = known_part(recipe, shared) | {"output_folder": folder}
    overrides |= {"num_speakers": _fewest(hparams["num_speakers"])}
    return [part], replace(command, recipe=recipe, overrides=overrides)


def _fewest(num_speakers):
    return min(num_speakers) if isinstance(num_speakers, (list, tuple)) else num_speakers
