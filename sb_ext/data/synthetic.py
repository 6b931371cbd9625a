"""A speech corpus out of nothing: synthetic voices and made noise, laid out as LibriSpeech and WHAM are.

Everything that reads LibriSpeech reads it. Whatever is trained or measured on it must be labelled synthetic.
"""

import random

import numpy as np
import soundfile as sf

from sb_ext.data.building import build_once, in_threads
from sb_ext.data.noises import make_noise
from sb_ext.data.sentences import sentence
from sb_ext.data.utterances import Utterance, new_sentence, say
from sb_ext.data.voices import distinct_voices, split_voices

FORMAT = 1
"""Counted up whenever the same settings give other samples."""

SPLITS = {"train-clean-100": "tr", "dev-clean": "cv", "test-clean": "tt"}
"""LibriSpeech's name of each split, and WHAM's."""

_NOTE = """\
This folder holds SYNTHETIC speech and noise. Nobody was recorded: label every result obtained on it as synthetic.

Speech: eSpeak NG (the library and voices of the PyPI package espeakng-loader) saying sentences made up by a small
grammar, mono FLAC, laid out as LibriSpeech. The sex in LibriSpeech/SPEAKERS.TXT goes by the pitch of the voice.
Noise: coloured noise, hum, clicks, rumble and babble of the voices of the same split, stereo, laid out as WHAM.
Made by sb_ext.data.synthetic with the settings in made_with.json; the same settings give the same files.

No recording and nobody's text is included, and no rights are claimed: use it for anything.
"""


def make_corpus(
    folder,
    num_train=80,
    num_dev=12,
    num_test=12,
    num_voices=None,
    train_utterances=40,
    dev_utterances=20,
    test_utterances=20,
    train_noises=60,
    dev_noises=12,
    test_noises=12,
    noise_seconds=10.0,
    sample_rate=16000,
    seed=0,
    workers=None,
):
    """Make synthetic speech and noise; done already with the same settings, return at once.

    Arguments
    ---------
    folder : str or Path
        Gets ``LibriSpeech/{train-clean-100,dev-clean,test-clean}/SPEAKER/CHAPTER/SPEAKER-CHAPTER-0000.flac``,
        ``LibriSpeech/SPEAKERS.TXT``, ``wham_noise/{tr,cv,tt}/*.wav`` and a README.
    num_train, num_dev, num_test : int
        Speakers a split: other voices, and other variants of eSpeak's, in each.
    num_voices : int, optional
        A closed set in their place: so many of the most different voices, the same in each split. The sentences
        are others either way.
    train_utterances, dev_utterances, test_utterances : int
        Utterances a speaker, 3 to 8 s each.
    train_noises, dev_noises, test_noises : int
        Noise files a split; 0 for none.
    noise_seconds : float
        Duration of each.
    sample_rate : int
        In Hz.
    seed : int
        Same seed, same files, whatever the number of workers.
    workers : int, optional
        Threads; two if None and there are two cores.

    Returns
    -------
    folder : Path
        The finished folder.

    Raises
    ------
    ValueError
        Where a number makes no sense, or there are not so many voices.
    FileExistsError
        Where the folder holds something else, or a corpus made with other settings.

    Example
    -------
    >>> import tempfile
    >>> numbers = dict(num_voices=2, train_utterances=2, dev_utterances=1, test_utterances=1)
    >>> noises = dict(train_noises=1, dev_noises=0, test_noises=0)
    >>> made = make_corpus(tempfile.mkdtemp(), **numbers, **noises)
    >>> sorted(path.name for path in made.glob("LibriSpeech/train-clean-100/*/*/*"))
    ['1001-1-0000.flac', '1001-1-0001.flac', '1002-1-0000.flac', '1002-1-0001.flac']
    """
    settings = {key: value for key, value in locals().items() if key not in ("folder", "workers")}
    _check(settings)

    def build(partial):
        voices = _voices(settings)
        _write_speech(partial / "LibriSpeech", voices, settings, workers)
        _write_noise(partial / "wham_noise", voices, settings, workers)
        (partial / "README.txt").write_text(_NOTE, encoding="utf-8")

    return build_once(folder, {"made_by": "sb_ext.data.synthetic", "format": FORMAT, **settings}, build)


