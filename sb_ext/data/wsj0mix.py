"""WSJ0-2mix, -3mix and so on (Hershey et al. 2016), generated or made from WSJ0 with the public mixing lists.

What is made on the fly equals sample for sample what the public script in Python (pywsj0-mix) writes, given the active
speech levels that come with it. These are powers by ITU-T P.56, measured by VOICEBOX's ``activlev`` in Matlab for the
original data; they are read, never measured here. Where they are not at hand, or the corpus is not WSJ0, the level is
the mean power of the resampled utterance: pauses count, so the ratio of two speakers is not quite the list's. The
Matlab script's own output is 70 dB above its difference from the one in Python, as its authors say.
"""

import hashlib
import logging
from functools import partial
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from sb_ext.data.audio_files import check_folder
from sb_ext.data.librimix_generated import MODES
from sb_ext.data.listed_audio import ListedAudio
from sb_ext.data.packed import open_or_pack
from sb_ext.data.pcm16 import from_pcm16
from sb_ext.data.store import MixtureStore
from sb_ext.data.wav_folder import WavFolder, facts_of, list_ids
from sb_ext.data.wsj0mix_lists import SPLITS, find_mixing_list, read_levels, read_mixing_list, speakers_of
from sb_ext.values import check_choice

logger = logging.getLogger(__name__)

PEAK = 0.9
"""The script divides by the largest peak, at least 1, over this."""


class OnTheFlyWsj0Mix(MixtureStore):
    """One split of wsj0-mix, mixed when it is read, sorted by name as the generated folder is.

    The script scales each mixture by its peak, so that a crop costs the whole: pack it.

    Arguments
    ---------
    wsj0_folder : str or Path
        What the paths in the list are relative to: the folder that holds ``wsj0``.
    mixing_list : str or Path
        ``mix_2_spk_tr.txt`` and so on; beside it ``activlev``, where the levels are known.
    num_speakers : int
    sample_rate : int
        Hz.
    mode : str
        ``min``: cut to the shortest source; ``max``: padded to the longest.

    Raises
    ------
    ValueError
        If the list is faulty, or a file that it names is missing, no audio, or has no level. Where there is no list of
        levels a silent utterance is found when it is read: before training where the split is packed.
    """

    def __init__(self, wsj0_folder, mixing_list, num_speakers=2, sample_rate=8000, mode="min"):
        check_choice("mode", mode, MODES)
        metadata = read_mixing_list(mixing_list, num_speakers)
        self.audio = ListedAudio("wsj0_folder", wsj0_folder, metadata.sources, metadata, sample_rate)
        self.audio.check_mono()
        self.levels = self._levels(read_levels(Path(mixing_list).parent), metadata.path)
        lengths = self.audio.resampled_lengths(sample_rate)
        lengths = lengths.min(axis=1) if mode == "min" else lengths.max(axis=1)
        super().__init__(metadata.ids, lengths, metadata.speakers, sample_rate, num_speakers)

    def _levels(self, known, path):
        """The level of each file, NaN where it is to be measured."""
        if known is None:
            logger.info("%s: no activlev beside it, levels are mean powers", path)
            return np.full(len(self.audio.files), np.nan)
        names = [Path(self.audio.files[number]).stem for number in range(len(self.audio.files))]
        missing = [name for name in names if name not in known]
        if missing:
            raise ValueError(
                f"mixing_lists: {path} names {missing[0]} and {len(missing) - 1} more whose level no activlev file "
                "tells; put the public files there, or none, and mean powers are taken"
            )
        return np.array([known[name] for name in names])

    def _read(self, index, start, stop):
        length = int(self.lengths[index])
        sources = np.stack([self._voice(index, column, length) for column in range(self.num_sources)])
        mixture = np.sum(sources, axis=0)
        scale = max(1.0, np.abs(mixture).max(), np.abs(sources).max()) / PEAK
        signals = np.concatenate([mixture[None], sources])[:, start:stop] / scale
        # As Matlab's wavwrite rounds; the peak keeps it from overflowing.
        signals = from_pcm16(np.round(2**15 * signals).astype(np.int16))
        return signals[0], signals[1:]

    def _voice(self, index, column, length):
        read, header = self.audio.reader(index, column)
        samples = read(0, header.frames)
        if header.sample_rate != self.sample_rate:
            samples = resample_poly(samples, self.sample_rate, header.sample_rate)
        number = int(self.audio.which[index, column])
        level = self.levels[number]
        if np.isnan(level):
            level = np.mean(samples.astype(np.float64) ** 2)
        if level == 0:
            raise ValueError(
                f"{self.audio.path(number)}: is silent, so that mixture {self.ids[index]} cannot be brought to its "
                "level; replace the file, or delete the lines that name it"
            )
        samples = np.pad(samples[:length].astype(np.float64), (0, max(0, length - len(samples))))
        return samples / np.sqrt(level) * 10 ** (self.audio.gains[index, column] / 20)


