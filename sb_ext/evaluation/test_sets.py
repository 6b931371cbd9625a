"""Further test sets of a recipe, each measured with the best checkpoint into a folder of its own."""

import os
from contextlib import contextmanager

FOLDER = "test_sets"
"""In the output folder; each set has ``test_metrics.csv`` and ``test_summary.json`` in a folder of its name."""

FIXED = (
    "num_speakers: this recipe's separator gives a fixed number of sources, received {}; "
    "set --num_speakers to one number, or take a recipe whose separator chooses, such as sanet_23"
)


@contextmanager
def measured_apart(brain, name):
    """Within, what the Brain tests is recorded under the name of a further test set.

    Arguments
    ---------
    brain : sb_ext.brain.SeparationBrain
    name : str
    """
    hparams = brain.hparams
    folder, evaluations = os.path.join(hparams.recorder.folder, FOLDER, name), hparams.evaluations
    kept = [hook.elsewhere(folder) for hook in evaluations]
    hparams.evaluations, hparams.recorder.test_set = [hook for hook in kept if hook is not None], name
    try:
        yield
    finally:
        hparams.evaluations, hparams.recorder.test_set = evaluations, None


def check_outputs(recipe):
    """Raise ValueError for several numbers of speakers in a recipe that builds its separator for one.

    Example
    -------
    >>> check_outputs({"num_speakers": [2, 3], "num_outputs": 2})
    Traceback (most recent call last):
    ValueError: num_speakers: this recipe's separator gives a fixed number of sources, received [2, 3]; set --num_speakers to one number, or take a recipe whose separator chooses, such as sanet_23
    """  # noqa: E501
    if isinstance(recipe.get("num_speakers"), list) and "num_outputs" in recipe:
        raise ValueError(FIXED.format(list(recipe["num_speakers"])))


def check_source_counts(hparams, stores):
    """Raise ValueError where a separator is to give a number of sources that it cannot.

    Arguments
    ---------
    hparams : dict
        Reads ``separator[model]`` and, where there is one, ``num_outputs``.
    stores : dict
        ``valid`` to a MixtureStore and, where there are some, ``test_sets`` to a dict of them.
    """
    separator = hparams["separator"]["model"]
    if separator.chooses_count:
        return _check_choices(separator, stores)
    counts = sorted(set(stores["valid"].source_counts().tolist()))
    if len(counts) > 1:
        raise ValueError(FIXED.format(counts))
    usual = {*counts, hparams.get("num_outputs") or counts[0]}
    for name, store in stores.get("test_sets", {}).items():
        if store.num_sources not in usual:
            raise ValueError(
                f"test_sets: {name} has mixtures of {store.num_sources}, this recipe's separator gives a fixed number "
                f"of sources, {' or '.join(map(str, sorted(usual)))}; leave {name} out of --test_sets, or take a "
                "recipe whose separator chooses, such as sanet"
            )


def _check_choices(separator, stores):
    for name, store in {None: stores["valid"], **stores.get("test_sets", {})}.items():
        for count in set(store.source_counts().tolist()) - {0}:
            try:
                separator.check_count(count)
            except ValueError as error:
                raise ValueError(f"test_sets: {name}: {error}" if name else f"num_speakers: {error}") from None
