"""A stand-in for REAL-M that needs no download: two synthetic talkers in a simulated room, over a telephone-like band.

The same layout, 8 kHz, and no references where REAL-M has none. Here the truth exists, though: it lies in a folder
beside, so that what self-evaluation says can be compared with it.
"""

import csv
import random

import numpy as np
import pyroomacoustics
import soundfile as sf
from scipy.signal import butter, fftconvolve, sosfilt

from sb_ext.data.building import build_once, in_threads
from sb_ext.data.noises import make_noise
from sb_ext.data.utterances import new_sentence, say
from sb_ext.data.voices import split_voices

FORMAT = 1
"""Counted up whenever the same settings give other samples."""
SAMPLE_RATE = 8000
MIXTURES = "audio_files_converted_8000Hz"
"""REAL-M's own folder name."""
REFERENCES = "references"
BAND_HZ = (300, 3400)

_NOTE = f"""\
This folder holds SYNTHETIC mixtures laid out as the REAL-M data set is. They are not REAL-M, and nobody was recorded:
label every result obtained on them as synthetic.

{MIXTURES}/COLLECTION/NAME.wav: two synthetic voices (eSpeak NG) in a simulated room (image sources) with made
noise, 300 to 3400 Hz, 8 kHz. The voices are those of the dev and test splits of sb_ext's embedded corpus.
{REFERENCES}/COLLECTION/NAME/source1.wav, source2.wav: each talker as the microphone hears him, reverberation included;
their sum and the noise are the mixture. anechoic1.wav, anechoic2.wav: the same without the room, aligned in time.
{REFERENCES}/mixtures.csv: voices, reverberation time and signal-to-noise ratio of each mixture.

Made by sb_ext.data.realm_standin with the settings in made_with.json.
"""


