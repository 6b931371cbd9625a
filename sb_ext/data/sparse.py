"""SparseLibriMix: conversations of 2 to 5 speakers that overlap more or less, made on the fly or read as generated.

Sample for sample what the public script writes as 16-bit PCM: each piece of an utterance cut out, freed of its mean,
resampled and brought to its loudness in float64 (by pyloudnorm, in blocks of 0.1 s), put in its place, added up.
"""

import hashlib
import json
import warnings
from functools import partial

import numpy as np
import pyloudnorm
from scipy.signal import resample_poly

from sb_ext.data.audio_files import resampled_length
from sb_ext.data.listed_audio import ListedAudio
from sb_ext.data.pcm16 import from_pcm16, to_pcm16
from sb_ext.data.sparse_metadata import find_sparse, read_sparse_metadata
from sb_ext.data.store import MixtureStore, TextColumn
from sb_ext.data.wav_folder import WavFolder, facts_of, list_ids
from sb_ext.values import check_choice

BLOCK_SECONDS = 0.1
"""The loudness meter's; a piece must not be shorter."""
FOLDERS = {"mix_clean": "mix_clean", "mix_both": "mix_noisy"}
"""The script's folder for what LibriMix calls a mixture type."""


class SparseLibriMix(MixtureStore):
    """The mixtures of one ``metadata.json``, made while they are read, in the order of the file.

    A clean mixture ends with its last word, as the script writes it without noise; a noisy one with its noise.

    Arguments
    ---------
    speech_folder : str or Path
        What the files are relative to: LibriSpeech's ``test-clean``.
    metadata_json : str or Path
        It tells the number of speakers.
    sample_rate : int
        Hz.
    mixture_type : str
        ``mix_clean``, or ``mix_both`` for the script's ``mix_noisy``.
    noise_folder : str or Path, optional
        What the noise is relative to: WHAM's ``tt``. ``mix_clean`` never looks at noise.

    Raises
    ------
    ValueError
        If the metadata is faulty, a file that it names is missing, no audio or too short, or noise is asked for and
        not there. A piece that is silent is found when it is read: before a test where the set is packed.
    """

    def __init__(self, speech_folder, metadata_json, sample_rate=8000, mixture_type="mix_clean", noise_folder=None):
        check_choice("mixture_type", mixture_type, FOLDERS)
        metadata = read_sparse_metadata(metadata_json)
        self.speech = _PiecesOfAudio("librispeech_folder", speech_folder, metadata.speech, sample_rate)
        self.speech.audio.check_mono()
        self.of_source, self.of_noise = metadata.of_source, metadata.of_noise
        self.noise = None
        if mixture_type == "mix_both":
            if not noise_folder or not all(self.of_noise):
                raise ValueError(f"noise_folder: {metadata_json}: mix_both needs noise in each mixture, and its folder")
            self.noise = _PiecesOfAudio("noise_folder", noise_folder, metadata.noise, sample_rate)
        lengths = [self._length(index) for index in range(len(metadata.ids))]
        speakers = metadata.speakers
        super().__init__(
            TextColumn.of(metadata.ids), np.array(lengths, np.int64), speakers, sample_rate, speakers.shape[1]
        )

    def _length(self, index):
        ends = [self.speech.ends[rows].max() for _, rows in self.of_source[index]]
        return max(ends + [self.noise.ends[rows].max() for rows in self._noises(index)])

    def _noises(self, index):
        return [self.of_noise[index]] if self.noise else []

    def _read(self, index, start, stop):
        length, sources = int(self.lengths[index]), {}
        for number, rows in self.of_source[index]:
            sources[number] = self.speech.sum(rows, length)
        # In the order of the file: sums of floating-point numbers depend on it.
        voices = [*sources.values(), *(self.noise.sum(rows, length) for rows in self._noises(index))]
        mixture = voices[0]
        for voice in voices[1:]:
            mixture = mixture + voice
        signals = np.stack([mixture, *(sources[number] for number in sorted(sources))])[:, start:stop]
        signals = from_pcm16(to_pcm16(signals))
        return signals[0], signals[1:]


