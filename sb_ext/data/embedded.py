"""The embedded corpus with its LibriMix metadata: data for every recipe, without any download."""

from sb_ext.data.building import build_once
from sb_ext.data.metadata import make_metadata
from sb_ext.data.synthetic import make_corpus
from sb_ext.values import check_choice

SMALL = dict(num_train=80, num_dev=12, num_test=12, train_utterances=40, dev_utterances=20, test_utterances=20)
"""104 voices, 5.8 hours of speech, 1,600 training mixtures of two; test voices are unheard in training. A minute."""

DEMO = dict(num_voices=5, train_utterances=200, dev_utterances=25, test_utterances=25)
"""Five very different voices, the same in all splits; test sentences are never heard. Learning shows within minutes."""

TINY = dict(
    num_train=6, num_dev=5, num_test=5, train_utterances=4, dev_utterances=2, test_utterances=2,
    train_noises=2, dev_noises=1, test_noises=1,
)  # fmt: skip
"""Enough to see a recipe run, made in some seconds."""

SIZES = {"small": SMALL, "demo": DEMO, "tiny": TINY}

MIXTURES = {"small": 100, "demo": 100, "tiny": 4}
"""Mixtures of the dev and of the test split; those of the train split use each utterance once."""


MOST_SPEAKERS = 5
"""A mixture: the smallest corpora have no more in their dev and test splits."""


def embedded_librimix(folder, num_speakers=2, size="small", seed=0, workers=None):
    """Make the embedded corpus and the metadata to mix it; what is there already is kept.

    Arguments
    ---------
    folder : str or Path
        Gets ``LibriSpeech``, ``wham_noise`` and ``metadata/Libri2Mix/libri2mix_{train-clean-100,dev-clean,
        test-clean}.csv``; for other numbers of speakers the metadata lie beside, over the same speech.
    num_speakers : int
        Speakers a mixture, 2 to 5.
    size : str
        A name in :data:`SIZES`: ``small``, ``demo`` or ``tiny``.
    seed : int
        Same seed, same files.
    workers : int, optional
        Threads; two if None and there are two cores.

    Returns
    -------
    folders : dict of str to Path
        ``librispeech_folder``, ``noise_folder`` and ``metadata_folder``.

    Raises
    ------
    ValueError
        Where the size is unknown, or the number of speakers is none that it can mix.
    FileExistsError
        Where the folder holds something else, or another size or seed.

    Example
    -------
    >>> embedded_librimix("anywhere", size="smal")
    Traceback (most recent call last):
    ...
    ValueError: corpus: expected one of small, demo, tiny, received 'smal'; did you mean 'small'?
    """
    check_choice("corpus", size, SIZES)
    if not 2 <= num_speakers <= MOST_SPEAKERS:
        raise ValueError(f"num_speakers: the embedded corpus mixes 2 to {MOST_SPEAKERS}, received {num_speakers}")
    folder = make_corpus(folder, **SIZES[size], seed=seed, workers=workers)
    folders = {
        "librispeech_folder": folder / "LibriSpeech",
        "noise_folder": folder / "wham_noise",
        "metadata_folder": folder / "metadata" / f"Libri{num_speakers}Mix",
    }
    counts = dict.fromkeys(("dev-clean", "test-clean"), MIXTURES[size])

    def build(partial):
        speech, noise = folders["librispeech_folder"], folders["noise_folder"]
        make_metadata(speech, partial, num_speakers, noise, num_mixtures=counts, seed=seed, workers=workers)

    settings = {"made_by": "sb_ext.data.metadata", "num_speakers": num_speakers, "num_mixtures": counts, "seed": seed}
    build_once(folders["metadata_folder"], settings, build)
    return folders