def make_realm_standin(folder, num_mixtures=120, num_early=12, seed=0, workers=None):
    """Make the stand-in; done already with the same settings, return at once.

    Arguments
    ---------
    folder : str or Path
        Gets ``audio_files_converted_8000Hz/<collection>/<name>.wav``, ``references`` and a README.
    num_mixtures : int
        Recordings of 4 to 8 s.
    num_early : int
        So many of them are named ``early...``, which REAL-M's users leave out.
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
        Where a number makes no sense.
    FileExistsError
        Where the folder holds something else, or a stand-in made with other settings.

    Example
    -------
    >>> import tempfile
    >>> made = make_realm_standin(tempfile.mkdtemp(), num_mixtures=2, num_early=1)
    >>> sorted(path.name for path in made.glob("audio_files_converted_8000Hz/*/*.wav"))
    ['early_0000.wav', 'room_0001.wav']
    """
    if not 0 <= num_early <= num_mixtures or num_mixtures < 1:
        raise ValueError(
            f"make_realm_standin: num_mixtures={num_mixtures!r} must be at least 1, "
            f"num_early={num_early!r} between 0 and num_mixtures"
        )
    settings = {"num_mixtures": num_mixtures, "num_early": num_early, "seed": seed}

    def build(partial):
        jobs = _plan(num_mixtures, num_early, seed)
        threads = pyroomacoustics.constants.get("num_threads")
        # Summing in one thread, the rounding does not depend on the number of cores.
        pyroomacoustics.constants.set("num_threads", 1)
        try:
            rows = in_threads(lambda job: _record(partial, *job), jobs, workers, "REAL-M stand-in")
        finally:
            pyroomacoustics.constants.set("num_threads", threads)
        with open(partial / REFERENCES / "mixtures.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["name", "voice_1", "voice_2", "rt60_s", "snr_db"], *rows])
        (partial / "README.txt").write_text(_NOTE, encoding="utf-8")

    return build_once(folder, {"made_by": "sb_ext.data.realm_standin", "format": FORMAT, **settings}, build)


def _plan(num_mixtures, num_early, seed):
    """Name, seed and ``(text, voice)`` of both talkers, for each mixture."""
    # The embedded corpus's own split: what was trained on its training voices has never heard these.
    splits = split_voices({"train": 80, "dev": 12, "test": 12}, seed)
    voices = splits["dev"] + splits["test"]
    rng, said, jobs = random.Random(seed), set(), []
    for number in range(num_mixtures):
        kind = "early" if number < num_early else "room"
        name = f"synthetic_{1 + number % 2 if num_mixtures > 2 else 1}/{kind}_{number:04d}"
        first, second = rng.sample(voices, 2)
        while second.voice.variant == first.voice.variant:
            second = rng.choice(voices)
        talkers = [
            (new_sentence(rng, voice.characters_per_second, said, seconds=(3.4, 5.0)), voice.voice)
            for voice in (first, second)
        ]
        jobs.append((name, [seed, number], talkers))
    return jobs


def _record(folder, name, seed, talkers):
    """Simulate one recording and write it with its references; return its row of the table."""
    rng = np.random.default_rng(seed)
    dry = [say(text, voice, SAMPLE_RATE).astype(np.float64) for text, voice in talkers]
    rt60, wet_responses, dry_responses = _room(rng)
    starts = [0, int(rng.uniform(0, 1.0) * SAMPLE_RATE)]
    levels = 10 ** (np.array([0.0, rng.uniform(-4, 4)]) / 20)
    scaled = [level * np.pad(s / s.std(), (start, 0)) for level, s, start in zip(levels, dry, starts, strict=True)]
    length = max(map(len, scaled)) + int(0.2 * SAMPLE_RATE)
    wet = np.stack([_through(s, response, length) for s, response in zip(scaled, wet_responses, strict=True)])
    anechoic = np.stack([_through(s, response, length) for s, response in zip(scaled, dry_responses, strict=True)])

    noise = make_noise(rng, length / SAMPLE_RATE, SAMPLE_RATE)[:, 0]
    noise = sosfilt(_band(), np.resize(noise, length))
    snr = rng.uniform(12, 28)
    noise *= wet.sum(0).std() / noise.std() * 10 ** (-snr / 20)

    # A hand that moves the telephone: the same gain for talkers and noise keeps their sum the mixture.
    drift = 10 ** (np.interp(np.arange(length), np.linspace(0, length, 5), rng.uniform(-1.5, 1.5, 5)) / 20)
    mixture = wet.sum(0) + noise
    gain = drift * rng.uniform(0.3, 0.9) / np.abs(drift * mixture).max()
    _write(folder / MIXTURES / f"{name}.wav", gain * mixture)
    for number in range(2):
        _write(folder / REFERENCES / name / f"source{number + 1}.wav", gain * wet[number])
        _write(folder / REFERENCES / name / f"anechoic{number + 1}.wav", gain * anechoic[number])
    return [name, *(str(voice) for _, voice in talkers), f"{rt60:.3f}", f"{snr:.1f}"]


def _room(rng):
    """Reverberation time in s, and for two talkers the responses to one microphone, with walls and without."""
    rt60 = rng.uniform(0.15, 0.5)
    # In a larger room the same decay takes fewer reflections, and far less time to compute.
    size = rng.uniform([4.0, 4.0, 2.7], [7.0, 6.0, 3.5]) * (0.8 + 0.6 * rt60)
    absorption, order = pyroomacoustics.inverse_sabine(rt60, size)
    microphone = size * rng.uniform([0.3, 0.3, 0.3], [0.7, 0.7, 0.5])
    angle = rng.uniform(0, 2 * np.pi)
    angles = [angle, angle + rng.uniform(0.5, 1) * np.pi]
    places = [
        np.clip(
            microphone + rng.uniform(0.5, 1.5) * np.array([np.cos(a), np.sin(a), rng.uniform(-0.2, 0.4)]),
            0.3,
            size - 0.3,
        )
        for a in angles
    ]
    responses = []
    for reflections in (order, 0):
        room = pyroomacoustics.ShoeBox(
            size, fs=SAMPLE_RATE, materials=pyroomacoustics.Material(absorption), max_order=reflections
        )
        for place in places:
            room.add_source(place)
        room.add_microphone(microphone)
        room.compute_rir()
        responses.append(room.rir[0])
    return rt60, *responses


def _through(speech, response, length):
    """Through the room and the telephone band, ``[length]``."""
    heard = sosfilt(_band(), fftconvolve(speech, response))[:length]
    return np.pad(heard, (0, length - len(heard)))


def _band():
    return butter(4, BAND_HZ, btype="bandpass", fs=SAMPLE_RATE, output="sos")


def _write(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
