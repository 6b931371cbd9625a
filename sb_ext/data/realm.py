"""REAL-M: real mixtures of two readers, recorded in many rooms, without references."""

import hashlib
from pathlib import Path

from sb_ext.data.recordings import Recordings

SAMPLE_RATE = 8000
AUDIO_FOLDER = "audio_files_converted_8000Hz"
VALIDATION_PERCENT = 20
# The split of MixCycle's public code, which comes from TensorFlow's speech commands: 2^27 - 1 files at most.
_MAX_FILES = 2**27 - 1


def in_validation(file_name):
    """Whether a file is kept for validation: it depends on the file's name alone, so growth moves no file.

    Example
    -------
    >>> [in_validation(name) for name in ("a.wav", "e.wav", "i.wav")]
    [False, True, True]
    """
    number = int(hashlib.sha1(file_name.encode()).hexdigest(), 16)
    return (number % (_MAX_FILES + 1)) * (100.0 / _MAX_FILES) < VALIDATION_PERCENT


class RealM(Recordings):
    """REAL-M's recordings at 8 kHz, split as MixCycle (Karamatli and Kirbiz, 2022) splits them.

    Files whose names start with ``early`` are left out, as there. The paper tests on its validation recordings.

    Arguments
    ---------
    folder : str or Path
        The folder that holds ``audio_files_converted_8000Hz``.
    split : str
        ``train``, ``valid`` or ``test``; ``test`` is ``valid``.

    Raises
    ------
    ValueError
        If the split is unknown, the folder holds no recordings, or one is not mono at 8 kHz.
    """

    def __init__(self, folder, split):
        if split not in ("train", "valid", "test"):
            raise ValueError(f"RealM: split must be train, valid or test, received {split!r}")
        paths = sorted(Path(folder, AUDIO_FOLDER).glob("*/*.wav"))
        if not paths:
            raise ValueError(f"RealM: no recordings at {Path(folder, AUDIO_FOLDER)}/*/*.wav")
        kept = [
            path
            for path in paths
            if not path.name.startswith("early") and in_validation(path.name) == (split != "train")
        ]
        if not kept:
            raise ValueError(f"RealM: none of the {len(paths)} recordings in {folder} falls to the split {split!r}")
        super().__init__(kept, SAMPLE_RATE, root=Path(folder, AUDIO_FOLDER))
        for path, (_, rate, channels) in zip(kept, self.headers.tolist(), strict=True):
            if (rate, channels) != (SAMPLE_RATE, 1):
                raise ValueError(
                    f"{path}: expected {SAMPLE_RATE} Hz in 1 channel, found {rate} Hz in {channels}; "
                    "take REAL-M's converted 8 kHz files"
                )
