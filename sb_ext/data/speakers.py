"""Utterances of single speakers, for training and testing speaker encoders."""

import logging
from pathlib import Path

import numpy as np

from sb_ext.data.embedded import SIZES
from sb_ext.data.librimix_recipe import SPLITS
from sb_ext.data.preparing import corpora_folder, embedded_in_words, embedded_speech, packed_files
from sb_ext.data.recordings import Recordings
from sb_ext.data.speech_folder import find_splits
from sb_ext.data.store import MixtureStore, TextColumn
from sb_ext.values import check_choice

logger = logging.getLogger(__name__)


class SpeakerUtterances(MixtureStore):
    """Utterances with their speakers' numbers, 0 to K - 1; each is a mixture of one, without references.

    Arguments
    ---------
    store : MixtureStore
        Whole utterances.
    speakers : sequence of str
        Who says each of them.
    halve : bool
        Whether the only utterance of a speaker becomes two, its halves: there is no pair to test with otherwise.
    least : int
        Samples; what is shorter is repeated, as RawNet2's public code does.

    Example
    -------
    >>> class Ramp(MixtureStore):
    ...     def _read(self, index, start, stop):
    ...         return np.arange(start, stop, dtype=np.float32), None
    >>> store = SpeakerUtterances(Ramp(["a.wav", "b.wav"], np.array([4, 6]), None, 8000, 0), ["x", "y"], True, 5)
    >>> list(store.ids), store.speakers[:, 0].tolist(), store.read(1, 1, 4)[0].tolist()
    (['a.wav#1', 'a.wav#2', 'b.wav#1', 'b.wav#2'], [0, 0, 1, 1], [3.0, 2.0, 3.0])
    """

    def __init__(self, store, speakers, halve=False, least=1):
        self.arguments = (store, speakers, halve, least)
        names, numbers, counts = np.unique(np.asarray(speakers), return_inverse=True, return_counts=True)
        pieces = np.where(halve & (counts[numbers] == 1) & (store.lengths > 1), 2, 1)
        self.store, self.which = store, np.repeat(np.arange(len(store)), pieces)
        second = np.arange(len(self.which)) > np.searchsorted(self.which, self.which)
        lengths = np.asarray(store.lengths)[self.which] // pieces[self.which]
        self.first, self.real = np.where(second, lengths, 0), lengths
        ids = [
            store.ids[which] + (f"#{half + 1}" if pieces[which] > 1 else "")
            for which, half in zip(self.which.tolist(), second.tolist(), strict=True)
        ]
        self.num_speakers = len(names)
        speakers = numbers[self.which][:, None].astype(np.int64)
        super().__init__(TextColumn.of(ids), np.maximum(lengths, least), speakers, store.sample_rate, 0)

    def __getstate__(self):
        return {"arguments": self.arguments}

    def __setstate__(self, state):
        self.__init__(*state["arguments"])

    def _read(self, index, start, stop):
        which, first, real = int(self.which[index]), int(self.first[index]), int(self.real[index])
        if stop <= real:
            return self.store.read(which, first + start, first + stop)
        return np.take(self.store.read(which, first, first + real)[0], np.arange(start, stop), mode="wrap"), None


def prepare_speakers(hparams):
    """The utterances of a recipe that trains a speaker encoder.

    Arguments
    ---------
    hparams : dict
        ``librispeech_folder``, or null for the embedded ``corpus``; ``train_split``, ``valid_split`` and
        ``test_split``, folders in it; ``corpora_folder``, ``sample_rate``, ``segment_seconds``,
        ``valid_segment_seconds``, ``num_classes`` and ``pack``.

    Returns
    -------
    dict
        ``train``, ``valid`` and ``test`` to a MixtureStore, and ``description``: what the data is, for tables.

    Raises
    ------
    ValueError
        If there is no such split, a file is faulty, there are more training speakers than ``num_classes``, or batches
        of one, which batch norms do not take.
    FileNotFoundError
        If the folder is missing.
    """
    if hparams.get("batch_size") == 1:
        raise ValueError("batch_size: batch norms need two utterances or more, received 1; set --batch_size to more")
    cache, folder = corpora_folder(hparams["corpora_folder"]), hparams["librispeech_folder"]
    description = f"utterances of {Path(folder).name}" if folder else ""
    if not folder:
        check_choice("corpus", hparams["corpus"], SIZES)
        folder = embedded_speech(cache, hparams["corpus"])
        description = f"utterances of the {embedded_in_words(hparams['corpus'])}"
    seconds = max(hparams["segment_seconds"] or 0, hparams["valid_segment_seconds"] or 0)
    least, made, heard = round(seconds * hparams["sample_rate"]), {}, {}
    for part in ("train", "valid", "test"):
        store = _utterances(hparams, cache, Path(folder), f"{part}_split")
        speakers = [name.split("/")[0] for name in store.ids]
        heard[part] = set(speakers)
        made[part] = SpeakerUtterances(store, speakers, halve=part != "train", least=least)
    for part in ("valid", "test"):
        if known := heard[part] & heard["train"]:
            words = "%s_split: %d of %d speakers are the training's too; its equal error rate is not one of unseen ones"
            logger.warning(words, part, len(known), len(heard[part]))
    found = made["train"].num_speakers
    if found > hparams["num_classes"]:
        raise ValueError(
            f"num_classes: {hparams['num_classes']} is less than the {found} training speakers; "
            f"set --num_classes {found}"
        )
    return {**made, "description": f"{description}, {found} training speakers"}


def _utterances(hparams, cache, folder, key):
    """The utterances of a split, packed where the recipe says so; ids begin with the speaker."""
    splits, rate = find_splits(folder), hparams["sample_rate"]
    split = SPLITS.get(hparams[key], hparams[key])
    check_choice(key, split, splits)
    store = Recordings(splits[split], rate, root=folder / split)
    return packed_files(store, cache, folder, split) if hparams["pack"] else store
