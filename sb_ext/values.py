"""What the values of a recipe may be, so that a wrong one is found before anything is built or read."""

import difflib
import math
from typing import NamedTuple

from sb_ext.recipe_file import tag_of


def nearest(name, known, likeness=0.0):
    """The one of the ``known`` names that is most like ``name``; None where none is as like as asked for, from 0 to 1.

    Example
    -------
    >>> nearest("bach_size", ["seed", "batch_size"])
    'batch_size'
    """
    names = [str(one) for one in known]
    return next(iter(difflib.get_close_matches(str(name), names, n=1, cutoff=likeness)), None)


def check_choice(name, value, choices):
    """Raise ValueError unless ``value`` is one of the ``choices``.

    Example
    -------
    >>> check_choice("mode", "mn", ("min", "max"))
    Traceback (most recent call last):
    ValueError: mode: expected one of min, max, received 'mn'; did you mean 'min'?
    """
    if value not in choices:
        near = nearest(value, choices, likeness=0.5)
        raise ValueError(
            f"{name}: expected one of {', '.join(choices)}, received {value!r}"
            + (f"; did you mean {near!r}?" if near else "")
        )


def not_negative(name, value):
    """``value``, or ValueError unless it is a number of at least 0."""
    if not RATE.holds(value):
        raise ValueError(f"{name}: expected {RATE.words}, received {value!r}")
    return value


class Rule(NamedTuple):
    """What a value must be, in words and as a function that says whether it is."""

    words: str
    holds: object


def is_number(value):
    """Whether a value is a finite number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value):
    return is_number(value) and isinstance(value, int)


def _whole(least):
    return Rule(f"a whole number of at least {least}", lambda value: _is_whole(value) and value >= least)


COUNT, WHOLE = _whole(1), _whole(0)
POSITIVE = Rule("a number above 0", lambda value: is_number(value) and value > 0)
RATE = Rule("a number of at least 0", lambda value: is_number(value) and value >= 0)
SHARE = Rule("a number above 0 and at most 1", lambda value: is_number(value) and 0 < value <= 1)
DECIBELS_BELOW = Rule("a number below 0, in dB", lambda value: is_number(value) and value < 0)
SWITCH = Rule("True or False", lambda value: isinstance(value, bool))
TEXT = Rule("text (a number is written './2023' or, in a file, '\"2023\"')", lambda value: isinstance(value, str))

COUNTS = Rule(
    f"{COUNT.words}, or a list of them such as '[2, 3]'",
    lambda value: all(map(COUNT.holds, value)) if isinstance(value, list) and value else COUNT.holds(value),
)
LAYER = Rule(
    "a whole number, or a list of weights that are not all zero, such as '[0, 0.5, 0.5]'",
    lambda value: all(map(is_number, value)) and any(value) if isinstance(value, list) else _is_whole(value),
)
NAMES = Rule("a list of names such as '[2mix, 3mix]'", lambda value: isinstance(value, list))

STAGES = Rule(
    "epochs with seconds above 0, such as '{1: 0.8, 50: 3.0}'",
    lambda value: isinstance(value, dict) and all(COUNT.holds(e) and POSITIVE.holds(s) for e, s in value.items()),
)

FOLDERS = (
    "data_folder", "librispeech_folder", "metadata_folder", "noise_folder", "corpora_folder", "sparse_folder",
    "wsj0_folder", "mixing_lists",
)  # fmt: skip
RULES = {
    **dict.fromkeys(("batch_size", "valid_batch_size", "test_batch_size", "num_epochs", "passes_per_epoch"), COUNT),
    **dict.fromkeys(("num_outputs", "num_train_mixtures", "num_test_mixtures", "sample_rate"), COUNT),
    **dict.fromkeys(("grad_accumulation_factor", "optimizer_step_limit"), COUNT),
    **dict.fromkeys(("seed", "num_workers", "patience", "warmup_epochs"), WHOLE),
    **dict.fromkeys(("segment_seconds", "valid_segment_seconds", "max_grad_norm"), POSITIVE),
    **dict.fromkeys((*FOLDERS, "output_folder", "pretrained", "select_by", "train_split", "corpus"), TEXT),
    **dict.fromkeys(("pack", "skip_nonfinite_grads"), SWITCH),
    "learning_rate": RATE,
    "num_speakers": COUNTS,
    "test_sets": NAMES,
    "curriculum": STAGES,
    "train_fraction": SHARE,
    "target_floor": DECIBELS_BELOW,
    "evaluations": Rule("a list such as '[]'", lambda value: isinstance(value, list)),
}
# The same for keys inside a block.
PARTS = dict.fromkeys(("bottleneck", "hidden", "kernel_size", "num_layers", "num_stacks", "window_size"), COUNT)
PARTS |= dict.fromkeys(("hop_size", "repeats", "segment", "switching_mixtures"), COUNT)
PARTS["layer"] = LAYER
NULLABLE = {
    *FOLDERS, "pretrained", "num_train_mixtures", "segment_seconds", "valid_segment_seconds", "target_floor",
    "patience", "curriculum",
}  # fmt: skip


def check_values(values, where):
    """Raise ValueError where one of the recipes' own keys has a value that it cannot have.

    Arguments
    ---------
    values : dict
        Key to value; keys without a rule, and references to other keys, are passed over.
    where : str
        The file, for the message.

    Example
    -------
    >>> check_values({"batch_size": "abc"}, "pit.yaml")
    Traceback (most recent call last):
    ValueError: batch_size: expected a whole number of at least 1, received 'abc'; set it in pit.yaml or by --batch_size
    """
    for key, value in values.items():
        if key not in RULES or (value is None and key in NULLABLE) or tag_of(value):
            continue
        if not RULES[key].holds(value):
            received = "null" if value is None else repr(value)
            raise ValueError(
                f"{key}: expected {RULES[key].words}, received {received}; set it in {where} or by --{key}"
            )


def check_like(name, value, old):
    """Raise ValueError where another kind of thing is to take the place of a number, a switch or a mapping.

    Arguments
    ---------
    name : str
        The key, for the message.
    value : object
        The new value; null, and values with a tag, such as ``!ref``, are passed over.
    old : object
        What the recipe says there.

    Example
    -------
    >>> check_like("separator.bottleneck", "big", 128)
    Traceback (most recent call last):
    ValueError: separator.bottleneck: expected a whole number of at least 1, as the recipe's 128 is, received 'big'
    """
    if value is None or tag_of(value):
        return
    rule = {**RULES, **PARTS}.get(name.rpartition(".")[2]) or _rule_of(old)
    if rule and not rule.holds(value):
        shown = tag_of(old) or ("block" if isinstance(old, (dict, list)) else old)
        raise ValueError(f"{name}: expected {rule.words}, as the recipe's {shown} is, received {value!r}")


def _rule_of(old):
    """What may take the place of a value, going by the value; None for anything."""
    if isinstance(old, bool):
        return SWITCH
    if is_number(old):
        return Rule("a number", is_number)
    if isinstance(old, dict):
        return Rule("a mapping such as '{key: value}'", lambda value: isinstance(value, dict))
    if isinstance(old, list):
        return Rule("a list such as '[]'", lambda value: isinstance(value, list))
    return Rule("a class such as '!new:package.Class'", lambda value: False) if tag_of(old)[:4] == "!new" else None
