"""The visible flow of every ``train.py``: read, prepare, train, test, report."""

import logging
import sys

import ruamel.yaml
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from hyperpyyaml.core import resolve_references
from speechbrain.utils.distributed import run_on_main

from sb_ext.atomic import check_writable
from sb_ext.brain import SeparationBrain
from sb_ext.command import parse
from sb_ext.configuration import (
    check_continuation,
    check_fit,
    describe_data,
    has_checkpoint,
    is_throwaway,
    load_weights,
)
from sb_ext.data.loader import MixtureDataset, collate, share_of_rank
from sb_ext.data.merged import AlikeSampler, alike_batches
from sb_ext.evaluation.test_sets import check_outputs, check_source_counts, measured_apart
from sb_ext.export import export_model
from sb_ext.first_stage import first_stage
from sb_ext.recipe_file import read_recipe
from sb_ext.recorder import Recorder, record_start

logger = logging.getLogger(__name__)


def main(prepare):
    """As ``run``, for the words of the command line; what is wrong with these or with a file is said in one line.

    Where there is an output folder already, the traceback is in its ``log.txt``; other errors keep theirs.
    """
    try:
        run(sys.argv[1:], prepare)
    except (ValueError, OSError) as error:
        logger.debug("Stopped by an error", exc_info=True)
        raise SystemExit(f"{sys.argv[0]}: {error}") from None


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
    return run_command(command, prepare)


def run_command(command, prepare):
    """As ``run``, for a command line that was read already."""
    hparams = load_hparams(command)
    parts, before = first_stage(command, hparams)
    stores = None
    if before is not None and not command.run_opts.test_only:
        # What is wrong with the second stage is said before the first one is trained.
        stores = prepare(hparams)
        _check(hparams, stores)
        run_command(before, prepare)
    sb.create_experiment_directory(hparams["output_folder"])

    stores = stores or prepare(hparams)
    hparams["data_description"], hparams["mixtures"] = stores["description"], describe_data(stores)
    resolved = resolve_references(read_recipe(command.recipe, command.overrides)).getvalue()
    run_on_main(check_continuation, args=[hparams["output_folder"], resolved, hparams["mixtures"], command.run_opts])
    adds_nothing = command.run_opts.test_only or is_throwaway(command.run_opts)
    if not (adds_nothing and has_checkpoint(hparams["output_folder"])):
        # Otherwise what trained the checkpoints stays on record.
        run_on_main(record_start, args=[hparams["output_folder"], hparams, resolved])
    logger.info("Data: %s; %s", stores["description"], _sizes(stores))

    if hparams.get("pretrained"):
        load_weights(hparams["separator"]["model"], hparams["pretrained"], sample_rate=hparams["sample_rate"])
        logger.info("Starting from the weights in %s", hparams["pretrained"])
    elif is_throwaway(command.run_opts) or not has_checkpoint(hparams["output_folder"]):
        for part in [*parts, *hparams.get("trained_parts", [])]:
            part.load()
    brain = make_brain(hparams, command.run_opts, stores)
    if brain.trainable:
        valid = MixtureDataset(
            stores["valid"], segment=_samples(hparams, "valid_segment_seconds"), seed=hparams["seed"]
        )
        # SpeechBrain tells its sampler the epoch, and wraps it under DDP: the order is the same on any number of ranks.
        brain.train_sampler = AlikeSampler(hparams["train_data"], hparams["batch_size"], hparams["seed"])
        brain.fit(
            hparams["training"]["epoch_counter"],
            hparams["train_data"],
            valid,
            train_loader_kwargs=_loader(
                hparams, brain, batch_size=hparams["batch_size"], sampler=brain.train_sampler, drop_last=True
            ),
            valid_loader_kwargs=_loader(
                hparams, brain, batch_sampler=alike_batches(valid, hparams["valid_batch_size"], share_of_rank(valid))
            ),
        )
        if not brain.test_only:
            hparams["recorder"].tidy()
    if brain.trainable and not brain.test_only and not is_throwaway(command.run_opts):
        run_on_main(export_model, args=[hparams["output_folder"], hparams["select_by"]])
    if len(stores["test"]):
        _test(brain, hparams, stores["test"])
    for name, store in stores.get("test_sets", {}).items():
        with measured_apart(brain, name):
            _test(brain, hparams, store)
    return brain


def _test(brain, hparams, store):
    """Measure the best checkpoint on a store."""
    test = MixtureDataset(store)
    brain.evaluate(
        test,
        max_key=hparams["select_by"] if brain.trainable else None,
        test_loader_kwargs=_loader(
            hparams, brain, batch_sampler=alike_batches(test, hparams["test_batch_size"], range(len(test)))
        ),
    )


def load_hparams(command):
    """Build what the recipe describes, its weights drawn from its seed."""
    check_outputs(ruamel.yaml.YAML().load(read_recipe(command.recipe, command.overrides)))
    plain = ruamel.yaml.YAML().load(resolve_references(read_recipe(command.recipe, command.overrides)))
    check_writable("output_folder", plain["output_folder"])
    torch.manual_seed(int(plain["seed"]))
    return load_hyperpyyaml(read_recipe(command.recipe, command.overrides))


def make_brain(hparams, run_opts, stores):
    """The Brain of a recipe; where there is something to train, recipe and data are checked against each other."""
    train, model = stores["train"], hparams["separator"]["model"]
    _check(hparams, stores)
    curriculum = {epoch: round(s * hparams["sample_rate"]) for epoch, s in (hparams.get("curriculum") or {}).items()}
    hparams["train_data"] = MixtureDataset(
        train, _samples(hparams, "segment_seconds"), hparams["seed"], hparams["passes_per_epoch"], curriculum
    )
    hparams["objective"].prepare(model)
    if "ckpt_interval_steps" in run_opts.overridden_args:
        # SpeechBrain refuses both.
        hparams["ckpt_interval_minutes"] = 0
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
    for hook in hparams["evaluations"]:
        hook.prepare(hparams["train_data"], brain.checkpointer)
    if hparams["scheduler"] is not None:
        brain.checkpointer.add_recoverable("scheduler", hparams["scheduler"])
    return brain


def _check(hparams, stores):
    check_source_counts(hparams, stores)
    if any(True for _ in hparams["separator"]["model"].parameters()):
        check_fit(hparams, stores)


def _samples(hparams, key):
    seconds = hparams[key]
    return None if seconds is None else round(seconds * hparams["sample_rate"])


def _loader(hparams, brain, **more):
    return {
        "num_workers": hparams["num_workers"],
        "collate_fn": collate,
        "pin_memory": brain.device_type == "cuda",
        # Its own generator: a loader would otherwise draw from the global random state when it starts.
        "generator": torch.Generator().manual_seed(hparams["seed"]),
        **more,
    }


def _sizes(stores):
    sets = {**{split: stores[split] for split in ("train", "valid", "test")}, **stores.get("test_sets", {})}
    return ", ".join(f"{len(store)} {name}" for name, store in sets.items())
