"""eSpeak NG as a function: text and a voice in, samples out.

A thin ctypes binding to the library that the PyPI wheel ``espeakng-loader`` carries, together with its voices.

eSpeak keeps static state that no call resets (the position in its flutter table, the phase of the last cycle), so the
same text would sound a little different each time. Therefore each utterance gets a freshly loaded library: 2 ms more,
and the samples depend on text and voice alone. The state is one a process, so a lock admits one thread at a time.
"""

import _ctypes
import ctypes
import difflib
import functools
import threading
from dataclasses import dataclass
from pathlib import Path

import espeakng_loader
import numpy as np

SAMPLE_RATE = 22050
"""eSpeak's own rate, in Hz."""

ACCENTS = ("en-us", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-us-nyc", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
"""English accents: American, received pronunciation, Scottish, Caribbean, New York, Lancaster, West Midlands."""

# Names from espeak-ng's public header speak_lib.h.
_OUTPUT_SYNCHRONOUS, _DO_NOT_EXIT, _TEXT_IS_UTF8 = 2, 0x8000, 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_BUFFER_MS = 500
# At eSpeak's default volume of 100 several variants clip; at 25 none of them does.
_SAFE_VOLUME = 25
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker.

    Arguments
    ---------
    variant : str
        One of :func:`variants`; it sets the vocal tract: formants, breath, roughness.
    accent : str
        An English accent of eSpeak's, such as those in :data:`ACCENTS`.
    rate : int
        Words a minute, 80 to 450.
    pitch : int
        0 to 99; 50 is the variant's own, 25 and 75 are a third of an octave below and above.
    pitch_range : int
        0 (monotone) to 99.

    Example
    -------
    >>> str(Voice("f3", accent="en-gb-scotland", pitch=60))
    'en-gb-scotland+f3, 170 words/min, pitch 60, range 50'
    """

    variant: str
    accent: str = "en-us"
    rate: int = 170
    pitch: int = 50
    pitch_range: int = 50

    def __str__(self):
        return f"{self.accent}+{self.variant}, {self.rate} words/min, pitch {self.pitch}, range {self.pitch_range}"

    def check(self):
        """Raise ValueError where a field is out of its range: eSpeak itself would quietly take another voice."""
        if self.variant not in variants():
            near = difflib.get_close_matches(self.variant, variants(), n=1, cutoff=0.0)
            raise ValueError(
                f"Voice: variant={self.variant!r} is not among eSpeak's {len(variants())} variants; "
                f"did you mean {near[0]!r}?"
            )
        for name, low, high in (("rate", 80, 450), ("pitch", 0, 99), ("pitch_range", 0, 99)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"Voice: {name}={value!r} must lie between {low} and {high}")


@functools.cache
def variants():
    """Return the names of eSpeak's voice variants, sorted.

    Example
    -------
    >>> len(variants()) > 90, "f3" in variants()
    (True, True)
    """
    return tuple(sorted(path.name for path in variant_folder().iterdir()))


def variant_folder():
    """Return the folder with one text file a variant."""
    return Path(espeakng_loader.get_data_path()) / "voices" / "!v"


def synthesize(text, voice):
    """Say a text.

    Arguments
    ---------
    text : str
        English; a full stop or comma makes a pause.
    voice : Voice
        Who says it.

    Returns
    -------
    samples : numpy.ndarray
        ``[T]`` int16 at :data:`SAMPLE_RATE`; the same for the same text and voice, in every process.

    Raises
    ------
    ValueError
        Where the text is empty, or the voice does not exist.
    RuntimeError
        Where eSpeak fails.

    Example
    -------
    >>> samples = synthesize("Seven boats came home.", Voice("m3"))
    >>> samples.dtype.name, len(samples) > SAMPLE_RATE
    ('int16', True)
    """
    if not text.strip():
        raise ValueError(f"synthesize: text={text!r} has nothing to say")
    voice.check()
    with _one_at_a_time:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        try:
            return _speak(library, text.encode("utf-8"), voice)
        finally:
            library.espeak_Terminate()
            _unload(library)


def _speak(library, text, voice):
    """Set up a fresh library, say the text, collect the samples."""
    data = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, _BUFFER_MS, data, _DO_NOT_EXIT)
    if rate != SAMPLE_RATE:
        raise RuntimeError(f"espeak_Initialize with the data in {data.decode()} returned {rate}, not {SAMPLE_RATE}")
    chunks = []

    @_CALLBACK
    def collect(samples, count, events):
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    library.espeak_SetSynthCallback(collect)
    if library.espeak_SetVoiceByName(f"{voice.accent}+{voice.variant}".encode()) != 0:
        raise ValueError(
            f"Voice: accent={voice.accent!r} is not one of eSpeak's; English ones are {', '.join(ACCENTS)}"
        )
    for parameter, value in (
        (_RATE, voice.rate),
        (_VOLUME, _SAFE_VOLUME),
        (_PITCH, voice.pitch),
        (_RANGE, voice.pitch_range),
    ):
        _checked(library.espeak_SetParameter(parameter, value, 0), "espeak_SetParameter", voice)
    _seed_noise(library)
    status = library.espeak_Synth(
        ctypes.c_char_p(text), ctypes.c_size_t(len(text) + 1), 0, 0, 0, _TEXT_IS_UTF8, None, None
    )
    _checked(status, "espeak_Synth", voice)
    if not chunks:
        raise RuntimeError(f"eSpeak returned no samples for {text.decode()!r} with {voice}")
    return np.concatenate(chunks)


def _seed_noise(library):
    """Restart the two random generators behind breath and frication: eSpeak's own, and the C library's (Klatt)."""
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    library.srand(1)


def _checked(status, call, voice):
    if status != 0:
        raise RuntimeError(f"{call} returned {status} for the voice {voice}")


def _unload(library):
    """Drop the library, and its static state with it."""
    close = getattr(_ctypes, "dlclose", None) or _ctypes.FreeLibrary
    close(library._handle)