class _PiecesOfAudio:
    """Reads pieces of audio files as the public script does; ``ends [N]`` says where in the mixture each ends."""

    def __init__(self, key, folder, pieces, sample_rate):
        self.pieces, self.sample_rate = pieces, sample_rate
        self.audio = ListedAudio(key, folder, pieces.columns, pieces, sample_rate)
        frames, rates = self.audio.column("frames")[:, 0], self.audio.column("sample_rate")[:, 0]
        starts, first, last, self.levels = pieces.times.T
        self.starts = (starts * sample_rate).astype(np.int64)
        self.first = np.minimum((first * rates).astype(np.int64), frames)
        self.last = np.minimum((last * rates).astype(np.int64), frames)
        lengths = resampled_length(self.last - self.first, rates, sample_rate)
        self.ends = self.starts + lengths
        channels = self.audio.column("channels")[:, 0]
        self.channels = np.where(channels > 1, pieces.channels, 0)
        self._check(lengths < BLOCK_SECONDS * sample_rate, "orig_stop: less than 0.1 s of it lies in the file")
        self._check(self.channels >= channels, "channel: the file has not as many")

    def _check(self, wrong, what):
        for row in np.flatnonzero(wrong):
            raise ValueError(
                f"{self.pieces.path}: {self._name(row)}: {what}; take SparseLibriMix's own metadata and recordings"
            )

    def _name(self, row):
        return f"{self.pieces.ids[row]}: {self.audio.path(int(self.audio.which[row, 0]))}"

    def sum(self, rows, length):
        """The sum of some pieces, each in its place, as ``[length]`` float64."""
        placed = [np.pad(self._piece(row), (self.starts[row], length - self.ends[row])) for row in rows]
        return np.sum(placed, 0)

    def _piece(self, row):
        read, header = self.audio.reader(row, 0, int(self.channels[row]))
        samples = read(int(self.first[row]), int(self.last[row])).astype(np.float64)
        samples = samples - np.mean(samples)
        if header.sample_rate != self.sample_rate:
            samples = resample_poly(samples, self.sample_rate, header.sample_rate)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loudness = pyloudnorm.Meter(self.sample_rate, block_size=BLOCK_SECONDS).integrated_loudness(samples)
            samples = pyloudnorm.normalize.loudness(samples, loudness, self.levels[row])
        if not np.isfinite(samples).all():
            raise ValueError(
                f"{self.pieces.path}: {self._name(row)}: orig_start: silent from {self.first[row]} to {self.last[row]}"
                ", so that it has no loudness to be changed; delete the mixture, or choose another stretch"
            )
        return samples


def sparse_sets(
    sparse_folder, num_speakers, speech_folder=None, noise_folder=None, sample_rate=8000, mixture_type="mix_clean",
    overlap=None,
):  # fmt: skip
    """SparseLibriMix with some number of speakers: how to open each overlap ratio.

    Arguments
    ---------
    sparse_folder : str or Path
        Holds ``sparse_2_0.2/metadata.json`` and so on, as SparseLibriMix's repository does, or what its script
        generated: ``sparse_2_0.2/wav8000/{mix_clean,s1,...}``.
    num_speakers : int
    speech_folder, noise_folder, sample_rate, mixture_type
        See `SparseLibriMix`.
    overlap : str, optional
        One overlap ratio, such as ``0.2``; all of them if None.

    Returns
    -------
    sets : dict of str to (callable, dict)
        By folder name: what gives the MixtureStore, and the facts that it depends on.

    Raises
    ------
    ValueError
        If there is no such set, or it has another number of speakers.
    """
    check_choice("mixture_type", mixture_type, FOLDERS)
    sets = {}
    for folder in find_sparse(sparse_folder, num_speakers, overlap):
        wavs, table = folder / f"wav{sample_rate}", folder / "metadata.json"
        if wavs.is_dir():
            ids = list_ids(wavs / FOLDERS[mixture_type], "sparse_folder")
            make = partial(_generated, wavs, mixture_type, ids, num_speakers, sample_rate)
            facts = facts_of(ids)
        elif not table.is_file():
            raise ValueError(f"sparse_folder: {folder} holds neither metadata.json nor {wavs.name}; copy it anew")
        elif not speech_folder:
            raise ValueError(
                f"sparse_folder: {folder} is metadata, of which mixtures are made with librispeech_folder; "
                "give that one in place of data_folder, or SparseLibriMix as its script generates it"
            )
        else:
            make = partial(_on_the_fly, speech_folder, table, num_speakers, sample_rate, mixture_type, noise_folder)
            facts = {"way": "onthefly", "metadata": hashlib.sha256(table.read_bytes()).hexdigest()}
        sets[folder.name] = make, facts
    return sets


def _generated(wavs, mixture_type, ids, num_speakers, sample_rate):
    sources = sorted(path.name for path in wavs.glob("s[0-9]*"))
    _check_count(wavs, len(sources), num_speakers)
    table = wavs.parent / "metadata.json"
    speakers = None
    if table.is_file():
        known = {one["mixture_name"]: one for one in json.loads(table.read_text(encoding="utf-8"))}
        speakers = [[int(known[name][source][0]["spk_id"]) for source in sources] for name in ids]
    speakers = speakers and np.array(speakers)
    return WavFolder(wavs, FOLDERS[mixture_type], sources, ids, speakers, sample_rate, "sparse_folder")


def _on_the_fly(speech_folder, table, num_speakers, sample_rate, mixture_type, noise_folder):
    store = SparseLibriMix(speech_folder, table, sample_rate, mixture_type, noise_folder)
    _check_count(table, store.num_sources, num_speakers)
    return store


def _check_count(place, found, wanted):
    if found != wanted:
        raise ValueError(
            f"test_sets: {place}: mixtures of {found} speaker(s), sparse{wanted}mix asks for {wanted}; "
            "give the folder its right name, or take SparseLibriMix's own"
        )
