"""REAL-M: real mixtures of two readers, recorded in many rooms, without references."""

import hashlib
import os
from pathlib import Path

import numpy as np

from sb_ext.data.audio_files import read_header, read_samples
from sb_ext.data.recordings import Recordings

SAMPLE_RATE = 8000
AUDIO_FOLDER = "audio_files_converted_8000Hz"
# Beside the recordings, where the truth is known: in the stand-in.
REFERENCES = "references"
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
            raise ValueError(
                f"data_folder: no recordings at {Path(folder, AUDIO_FOLDER)}/*/*.wav; give REAL-M's own folder"
            )
        kept = [
            path
            for path in paths
            if not path.name.startswith("early") and in_validation(path.name) == (split != "train")
        ]
        if not kept:
            raise ValueError(
                f"data_folder: none of the {len(paths)} recordings in {folder} falls to the split {split!r} "
                "(one in five is for validation, by a hash of the file name); add recordings"
            )
        super().__init__(kept, SAMPLE_RATE, root=Path(folder, AUDIO_FOLDER))
        for path, (_, rate, channels) in zip(kept, self.headers.tolist(), strict=True):
            if (rate, channels) != (SAMPLE_RATE, 1):
                raise ValueError(
                    f"{path}: expected {SAMPLE_RATE} Hz in 1 channel, found {rate} Hz in {channels}; "
                    "take REAL-M's converted 8 kHz files"
                )


class ReferencedRealM(RealM):
    """A folder laid out as REAL-M whose references lie beside the recordings, as those of the stand-in do.

    Arguments
    ---------
    folder : str or Path
        Also holds ``references/<collection>/<name>/source1.wav``, ``source2.wav``.
    split : str
        ``train``, ``valid`` or ``test``.

    Raises
    ------
    ValueError
        As RealM, and where a reference is missing or of another length.
    """

    def __init__(self, folder, split):
        super().__init__(folder, split)
        self.references, self.num_sources = str(Path(folder, REFERENCES)), 2
        for index, length in enumerate(self.lengths.tolist()):
            for path in self._paths(index):
                frames = read_header(path).frames if os.path.exists(path) else None
                if frames != length:
                    found = "no such file" if frames is None else f"{frames} samples"
                    raise ValueError(f"{path}: expected {length} samples, as the recording has; found {found}")

    def _paths(self, index):
        folder = os.path.join(self.references, os.path.splitext(self.ids[index])[0])
        return [os.path.join(folder, f"source{place}.wav") for place in range(1, self.num_sources + 1)]

    def _read(self, index, start, stop):
        mixture, _ = super()._read(index, start, stop)
        sources = [read_samples(path, read_header(path), start, stop)[:, 0] for path in self._paths(index)]
        return mixture, np.stack(sources)
