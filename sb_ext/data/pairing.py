"""Which utterances, and which noise, meet in a mixture."""

MISSES = 200
"""After so many draws in a row that met one speaker twice, what is left of a round stays unused."""
ROUNDS_WITHOUT_NEW = 20
"""After so many rounds without a new set of utterances there are taken to be no more."""


def draw_sets(speakers, num_speakers, count, rng):
    """Draw sets of utterances of different speakers, no set twice.

    Within one round each utterance is used at most once.

    Arguments
    ---------
    speakers : list of str
        The speaker of each utterance.
    num_speakers : int
        Utterances a set.
    count : int or None
        Sets to draw, in as many rounds as that takes; None for one round.
    rng : random.Random
        Where the choices come from.

    Returns
    -------
    sets : list of list of int
        Positions in `speakers`; fewer than `count` where no more can be found.

    Example
    -------
    >>> import random
    >>> sets = draw_sets(["a", "a", "b", "b"], 2, None, random.Random(0))
    >>> len(sets), sorted(sum(sets, []))
    (2, [0, 1, 2, 3])
    >>> len(draw_sets(["a", "a", "b", "b"], 2, 100, random.Random(0)))
    4
    """
    sets, known, idle = [], set(), 0
    while count is None or (len(sets) < count and idle < ROUNDS_WITHOUT_NEW):
        new = [chosen for chosen in _one_round(speakers, num_speakers, rng) if frozenset(chosen) not in known]
        known.update(map(frozenset, new))
        sets += new
        idle = 0 if new else idle + 1
        if count is None:
            break
    return sets[:count]


def _one_round(speakers, num_speakers, rng):
    left, sets, misses = list(range(len(speakers))), [], 0
    while len(left) >= num_speakers and misses < MISSES:
        places = rng.sample(range(len(left)), num_speakers)
        chosen = [left[place] for place in places]
        if len({speakers[index] for index in chosen}) < num_speakers:
            misses += 1
            continue
        misses = 0
        sets.append(chosen)
        for place in sorted(places, reverse=True):
            # Filling the gap with the last one keeps removal cheap for a hundred thousand utterances.
            left[place] = left[-1]
            left.pop()
    return sets


def draw_noises(needed, lengths, rng):
    """Draw a noise for each mixture: long enough where there is one, none twice before all were used.

    Arguments
    ---------
    needed : list of int
        Length of each mixture, in samples.
    lengths : list of int
        Length of each noise, in samples.
    rng : random.Random
        Where the choices come from.

    Returns
    -------
    noises : list of int
        Positions in `lengths`; the longest noise's where none is long enough.

    Example
    -------
    >>> import random
    >>> draw_noises([50, 200, 999], [100, 300], random.Random(0))
    [0, 1, 1]
    """
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    left, chosen = [], []
    for length in needed:
        if lengths[longest] < length:
            chosen.append(longest)
            continue
        place = _last_of_length(left, lengths, length)
        while place is None:
            left = rng.sample(range(len(lengths)), len(lengths)) + left
            place = _last_of_length(left, lengths, length)
        chosen.append(left.pop(place))
    return chosen


def _last_of_length(left, lengths, length):
    return next((place for place in reversed(range(len(left))) if lengths[left[place]] >= length), None)
