"""The visible flow of every ``train.py``: read, prepare, train, test, report."""

import logging
import os

import ruamel.yaml
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from hyperpyyaml.core import resolve_references
from speechbrain.utils.distributed import run_on_main

from sb_ext.brain import SeparationBrain
from sb_ext.command import parse
from sb_ext.data.loader import MixtureDataset, collate
from sb_ext.export import export_model
from sb_ext.inference import SourceSeparation
from sb_ext.recipe_file import read_recipe
from sb_ext.recorder import Recorder, record_start

logger = logging.getLogger(__name__)


def run(argv, prepare):
    """Run a recipe from the command line to its results.

    Arguments
    ---------
    argv : list of str
        ``RECIPE.yaml [--budget NAME] [--key value …]``.
    prepare : callable
        Takes the hyperparameters, gives ``{"train": store, "valid": store, "test": store, "description": str}``.

    Returns
    -------
    SeparationBrain
        Trained and tested; its results lie in ``output_folder``.
    """
    command = parse(argv)
    sb.utils.distributed.ddp_init_group(command.run_opts)
    hparams = load_hparams(command)
    sb.create_experiment_directory(hparams["output_folder"])

    stores = prepare(hparams)
    hparams["data_description"] = stores["description"]
    resolved = resolve_references(read_recipe(command.recipe, command.overrides)).getvalue()
    run_on_main(record_start, args=[hparams["output_folder"], hparams, resolved])
    logger.info("Data: %s; %s", stores["description"], _sizes(stores))

    if hparams.get("pretrained"):
        start_from(hparams["pretrained"], hparams["separator"]["model"])
    brain = make_brain(hparams, command.run_opts, stores)
    if brain.trainable:
        valid = MixtureDataset(
            stores["valid"], segment=_samples(hparams, "valid_segment_seconds"), seed=hparams["seed"]
        )
        brain.fit(
            hparams["training"]["epoch_counter"],
            hparams["train_data"],
            valid,
            train_loader_kwargs=_loader(hparams, brain, shuffle=True, drop_last=True),
            valid_loader_kwargs=_loader(hparams, brain, batch_size=hparams["valid_batch_size"]),
        )
    throwaway = brain.debug and not brain.debug_persistently
    if brain.trainable and not brain.test_only and not throwaway:
        run_on_main(export_model, args=[hparams["output_folder"], hparams["select_by"]])
    if len(stores["test"]):
        test = MixtureDataset(stores["test"])
        brain.evaluate(
            test,
            max_key=hparams["select_by"] if brain.trainable else None,
            test_loader_kwargs=_loader(hparams, brain, batch_size=hparams["test_batch_size"]),
        )
    return brain


def load_hparams(command):
    """Build what the recipe describes, its weights drawn from its seed."""
    plain = resolve_references(read_recipe(command.recipe, command.overrides))
    torch.manual_seed(int(ruamel.yaml.YAML().load(plain)["seed"]))
    return load_hyperpyyaml(read_recipe(command.recipe, command.overrides))


def start_from(source, separator):
    """Give ``separator`` the weights of a trained model; ValueError where it is built in another way."""
    trained = SourceSeparation.from_hparams(source, run_opts={"device": "cpu"}).mods["separator"]
    try:
        separator.load_state_dict(trained.state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"pretrained: the model in {source} is built in another way than this recipe's; {error}"
        ) from error
    logger.info("Starting from the weights in %s", source)


def make_brain(hparams, run_opts, stores):
    """The Brain of a recipe; the training data is checked against the batch size."""
    train, model = stores["train"], hparams["separator"]["model"]
    if len(train) < hparams["batch_size"] and any(True for _ in model.parameters()):
        raise ValueError(
            f"batch_size: {hparams['batch_size']} is more than the {len(train)} training mixtures; "
            f"set --batch_size {max(2, len(train) // 2)} or raise --train_fraction"
        )
    hparams["train_data"] = MixtureDataset(
        train, segment=_samples(hparams, "segment_seconds"), seed=hparams["seed"], passes=hparams["passes_per_epoch"]
    )
    hparams["objective"].prepare(model)
    os.environ["SB_GLOBAL_SEED"] = str(hparams["seed"])
    hparams["recorder"] = Recorder(
        hparams["output_folder"],
        hparams["checkpointer"],
        hparams["training"]["epoch_counter"],
        hparams["select_by"],
        hparams["scheduler"],
        hparams["train_logger"],
    )
    brain = SeparationBrain(
        {"separator": model},
        hparams["training"]["opt_class"],
        hparams,
        run_opts,
        hparams["checkpointer"],
    )
    hparams["objective"].to(brain.device)
    if hparams["scheduler"] is not None:
        brain.checkpointer.add_recoverable("scheduler", hparams["scheduler"])
    return brain


def _samples(hparams, key):
    seconds = hparams[key]
    return None if seconds is None else round(seconds * hparams["sample_rate"])


def _loader(hparams, brain, batch_size=None, **more):
    return {
        "batch_size": batch_size or hparams["batch_size"],
        "num_workers": hparams["num_workers"],
        "collate_fn": collate,
        "pin_memory": brain.device_type == "cuda",
        # Its own generator: a loader would otherwise draw from the global random state when it starts.
        "generator": torch.Generator().manual_seed(hparams["seed"]),
        **more,
    }


def _sizes(stores):
    return ", ".join(f"{len(stores[split])} {split}" for split in ("train", "valid", "test"))
