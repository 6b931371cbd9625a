"""One synthetic utterance: a sentence nobody said before, spoken, trimmed, levelled and written."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from scipy.signal import resample_poly

from sb_ext.data.espeak import SAMPLE_RATE, Voice, synthesize
from sb_ext.data.sentences import sentence

MARGIN_SECONDS = 0.05
"""Left of the silence before and after."""
MAX_PEAK = 0.9


@dataclass(frozen=True)
class Utterance:
    """What to say, and where to write it.

    Arguments
    ---------
    path : Path
        A FLAC or wav file.
    text : str
        The words.
    voice : Voice
        Who says them.
    level : float
        RMS in dB re full scale.
    sample_rate : int
        In Hz.
    """

    path: Path
    text: str
    voice: Voice
    level: float
    sample_rate: int

    def write(self):
        """Write the file; return its duration in seconds."""
        speech = say(self.text, self.voice, self.sample_rate)
        gain = 10 ** (self.level / 20) / np.sqrt(np.mean(speech**2))
        speech *= min(gain, MAX_PEAK / np.abs(speech).max())
        sf.write(self.path, speech, self.sample_rate, subtype="PCM_16")
        return len(speech) / self.sample_rate


def new_sentence(rng, characters_per_second, said, seconds=(3.0, 5.2)):
    """Make a sentence that was not said before.

    Arguments
    ---------
    rng : random.Random
        Where the choices come from.
    characters_per_second : float
        The voice's pace.
    said : set of str
        Sentences said so far; the new one is added.
    seconds : tuple of float
        The sentence gets as many clauses as it takes to reach a duration drawn from this range.

    Returns
    -------
    sentence : str
        About as long, up to one clause longer.

    Example
    -------
    >>> import random
    >>> said = set()
    >>> new_sentence(random.Random(0), 15.0, said) in said
    True
    """
    while True:
        text = sentence(rng, round(rng.uniform(*seconds) * characters_per_second))
        if text not in said:
            said.add(text)
            return text


def say(text, voice, sample_rate):
    """Return ``[T]`` float32 speech at any sample rate in Hz, without the silence before and after.

    Example
    -------
    >>> speech = say("Hello.", Voice("m3"), 8000)
    >>> speech.dtype.name, 2000 < len(speech) < 8000
    ('float32', True)
    """
    samples = synthesize(text, voice).astype(np.float32) / 32768
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    margin = round(MARGIN_SECONDS * SAMPLE_RATE)
    samples = samples[max(0, loud[0] - margin) : loud[-1] + margin]
    common = int(np.gcd(sample_rate, SAMPLE_RATE))
    return resample_poly(samples, sample_rate // common, SAMPLE_RATE // common).astype(np.float32)