def find_generated(data_folder, num_speakers, sample_rate, mode):
    """The folder of ``tr``, ``cv`` and ``tt``: ``2speakers/wav8k/min`` in the one given, or any end of that path.

    Raises
    ------
    FileNotFoundError
        If there is no such data folder.
    ValueError
        If it does not hold the mixtures; says what there is.
    """
    parts = (f"{num_speakers}speakers", f"wav{sample_rate // 1000}k", mode)
    check_folder("data_folder", data_folder, f"{'/'.join(parts)}, as the wsj0-mix scripts write it")
    for first in range(len(parts) + 1):
        folder = Path(data_folder, *parts[first:])
        if any(Path(folder, split).is_dir() for split in SPLITS):
            return folder
    found = [path.relative_to(data_folder) for path in Path(data_folder).glob("*speakers/wav*k/*") if path.is_dir()]
    raise ValueError(
        f"data_folder: {data_folder} holds no {'/'.join(parts)}; found {', '.join(map(str, sorted(found))) or 'none'}. "
        "Set num_speakers, sample_rate and mode to what is there, or generate it with the wsj0-mix scripts"
    )


def wsj0_stores(
    *, data_folder=None, wsj0_folder=None, mixing_lists=None, num_speakers=2, sample_rate=8000, mode="min",
    splits=SPLITS, pack_folder=None,
):  # fmt: skip
    """Splits of wsj0-mix, whichever way they come in.

    Arguments
    ---------
    data_folder : str or Path, optional
        A generated folder. Either this one is given,
    wsj0_folder, mixing_lists : str or Path, optional
        or these two: WSJ0 as wav files, and the folder of the public lists.
    num_speakers, sample_rate, mode
        See `OnTheFlyWsj0Mix`.
    splits : tuple of str
        Of ``tr``, ``cv`` and ``tt``.
    pack_folder : str or Path, optional
        Where to keep each split as one memory-mapped file.

    Returns
    -------
    dict
        Split to MixtureStore.

    Raises
    ------
    ValueError
        If not exactly one way in is given, or the data is missing or faulty.
    """
    folders = {"data_folder": data_folder, "wsj0_folder": wsj0_folder, "mixing_lists": mixing_lists}
    given = [name for name, folder in folders.items() if folder]
    if given not in (["data_folder"], ["wsj0_folder", "mixing_lists"]):
        raise ValueError(
            "WSJ0Mix: give data_folder, or wsj0_folder with mixing_lists; "
            f"received {', '.join(given) or 'none of them'}"
        )
    check_choice("mode", mode, MODES)
    settings = {"num_speakers": num_speakers, "sample_rate": sample_rate, "mode": mode}

    def split_store(split):
        if data_folder:
            make, facts = _generated(find_generated(data_folder, **settings) / split, num_speakers, sample_rate)
        else:
            make, facts = _on_the_fly(wsj0_folder, mixing_lists, split, settings)
        if not pack_folder:
            return make()
        name = f"wsj0_{num_speakers}mix_{facts['way']}_{split}_{sample_rate}_{mode}"
        return open_or_pack(make, Path(pack_folder, name), {**settings, "split": split, **facts})

    return {split: split_store(split) for split in splits}


def _generated(folder, num_speakers, sample_rate):
    ids, sources = list_ids(folder / "mix"), [f"s{number + 1}" for number in range(num_speakers)]

    def make():
        speakers = np.array([speakers_of(name, num_speakers, folder) for name in ids], np.int64)
        return WavFolder(folder, "mix", sources, ids, speakers, sample_rate)

    return make, facts_of(ids)


def _on_the_fly(wsj0_folder, mixing_lists, split, settings):
    path, levels = find_mixing_list(mixing_lists, settings["num_speakers"], split), read_levels(mixing_lists)
    facts = {"way": "onthefly", "list": hashlib.sha256(path.read_bytes()).hexdigest()}
    facts["levels"] = levels and hashlib.sha256(repr(sorted(levels.items())).encode()).hexdigest()
    return partial(OnTheFlyWsj0Mix, wsj0_folder, path, **settings), facts
