"""A trained model as a small folder of its own: what separating needs, and nothing of the training."""

import filecmp
import io
import os
import shutil
from pathlib import Path

import ruamel.yaml

from sb_ext.atomic import whole_file, write_text

PRETRAINER = """
modules:
    separator: !ref <separator[model]>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        separator: !ref <separator[model]>
"""


def export_model(output_folder, select_by, folder=None):
    """Write ``hyperparams.yaml`` and ``separator.ckpt`` of an experiment's best checkpoint.

    The folder is what SourceSeparation.from_hparams takes, from disk or from a hub.

    Arguments
    ---------
    output_folder : str
        Of the experiment; holds ``hyperparams.yaml`` and ``save``.
    select_by : str
        The figure in the checkpoints' meta data; the largest wins.
    folder : str, optional
        Where to write; ``model`` below the output folder by default.

    Returns
    -------
    str
        The folder.

    Raises
    ------
    FileNotFoundError
        If there is no checkpoint, or no ``hyperparams.yaml``.
    """
    folder = folder or os.path.join(output_folder, "model")
    checkpoint = _best_checkpoint(os.path.join(output_folder, "save"), select_by)
    os.makedirs(folder, exist_ok=True)
    # What is there already is left alone: others may read it now, or nobody may write there.
    trained, weights = (os.path.join(place, "separator.ckpt") for place in (checkpoint, folder))
    if not (os.path.isfile(weights) and filecmp.cmp(trained, weights, shallow=False)):
        with whole_file(weights) as temporary:
            shutil.copyfile(trained, temporary)
    text, path = _model_yaml(os.path.join(output_folder, "hyperparams.yaml")), Path(folder, "hyperparams.yaml")
    if not (path.is_file() and path.read_text(encoding="utf-8") == text):
        write_text(path, text)
    return folder


def _best_checkpoint(save, select_by):
    from speechbrain.utils.checkpoints import Checkpointer

    checkpointer = Checkpointer(save) if os.path.isdir(save) else None
    found = checkpointer and (
        checkpointer.find_checkpoint(max_key=select_by, ckpt_predicate=lambda one: select_by in one.meta)
        or checkpointer.find_checkpoint()
    )
    if not found:
        raise FileNotFoundError(f"{save}: holds no checkpoint; train first, or give a folder that holds one")
    return str(found.path)


def _model_yaml(path):
    """Of a resolved recipe, the separator and the plain values that describe what it takes and gives."""
    yaml = ruamel.yaml.YAML()
    with open(path, encoding="utf-8") as file:
        recipe = yaml.load(file)
    kept = ruamel.yaml.comments.CommentedMap()
    for key in ("experiment", "sample_rate", "num_speakers", "num_outputs", "mixture_type", "separator"):
        if key in recipe:
            kept[key] = recipe[key]
    text = io.StringIO()
    yaml.dump(kept, text)
    return (
        "# A separator trained by sb_ext; load it with sb_ext.inference.SourceSeparation\n"
        + text.getvalue()
        + PRETRAINER
    )
