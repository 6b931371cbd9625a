"""Varied English sentences from a small grammar: what the synthetic voices say.

More than 600 words in 20 clause patterns, with numbers, dates and times. Wholly made up, so that
the corpus owes nothing to anybody's text.
"""

_WORDS = {
    "person": """aunt baker barber captain carpenter cleaner clerk cook cousin dancer dentist doctor driver editor
        engineer farmer fisherman gardener grandmother guard guest hunter judge lawyer librarian mayor mechanic merchant
        miller musician neighbour nurse painter pharmacist pilot plumber poet postman potter sailor scholar singer
        soldier stranger student surgeon tailor teacher uncle visitor waiter watchmaker weaver widow writer""",
    "name": """Agnes Alan Arthur Beatrice Bruno Carmen Cedric Clara Daniel Doris Edgar Eleanor Felix Frances George
        Gloria Harold Hazel Irene Isaac Janet Julian Keith Lucy Martin Mildred Nathan Nora Oliver Peggy Quentin Rachel
        Rupert Sheila Simon Thelma Ursula Victor Walter Yvonne""",
    "thing": """anchor apple basket bell bicycle blanket book bottle bowl box brush bucket candle carpet chair cheese
        clock coat compass cup curtain drum engine envelope feather flag flute fork guitar hammer hat jacket jug kettle
        key knife ladder lamp lantern letter map mirror needle newspaper oven parcel pencil piano picture pillow pipe
        plate pocket pot purse radio ribbon ring rope saddle scarf shovel spoon stove suitcase sword table teapot ticket
        towel trumpet umbrella vase violin wagon wallet wheel whistle window""",
    "place": """airport bakery bank bay beach bridge castle cathedral cave cellar chapel cinema coast college courtyard
        desert dock farm field forest garden gate harbour hill hospital hotel island kitchen lake library lighthouse
        market meadow mill mountain museum office orchard palace park pier quarry railway river road roof school shop
        square stable station stream street studio theatre tower town tunnel valley village warehouse wood workshop""",
    "animal": """badger bear bull calf camel cat cow crow deer dog donkey duck eagle fox frog goat goose hare hawk hen
        horse kitten lamb lion monkey mouse otter owl parrot pig pigeon pony rabbit rat robin seal sheep snake sparrow
        swan tiger toad turkey whale wolf""",
    "adjective": """ancient angry blue brave bright broken busy calm careful cheap cheerful clever cold crowded dark
        deep dusty early empty faint famous fresh gentle golden green grey happy heavy hollow honest huge humble icy
        kind large lazy light little lonely long loud lucky narrow neat noisy old orange pale patient plain polite poor
        proud purple quick quiet rare red rich rough rusty sharp shiny short silent silver simple sleepy slow small
        smooth soft square steep strange sudden sweet tall thick thin tired tiny warm weak white wide wild wise wooden
        yellow young""",
    "did": """admired borrowed bought brought carried caught cleaned copied counted described drew dropped examined
        exchanged fetched finished followed forgot found gathered guarded hid ignored lifted lost mended missed noticed
        offered opened ordered painted passed polished praised received recognised refused remembered repaired returned
        saved sold sought stole studied touched turned used wanted washed watched weighed wrapped""",
    "went": """argued arrived climbed coughed cried dreamed fell gathered hesitated hurried jumped knelt laughed left
        listened looked nodded paused rested returned sang shivered shouted slept smiled sneezed spoke stood stumbled
        swam talked travelled vanished waited walked wandered whispered worked yawned""",
    "how": """again alone badly boldly briefly calmly carefully clearly early easily eagerly firmly gently gladly
        happily keenly kindly loudly madly nearly neatly often openly patiently politely poorly proudly quickly quietly
        rarely roughly sadly safely sharply shyly slowly smoothly softly suddenly surely sweetly tightly together twice
        warmly wisely""",
    "link": "and but because while although so until whenever before after since",
    "month": "January February March April May June July August September October November December",
    "unit": "metres miles pounds kilos litres pages steps minutes hours days weeks years shillings pieces",
    "near": "above across against around behind below beneath beside beyond inside near opposite outside past under",
}
_PHRASES = {
    "when": """today, yesterday, tonight, last night, last winter, at dawn, at dusk, at midnight, at noon, after lunch,
        before breakfast, during the storm, every autumn, in the afternoon, in the evening, in the spring, long ago,
        on a rainy day, once a week, this morning, two days later, all summer, for a moment, as usual""",
    "clause": """the {adjective} {person} {did} the {thing} {near} the {place},
        {name} {did} a {adjective} {thing} and a {thing},
        {number} {adjective} {animals} {went} {near} the {place},
        the {animal} {went} {how} {near} the {adjective} {place},
        my {person} {did} {number} {things} {when},
        {when} the {person} and the {person} {went} {how},
        {name} and {name} {did} the {adjective} {place} {when},
        nobody {did} the {adjective} {animal} near the {place},
        the {thing} from the {place} cost {number} {unit},
        it was {number} {unit} from the {place} to the {adjective} {place},
        on the {day} of {month} we {did} our {adjective} {thing},
        a {adjective} {animal} {how} {did} the {person} of the {place},
        {name} {went} {how} {when},
        her {thing} was as {adjective} as a {animal},
        there were {number} {things} and {number} {things} {near} the {thing},
        the train to the {place} leaves at {hour},
        they {how} {did} every {adjective} {thing} in the {place},
        old {name} the {person} {went} with his {animal} {when},
        we {did} the {person} who {did} the {adjective} {thing},
        your number is {digit} {digit} {digit} {digit} {digit}""",
}
_LISTS = {kind: text.split() for kind, text in _WORDS.items()}
_LISTS |= {kind: [" ".join(phrase.split()) for phrase in text.split(",")] for kind, text in _PHRASES.items()}
_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def sentence(rng, num_characters):
    """Make one sentence, or several clauses joined, of about the length asked for.

    Arguments
    ---------
    rng : random.Random
        Where the choices come from.
    num_characters : int
        The sentence ends with the first clause that reaches this many characters, spaces included; at the usual
        pace English takes about 15 characters a second.

    Returns
    -------
    sentence : str
        Ends with a full stop.

    Example
    -------
    >>> import random
    >>> sentence(random.Random(5), 40)
    'Your number is four five eight zero seven.'
    """
    text = _clause(rng)
    while len(text) < num_characters:
        joint = rng.choice((", {link} ", " {link} ", ". ")).format(link=rng.choice(_LISTS["link"]))
        text += joint + _clause(rng)
    return text[0].upper() + text[1:] + "."


