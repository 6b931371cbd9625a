"""What is in a folder laid out as LibriSpeech, or as WHAM's noise, and how loud each file is."""

import warnings
from pathlib import Path

from sb_ext.data.audio_files import check_folder
from sb_ext.data.loudness import BLOCK_SECONDS, measure

AUDIO = (".flac", ".wav")
NOISE_SPLITS = {"train": "tr", "dev": "cv", "valid": "cv", "test": "tt", "eval": "tt"}
"""WHAM's folder for each kind of split."""


def find_splits(root):
    """List the audio files of each split, sorted.

    Arguments
    ---------
    root : Path
        Holds ``split/speaker/chapter/*.flac`` (or wav).

    Returns
    -------
    files : dict of str to list of Path
        By split.

    Raises
    ------
    FileNotFoundError
        Where the folder is missing.
    ValueError
        Where there is no such file in it.
    """
    check_folder("librispeech_folder", root, "split/speaker/chapter/*.flac")
    found = {}
    for split in sorted(path for path in root.iterdir() if path.is_dir()):
        files = sorted(path for path in split.glob("*/*/*") if path.suffix.lower() in AUDIO)
        if files:
            found[split.name] = files
    if not found:
        raise ValueError(f"librispeech_folder: {root} holds no files like split/speaker/chapter/*.flac; lay it out so")
    return found


def speaker_of(clip):
    """Return the speaker's name: LibriSpeech's layout is ``split/speaker/chapter/file``."""
    return clip.path.split("/")[1]


def read_sexes(root):
    """Return the sex of each speaker from ``SPEAKERS.TXT``, an empty dict without that file."""
    path = root / "SPEAKERS.TXT"
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [[field.strip() for field in line.split("|")] for line in lines if line and not line.startswith(";")]
    return {row[0]: row[1] for row in rows if len(row) > 1}


def measure_speech(root, split, paths, num_speakers, workers=None):
    """Measure the utterances of a split and leave out, with a warning, what cannot be mixed.

    Raises
    ------
    ValueError
        Where fewer than `num_speakers` speakers remain.
    """
    speech = _usable(measure(root, paths, workers, f"Loudness of {split}"), split)
    speakers = {speaker_of(clip) for clip in speech}
    if len(speakers) < num_speakers:
        raise ValueError(
            f"num_speakers: {num_speakers} different speakers are to meet in a mixture, "
            f"{root / split} has {len(speakers)} usable speaker(s); add speakers, or lower num_speakers"
        )
    return speech


def check_names(paths):
    """Raise ValueError where a file is not named after its speaker, as the names of mixtures need it."""
    for path in paths:
        speaker = path.parent.parent.name
        if not speaker.isdecimal() or not path.stem.startswith(f"{speaker}-") or "_" in path.stem:
            raise ValueError(
                f"librispeech_folder: {path}: expected SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE, "
                "SPEAKER a number, no '_' in the name; rename it"
            )


def measure_noise(noise_folder, split, sample_rate, workers=None):
    """Measure the noises for a split of speech: those in a folder of its name, or in WHAM's for that kind of split.

    Returns
    -------
    noises : list of Clip
        Empty where `noise_folder` is None.

    Raises
    ------
    FileNotFoundError
        Where there is no such folder.
    ValueError
        Where it holds no usable noise, or noise at another sample rate than `sample_rate`, in Hz.
    """
    if noise_folder is None:
        return []
    folder = noise_of(noise_folder, split)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO)
    noises = _usable(measure(folder.parent, paths, workers, f"Loudness of {folder.name}"), folder.name)
    if not noises:
        raise ValueError(f"noise_folder: {folder} holds no usable noise; put wav or flac files there")
    if noises[0].sample_rate != sample_rate:
        raise ValueError(
            f"noise_folder: {folder} is at {noises[0].sample_rate} Hz, the speech of {split} at {sample_rate} Hz; "
            "resample one of them"
        )
    return noises


def noise_of(noise_folder, split):
    """The folder of the noise for a split of speech, which has its name, or WHAM's for that kind of split.

    Raises
    ------
    FileNotFoundError
        Where there is no such folder.
    """
    root = Path(noise_folder).expanduser()
    check_folder("noise_folder", root, "noise, one folder a split, as WHAM's tr, cv and tt")
    candidates = [root / split, root / NOISE_SPLITS.get(split.split("-")[0].lower(), split)]
    folder = next((path for path in candidates if path.is_dir()), None)
    if folder is None:
        raise FileNotFoundError(
            f"noise_folder: {root} holds no noise for {split!r}; make one of the folders "
            f"{', '.join(dict.fromkeys(path.name for path in candidates))}"
        )
    return folder


def _usable(clips, split):
    """Those with a loudness; one warning names the others."""
    usable = [clip for clip in clips if clip.loudness > float("-inf")]
    bad = [clip.path for clip in clips if clip.loudness == float("-inf")]
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        warnings.warn(
            f"{split}: left out {len(bad)} of {len(clips)} files, silent or shorter than {BLOCK_SECONDS} s: "
            f"{', '.join(bad[:5])}{more}",
            stacklevel=4,
        )
    return usable
