"""A store in one memory-mapped file: a training crop costs one slice a channel, with nothing to decode or mix."""

import fcntl
import json
import logging
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sb_ext.data.packed_audio import write_audio
from sb_ext.data.pcm16 import from_pcm16
from sb_ext.data.store import MixtureStore, TextColumn

logger = logging.getLogger(__name__)

FORMAT = 1
AUDIO, HEADER = "audio.pcm16", "header.json"


class PackedMixtures(MixtureStore):
    """A pack as `pack` writes it.

    A record is one mixture: ``[1 + C, length]`` int16, the mixture first. Loader workers receive the folder's name only
    and map the same pages.

    Arguments
    ---------
    folder : str or Path
    in_memory : bool
        Read the audio into memory once, for small corpora.

    Raises
    ------
    ValueError
        If the folder holds no complete pack of this format.
    """

    def __init__(self, folder, in_memory=False):
        self.folder, self.in_memory = str(folder), in_memory
        header = read_pack_header(folder)
        columns = {name: np.load(Path(folder, f"{name}.npy"), mmap_mode="r") for name in header["columns"]}
        ids = TextColumn(columns["id_characters"], columns["id_bounds"])
        speakers = columns.get("speakers")
        super().__init__(ids, columns["lengths"], speakers, header["sample_rate"], header["num_sources"])
        self.fingerprint, self.offsets = header["fingerprint"], columns["offsets"]
        audio, expected = Path(folder, AUDIO), 2 * int(self.offsets[-1])
        if audio.stat().st_size != expected:
            raise ValueError(f"{audio}: expected {expected} bytes, found {audio.stat().st_size}; delete {folder}")
        self.audio = np.fromfile(audio, "<i2") if in_memory else np.memmap(audio, "<i2", mode="r")

    def __getstate__(self):
        return {"folder": self.folder, "in_memory": self.in_memory}

    def __setstate__(self, state):
        self.__init__(**state)

    def _read(self, index, start, stop):
        first, last = self.offsets[index : index + 2].tolist()
        record = self.audio[first:last].reshape(1 + self.num_sources, int(self.lengths[index]))
        samples = from_pcm16(np.asarray(record[:, start:stop]))
        return samples[0], samples[1:] if self.num_sources else None


def read_pack_header(folder):
    """The header of a pack, as a dict; raises ValueError where there is no pack of this format."""
    try:
        header = json.loads(Path(folder, HEADER).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: holds no packed mixtures ({error})") from error
    if header.get("format") != FORMAT:
        raise ValueError(f"{folder}: packed in format {header.get('format')}, expected {FORMAT}; delete it, pack again")
    return header


def pack(store, folder, fingerprint=None, workers=1):
    """Write a store into a new folder, once, as 16-bit PCM.

    Stores that give 16-bit values, as LibriMix does, come back unchanged; others are converted as for a wav file. The
    folder appears under its name only when it is complete: a pack that was killed looks like none.

    Arguments
    ---------
    store : MixtureStore
    folder : str or Path
        Must not exist.
    fingerprint : dict, optional
        What the pack depends on, in JSON's types; kept in its header.
    workers : int
        Processes that read the store.

    Returns
    -------
    PackedMixtures

    Raises
    ------
    FileExistsError
        If the folder exists.
    ValueError
        If the store is empty.

    Example
    -------
    >>> import tempfile
    >>> class Tone(MixtureStore):
    ...     def _read(self, index, start, stop):
    ...         return np.full(stop - start, 0.5, np.float32), np.full((1, stop - start), 0.25, np.float32)
    >>> packed = pack(Tone(["a"], np.array([800]), np.array([[7]]), 8000, 1), tempfile.mkdtemp() + "/tone")
    >>> packed.ids[0], packed.read(0, 100, 102)
    ('a', (array([0.5, 0.5], dtype=float32), array([[0.25, 0.25]], dtype=float32)))
    """
    folder = Path(folder)
    with _lock(folder):
        if folder.exists():
            raise FileExistsError(f"{folder}: exists already; delete it or pack elsewhere")
        _write(store, folder, fingerprint, workers)
    return PackedMixtures(folder)


def open_or_pack(store_factory, folder, fingerprint, workers=1, in_memory=False):
    """The pack in ``folder``; made first where it is absent or was made from something else.

    Processes that come at the same time, such as the ranks of a training run, wait for the first one.

    Arguments
    ---------
    store_factory : callable
        Gives the MixtureStore; called only where there is something to pack.
    folder : str or Path
    fingerprint : dict
        What the pack depends on; another one in the folder's header means packing anew, which the log says.
    workers : int
    in_memory : bool

    Returns
    -------
    PackedMixtures

    Raises
    ------
    ValueError
        If the folder exists and is no pack; nothing is deleted then.
    """
    folder, fingerprint = Path(folder), json.loads(json.dumps(fingerprint))
    # Without the lock first: a finished pack may lie on a disk that cannot be written to.
    if not _holds(folder, fingerprint):
        with _lock(folder):
            if not _holds(folder, fingerprint):
                if folder.exists():
                    found = read_pack_header(folder)["fingerprint"]
                    logger.warning("%s was packed from %s, not from %s: packing it again", folder, found, fingerprint)
                _write(store_factory(), folder, fingerprint, workers)
    return PackedMixtures(folder, in_memory)


def _holds(folder, fingerprint):
    try:
        return read_pack_header(folder)["fingerprint"] == fingerprint
    except ValueError:
        return False


@contextmanager
def _lock(folder):
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as file:
        # lockf, not flock: forked workers would inherit a flock and, orphaned by a kill, keep it for good.
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def _write(store, folder, fingerprint, workers):
    if len(store) == 0:
        raise ValueError(f"{folder}: the store to be packed holds no mixtures")
    # The lock is ours, so what lies about was left by processes that were killed; under a name of its own, since their
    # workers may outlive them for a while.
    stem = f".{folder.name}.partial-"
    for path in folder.parent.iterdir():
        if path.name.startswith(stem):
            shutil.rmtree(path, ignore_errors=True)
    partial = folder.with_name(f"{stem}{os.getpid()}")
    partial.mkdir()
    try:
        columns = _columns(store)
        for name, column in columns.items():
            np.save(partial / f"{name}.npy", column)
        write_audio(store, partial / AUDIO, columns["offsets"], workers)
        header = {
            "format": FORMAT, "sample_rate": int(store.sample_rate), "num_sources": int(store.num_sources),
            "columns": list(columns), "fingerprint": fingerprint,
        }  # fmt: skip
        (partial / HEADER).write_text(json.dumps(header, indent=1))
        # Old folder aside, new one in place, then delete: no half-deleted pack ever stands under the name.
        outdated = folder.with_name(f".{folder.name}.outdated")
        shutil.rmtree(outdated, ignore_errors=True)
        if folder.exists():
            folder.rename(outdated)
        partial.rename(folder)
        shutil.rmtree(outdated, ignore_errors=True)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _columns(store):
    ids = TextColumn.of(store.ids)
    lengths = np.asarray(store.lengths, np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths * (1 + store.num_sources))])
    columns = {"id_characters": ids.characters, "id_bounds": ids.bounds, "lengths": lengths, "offsets": offsets}
    return columns if store.speakers is None else {**columns, "speakers": np.asarray(store.speakers, np.int64)}