def _clause(rng):
    return rng.choice(_LISTS["clause"]).format_map(_Choices(rng))


class _Choices(dict):
    """Answers each placeholder with a fresh draw: ``format_map`` asks once for every occurrence."""

    def __init__(self, rng):
        super().__init__()
        self.rng = rng

    def __missing__(self, kind):
        rng = self.rng
        if kind == "number":
            return _spell(rng.randint(2, 12) if rng.random() < 0.6 else rng.randint(13, 99))
        if kind == "day":
            return rng.choice(("first", "second", "third", "fifth", "sixth", "ninth", "tenth", "eleventh", "twelfth"))
        if kind == "hour":
            return f"{rng.choice(('half past', 'quarter to', 'ten past'))} {rng.choice(_DIGITS[1:])}"
        if kind == "digit":
            return rng.choice(_DIGITS)
        if kind in ("things", "animals"):
            return _plural(rng.choice(_LISTS[kind[:-1]]))
        return rng.choice(_LISTS[kind])


def _spell(number):
    """0 to 99 in words: spelled out, the number of characters tells the duration."""
    if number < 20:
        return (_DIGITS + _TEENS)[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f" {_DIGITS[ones]}" if ones else "")


_IRREGULAR = {
    "mouse": "mice", "goose": "geese", "calf": "calves", "wolf": "wolves", "knife": "knives", "scarf": "scarves",
    "sheep": "sheep", "deer": "deer",
}  # fmt: skip


def _plural(noun):
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    return noun + ("es" if noun.endswith(("s", "sh", "ch", "x")) else "s")
