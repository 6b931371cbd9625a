"""Whether what a run is asked to do fits its data, and the checkpoints that are in its folder already."""

import hashlib
import json
from pathlib import Path

import ruamel.yaml

from sb_ext.data.store import TextColumn
from sb_ext.evaluation.hooks import Evaluation
from sb_ext.evaluation.self_evaluation import SelfEvaluation
from sb_ext.inference import SourceSeparation
from sb_ext.recipe_file import tag_of
from sb_ext.values import nearest

# What may change between a run and its continuation: how long, how fast, where to, and what is measured beside.
HARMLESS = (
    "num_epochs", "patience", "num_workers", "valid_batch_size", "test_batch_size", "corpora_folder", "pack",
    "experiment", "output_folder", "checkpointer", "evaluation", "evaluations", "train_logger", "skip_nonfinite_grads",
    "ckpt_interval_minutes", "ckpt_interval_steps", "test_sets", "sparse_folder", "training.num_epochs",
    "training.patience",
    "training.epoch_counter",
)  # fmt: skip
# What only says where the mixtures come from: as good as the same where they are the same mixtures.
DATA = (
    "data_folder", "librispeech_folder", "metadata_folder", "corpus", "train_split", "train_fraction",
    "num_train_mixtures", "num_test_mixtures", "wsj0_folder", "mixing_lists",
)  # fmt: skip


def describe_data(stores):
    """What tells training and validation mixtures from others: their number, and a digest of ids and lengths.

    Example
    -------
    >>> import numpy as np
    >>> from sb_ext.data.store import MixtureStore
    >>> store = MixtureStore(["a", "b"], np.array([800, 640]), None, 8000, 0)
    >>> describe_data({"train": store, "valid": store})["train"]
    '2 mixtures (0019021e)'
    """
    return {split: _describe(stores[split]) for split in ("train", "valid")}


def _describe(store):
    ids = store.ids if isinstance(store.ids, TextColumn) else TextColumn.of(store.ids)
    digest = hashlib.sha1(ids.characters)
    digest.update(store.lengths.astype("<i8").tobytes())
    return f"{len(store)} mixtures ({digest.hexdigest()[:8]})"


def check_continuation(folder, recipe, data, run_opts):
    """Raise ValueError where a run would go on from the checkpoint of another configuration.

    Arguments
    ---------
    folder : str
        The output folder; without a checkpoint in it there is nothing to go on from.
    recipe : str
        The resolved recipe, as a run keeps it in ``hyperparams.yaml``.
    data : dict
        From describe_data, as a run keeps it in ``config.json`` under ``mixtures``.
    run_opts : speechbrain.utils.run_opts.RunOptions
        With ``test_only`` nothing is trained, and only the separator must be the same; with ``debug`` nothing at all.

    Raises
    ------
    ValueError
        Names every key that differs, what it was and what it is.
    """
    before = Path(folder, "hyperparams.yaml")
    if not before.is_file() or not has_checkpoint(folder) or is_throwaway(run_opts):
        return
    yaml = ruamel.yaml.YAML()
    old, new = flattened(yaml.load(before.read_text(encoding="utf-8"))), flattened(yaml.load(recipe))
    config = Path(folder, "config.json")
    old_data = json.loads(config.read_text(encoding="utf-8")).get("mixtures") if config.is_file() else None
    passed_over = HARMLESS + (DATA if old_data == data else ())
    changed = _changes(old, new, passed_over)
    if old_data and old_data != data:
        changed |= _changes(old_data, data, ())
    if run_opts.test_only:
        changed = {key: pair for key, pair in changed.items() if key.startswith("separator") and not _of_test(key)}
    if changed:
        listed = "; ".join(f"{key}: {was} there, {now} now" for key, (was, now) in changed.items())
        raise ValueError(
            f"output_folder: {folder} holds a checkpoint of another configuration ({listed}); "
            "set --output_folder to another folder, or the values to what they were"
        )


def _of_test(key):
    """Whether it says how a trained model is used, and not what it is."""
    inference = key in ("separator.model.inference", "separator.model.inference_passes")
    return inference or key.startswith(("separator.model.attractors.", "separator.model.counting."))


def has_checkpoint(folder):
    """Whether a run has saved something in its output folder."""
    return any(Path(folder, "save").glob("CKPT*"))


def is_throwaway(run_opts):
    """Whether a debug run keeps its checkpoints to itself."""
    return run_opts.debug and not run_opts.debug_persistently


def _changes(old, new, passed_over):
    """Key to (old, new) for keys on both sides; what is handed down under its name is named once, where it begins."""
    changed, met = {}, set()
    for key in sorted(new, key=lambda key: key.count(".")):
        handed_down = (key.rpartition(".")[2], str(old.get(key)), str(new[key]))
        harmless = any(key == name or key.startswith(f"{name}.") for name in passed_over)
        if key in old and old[key] != new[key] and not harmless and handed_down not in met:
            changed[key] = (old[key], new[key])
            met.add(handed_down)
    return changed