def _check(settings):
    for key, value in settings.items():
        if key in ("seed", "noise_seconds") or (key == "num_voices" and value is None):
            continue
        lowest = 0 if key.endswith("_noises") else 1
        if not isinstance(value, int) or value < lowest:
            raise ValueError(f"make_corpus: {key}={value!r} must be an integer of at least {lowest}")
    if settings["noise_seconds"] < 1:
        raise ValueError(f"make_corpus: noise_seconds={settings['noise_seconds']!r} must be at least 1")


def _of_split(settings, what):
    """One value a split: ``_of_split(settings, "{}_noises")``."""
    return {split: settings[what.format(split.split("-")[0])] for split in SPLITS}


def _voices(settings):
    """Speaker number and voice for each speaker of each split."""
    if settings["num_voices"] is not None:
        voices = distinct_voices(settings["num_voices"])
        return {split: dict(enumerate(voices, 1001)) for split in SPLITS}
    chosen = split_voices(_of_split(settings, "num_{}"), settings["seed"])
    return {split: dict(enumerate(chosen[split], 1001 + 1000 * place)) for place, split in enumerate(SPLITS)}


def _write_speech(folder, voices, settings, workers):
    jobs = _plan(folder, voices, settings)
    for parent in {job.path.parent for job in jobs}:
        parent.mkdir(parents=True)
    seconds = in_threads(Utterance.write, jobs, workers, "Synthetic speech")
    minutes = {}
    for job, duration in zip(jobs, seconds, strict=True):
        speaker = int(job.path.name.split("-")[0])
        minutes[speaker] = minutes.get(speaker, 0) + duration / 60
    lines = ["; Synthetic voices of eSpeak NG; sex goes by pitch.", ";ID  |SEX| SUBSET           |MINUTES| NAME"]
    for split in reversed(SPLITS):
        # A closed set's speakers are in every split; the file has one line a speaker, the last word is train's.
        for speaker, voice in voices[split].items():
            lines.append(f"{speaker:<5}| {voice.sex} | {split:<16} | {minutes[speaker]:.2f} | {voice.voice}")
    lines = lines[:2] + sorted({line.split()[0]: line for line in lines[2:]}.values())
    (folder / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _plan(folder, voices, settings):
    """Who says what, in every split: no sentence twice in the whole corpus."""
    rng, said, jobs = random.Random(settings["seed"]), set(), []
    counts = _of_split(settings, "{}_utterances")
    for chapter, (split, speakers) in enumerate(voices.items(), 1):
        for speaker, voice in speakers.items():
            for number in range(counts[split]):
                path = folder / split / str(speaker) / str(chapter) / f"{speaker}-{chapter}-{number:04d}.flac"
                text = new_sentence(rng, voice.characters_per_second, said)
                jobs.append(Utterance(path, text, voice.voice, rng.uniform(-32, -20), settings["sample_rate"]))
    return jobs


def _write_noise(folder, voices, settings, workers):
    jobs = []
    for place, (split, count) in enumerate(_of_split(settings, "{}_noises").items()):
        (folder / SPLITS[split]).mkdir(parents=True)
        for number in range(count):
            path = folder / SPLITS[split] / f"synthetic_{SPLITS[split]}_{number:04d}.wav"
            jobs.append((path, [settings["seed"], place, number], list(voices[split].values())))

    def write(job):
        path, seed, talkers = job
        rng, sample_rate = np.random.default_rng(seed), settings["sample_rate"]
        # Every third noise is a café.
        babble = _babble(rng, talkers, settings) if seed[-1] % 3 == 2 else None
        noise = make_noise(rng, settings["noise_seconds"], sample_rate, babble)
        sf.write(path, noise, sample_rate, subtype="PCM_16")

    in_threads(write, jobs, workers, "Noise")


def _babble(rng, talkers, settings):
    """``[T]``: six to ten talkers at once, each starting somewhere within a sentence and going on."""
    length = round(settings["noise_seconds"] * settings["sample_rate"])
    babble = np.zeros(length, np.float32)
    for _ in range(rng.integers(6, 11)):
        voice = talkers[rng.integers(len(talkers))]
        words = sentence(random.Random(int(rng.integers(2**31))), 60)
        speech = say(words, voice.voice, settings["sample_rate"])
        turned = np.roll(np.resize(speech, length), rng.integers(length))
        babble += turned / (turned.std() + 1e-9) * rng.uniform(0.3, 1.0)
    return babble
