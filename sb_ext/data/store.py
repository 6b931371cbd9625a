"""The one interface behind which every data set stands: a mixture store.

A store knows its ids, lengths and speakers without touching audio, and reads any slice of any mixture. Everything that
it knows per mixture lies in flat arrays: a million mixtures open in megabytes and pass cheaply to loader workers.
"""

from array import array

import numpy as np


class TextColumn:
    """Strings in two flat arrays, read like a list of str.

    A list of a million str costs 90 MB and is copied page by page into every loader worker, since counting references
    writes to it; this costs the characters and 8 bytes a string, and may be memory-mapped.

    Arguments
    ---------
    characters : np.ndarray
        uint8, all strings in UTF-8, end to end.
    bounds : np.ndarray
        ``[N + 1]``, int64; string ``i`` is ``characters[bounds[i]:bounds[i + 1]]``.

    Example
    -------
    >>> names = TextColumn.of(["mix-a", "mix-bb"])
    >>> len(names), names[1], list(names)
    (2, 'mix-bb', ['mix-a', 'mix-bb'])
    """

    def __init__(self, characters, bounds):
        self.characters, self.bounds = characters, bounds

    @classmethod
    def of(cls, strings):
        """The column that holds ``strings``, any iterable of str."""
        characters, bounds = bytearray(), array("q", [0])
        for string in strings:
            characters += string.encode()
            bounds.append(len(characters))
        return cls(np.frombuffer(bytes(characters), np.uint8), np.array(bounds, np.int64))

    def __len__(self):
        return len(self.bounds) - 1

    def __getitem__(self, index):
        if not -len(self) <= index < len(self):
            raise IndexError(f"TextColumn: index {index} of {len(self)} strings")
        index %= len(self)
        return self.characters[self.bounds[index] : self.bounds[index + 1]].tobytes().decode()


class Chosen:
    """Some of a sequence, in another order, without a copy of it.

    Example
    -------
    >>> list(Chosen("abcdef", np.array([4, 0, 1])))
    ['e', 'a', 'b']
    """

    def __init__(self, sequence, places):
        self.sequence, self.places = sequence, places

    def __len__(self):
        return len(self.places)

    def __getitem__(self, index):
        return self.sequence[int(self.places[index])]


class MixtureStore:
    """Mixtures by number, with what is known about each of them; data sets inherit and fill in ``_read``.

    Arguments
    ---------
    ids : sequence of str
        One unique name a mixture, the same in every run.
    lengths : np.ndarray
        ``[N]``, int64, samples at ``sample_rate``.
    speakers : np.ndarray or None
        ``[N, C]``, int64 speaker numbers.
    sample_rate : int
        Hz.
    num_sources : int
        C; 0 for recordings without references.
    """

    def __init__(self, ids, lengths, speakers, sample_rate, num_sources):
        self.ids, self.lengths, self.speakers = ids, lengths, speakers
        self.sample_rate, self.num_sources = sample_rate, num_sources

    def __len__(self):
        return len(self.ids)

    def source_counts(self):
        """How many sources each mixture has, ``[N]``."""
        return np.full(len(self), self.num_sources)

    def read(self, index, start=0, stop=None):
        """The samples ``start`` to ``stop`` of one mixture and of its sources.

        Arguments
        ---------
        index : int
            Which mixture, 0 to N - 1.
        start, stop : int
            In samples; ``stop=None`` reads to the end.

        Returns
        -------
        mixture : np.ndarray
            ``[T]``, float32.
        sources : np.ndarray or None
            ``[C, T]``, float32; None where ``num_sources`` is 0.

        Raises
        ------
        IndexError
            If there is no such mixture.
        ValueError
            If the slice leaves the mixture, or a file cannot be read or is not what was promised.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{type(self).__name__}: index {index} of {len(self)} mixtures")
        length = int(self.lengths[index])
        stop = length if stop is None else stop
        if not 0 <= start <= stop <= length:
            raise ValueError(
                f"{type(self).__name__}: mixture {self.ids[index]} has {length} samples, "
                f"received the slice {start}:{stop}"
            )
        return self._read(int(index), int(start), int(stop))

    def _read(self, index, start, stop):
        raise NotImplementedError


class Subset(MixtureStore):
    """Some mixtures of a store, in the order given.

    Arguments
    ---------
    store : MixtureStore
    indices : sequence of int
        Which mixtures.

    Raises
    ------
    IndexError
        If an index is not in the store.
    """

    def __init__(self, store, indices):
        indices = np.asarray(indices, np.int64)
        if indices.size and (indices.min() < 0 or indices.max() >= len(store)):
            raise IndexError(f"Subset: indices from {indices.min()} to {indices.max()} of {len(store)} mixtures")
        ids, speakers = Chosen(store.ids, indices), store.speakers
        if speakers is not None:
            # As many for each mixture, or else no array.
            speakers = speakers[indices] if isinstance(speakers, np.ndarray) else Chosen(speakers, indices)
        super().__init__(ids, store.lengths[indices], speakers, store.sample_rate, store.num_sources)
        self.store, self.indices = store, indices

    def __getstate__(self):
        return {"store": self.store, "indices": self.indices}

    def __setstate__(self, state):
        self.__init__(**state)

    def source_counts(self):
        """How many sources each mixture has, ``[N]``."""
        return self.store.source_counts()[self.indices]

    def _read(self, index, start, stop):
        return self.store.read(int(self.indices[index]), start, stop)


def random_subset(store, fraction, seed):
    """A share of a store, drawn without replacement, its order kept; at least one mixture.

    The draw depends on the number of mixtures and the seed alone.

    Arguments
    ---------
    store : MixtureStore
    fraction : float
        Above 0, at most 1; 0.05 keeps one mixture in twenty.
    seed : int

    Returns
    -------
    MixtureStore
        A Subset, or the store itself where the share is all of it.

    Raises
    ------
    ValueError
        If the fraction is outside (0, 1] or the store is empty.

    Example
    -------
    >>> class Silence(MixtureStore):
    ...     def _read(self, index, start, stop):
    ...         return np.zeros(stop - start, np.float32), None
    >>> silence = Silence([f"item{i}" for i in range(40)], np.full(40, 800), None, 8000, 0)
    >>> part = random_subset(silence, 0.05, seed=1)
    >>> len(part), part.read(0)[0].shape
    (2, (800,))
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"random_subset: fraction must lie above 0 and at most 1, received {fraction}")
    if len(store) == 0:
        raise ValueError("random_subset: the store holds no mixtures")
    count = max(1, round(fraction * len(store)))
    if count == len(store):
        return store
    return Subset(store, np.sort(np.random.default_rng(seed).choice(len(store), count, replace=False)))