def flattened(node, prefix="", seen=None):
    """``{"separator.hidden": 128, "objective": "!new:…"}``: the plain values and tags of a resolved recipe."""
    seen, flat = set() if seen is None else seen, {}
    # What is referred to in several places is one object, and stands where it is met first.
    if id(node) in seen:
        return flat
    if tag_of(node):
        flat[prefix[:-1]] = tag_of(node)
    if isinstance(node, (dict, list)):
        seen.add(id(node))
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            flat |= flattened(value, f"{prefix}{key}.", seen)
    elif not tag_of(node):
        flat[prefix[:-1]] = node
    return flat


def load_weights(module, source, key="pretrained", part="", sample_rate=None):
    """Give a module the weights of a trained model, or of a part of it.

    Arguments
    ---------
    module : torch.nn.Module
    source : str
        What SourceSeparation.from_hparams takes.
    key : str
        The recipe's name for the source, for messages.
    part : str
        Which submodule of the trained separator; the whole by default.
    sample_rate : int, optional
        Hz, of what the module takes where it does not know itself.

    Raises
    ------
    ValueError
        If there is no such model, it is built in another way, or was trained at another rate.
    """
    try:
        model = SourceSeparation.from_hparams(source, run_opts={"device": "cpu"})
        whole = model.mods["separator"]
        if part not in dict(whole.named_modules()):
            raise ValueError(f"it is a {type(whole).__name__}, which holds no {part}")
        trained = whole.get_submodule(part)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{key}: no model can be loaded from {source} ({str(error).splitlines()[0]}); "
            f"set --{key} to an output folder, a model folder or a hub name"
        ) from None
    rates = [getattr(trained, "sample_rate", model.sample_rate), getattr(module, "sample_rate", sample_rate)]
    if None not in rates and rates[0] != rates[1]:
        raise ValueError(f"{key}: {source} was trained at {rates[0]} Hz, this recipe's sample_rate is {rates[1]} there")
    trained = trained.state_dict()
    there, here = ({name: list(value.shape) for name, value in own.items()} for own in (trained, module.state_dict()))
    every = {**here, **there}
    differing = [name for name in every if there.get(name) != here.get(name)]
    if differing:
        first = differing[0]
        raise ValueError(
            f"{key}: the model in {source} is built in another way than this recipe's: {len(differing)} of "
            f"{len(every)} weights differ, first {first}: {there.get(first, 'none')} there, "
            f"{here.get(first, 'none')} here; "
            f"set the separator's keys as in its hyperparams.yaml, or another --{key}"
        )
    module.load_state_dict(trained)


def check_fit(hparams, stores):
    """Raise ValueError where the recipe and its data do not go together.

    Arguments
    ---------
    hparams : dict
        Reads ``segment_seconds``, ``valid_segment_seconds``, ``sample_rate``, ``batch_size``, ``select_by``,
        ``objective``, ``evaluations``, and ``num_outputs`` where there is one.
    stores : dict
        ``train`` and ``valid`` to a MixtureStore.
    """
    train, valid, batch_size = stores["train"], stores["valid"], hparams["batch_size"]
    for key in ("segment_seconds", "valid_segment_seconds"):
        if hparams[key] and hparams[key] * hparams["sample_rate"] < 1:
            raise ValueError(f"{key}: {hparams[key]} s hold no sample; set --{key} to more")
    if len(train) < batch_size:
        smaller = f"set --batch_size {max(2, len(train) // 2)}, " if len(train) > 1 else ""
        raise ValueError(
            f"batch_size: {batch_size} is more than the {len(train)} training mixtures; "
            f"{smaller}raise --train_fraction or give more data"
        )
    outputs = hparams.get("num_outputs") or valid.num_sources
    if outputs < valid.num_sources:
        raise ValueError(
            f"num_outputs: {outputs} is less than the {valid.num_sources} sources of a mixture; "
            f"set --num_outputs to at least {valid.num_sources}"
        )
    _check_figure("select_by", hparams["select_by"], hparams["evaluations"], valid, outputs)
    switch = getattr(hparams["objective"], "switch", None)
    if hasattr(switch, "figure"):
        _check_figure("switch.figure", switch.figure, hparams["evaluations"], valid, outputs)


def _check_figure(key, name, evaluations, valid, outputs):
    """Whether validation will measure what is chosen by; otherwise it would be known after an epoch only."""
    strange = [hook for hook in evaluations if not isinstance(hook, Evaluation)]
    if strange:
        raise ValueError(f"evaluations: expected items such as !ref <evaluation[metrics]>, received {strange[0]!r}")
    hooks = [hook for hook in evaluations if hook.wanted("VALID", None)]
    known = ["si_snri"] * bool(valid.num_sources) + [figure for hook in hooks for figure in hook.gives]
    if name not in known and all(hook.gives for hook in hooks):
        near = nearest(name, known, likeness=0.5)
        raise ValueError(
            f"{key}: validation gives {known}, and no {name!r}; "
            + (f"did you mean {near!r}?" if near else "choose one of these, or add the evaluation that measures it")
        )
    remixed = any(isinstance(hook, SelfEvaluation) and name in hook.gives for hook in hooks)
    if remixed and len(valid) < outputs:
        raise ValueError(
            f"{key}: {name} remixes {outputs} validation recordings with one another, there are {len(valid)}; "
            "add recordings"
        )
