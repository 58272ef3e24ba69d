"""When two spellings are one word: British and American, typing slips, inflected verbs."""

from __future__ import annotations

import functools
import re

# British spellings on the left; both sides of every comparison pass through, so a wrong rewrite only ever merges.
_AMERICAN = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"(?<=\w{2})our(?=$|s$|ed|ing|ful|able|ite|less|er|ist|y)", "or"),
        (r"(?<=\w{3})is(?=e$|es$|ed$|er$|ers$|ing$|ation)", "iz"),
        (r"(?<=\w{3})ys(?=e$|es$|ed$|ing$)", "yz"),
        (r"(?<=\w{2})tre(?=$|s$)", "ter"),
        (r"(?<=\w{2})ogue(?=$|s$)", "og"),
        (r"(?<=\w)ence(?=$|s$)", "ense"),
        (r"ll(?=ed$|ing$|er$|ers$|ery$)", "l"),
        (r"ae|oe", "e"),
        (r"^grey", "gray"),
        (r"amme(?=$|s$)", "am"),
        (r"^alumini?um", "aluminum"),
        (r"^jewellery", "jewelry"),
    ]
]
_INTERCHANGEABLE = [frozenset(group) for group in ("aeiouy", "ckqs", "szc", "fvp", "uvwb", "dt", "mn", "gj", "ij")]
_IRREGULAR = {
    form: verb
    for verb, *forms in (
        line.split()
        for line in """write wrote written;win won;find found;teach taught;draw drew drawn;make made;go went gone;sing
        sang sung;run ran;build built;lead led;hold held;meet met;leave left;sell sold;buy bought;give gave given;take
        took taken;speak spoke spoken;choose chose chosen;become became;grow grew grown;fight fought;bear born;keep
        kept;begin began begun;know knew known;send sent;spend spent;steal stole stolen;bring brought;lose lost;die
        died death;say said;tell told;think thought;see saw seen;break broke broken;wear wore worn;fly flew
        flown;drive drove driven;ride rode ridden;eat ate eaten;shoot shot;sink sank sunk;stand stood;publish
        publication""".split(";")
    )
    for form in (verb, *forms)
}


@functools.lru_cache(maxsize=16384)
def americanise(word: str) -> str:
    """The word in American spelling, so that both spellings compare equal."""
    if len(word) < 4:
        return word
    for pattern, replacement in _AMERICAN:
        word = pattern.sub(replacement, word)
    return word


@functools.lru_cache(maxsize=16384)
def sound(word: str) -> str:
    """The word with one letter for each sound that English spells in two ways."""
    for spelling, letter in (("ph", "f"), ("ck", "k"), ("q", "k"), ("y", "i")):
        word = word.replace(spelling, letter)
    return re.sub(r"(.)\1", r"\1", word)


def is_slip(word: str, other: str) -> bool:
    """Whether two folded words of seven letters or more differ by one typing slip.

    One letter left out, added, swapped with its neighbour, or replaced by one that sounds or looks alike: a Damerau
    edit (Damerau 1964) of the kinds that slips are made of. "Ireland" is no slip of "Iceland", nor "Daniela" of
    "Daniel": an unlike consonant and a changed ending make another word.
    """
    if word == other or word[:1] != other[:1] or not (word.isalpha() and other.isalpha()):
        return False
    if min(len(word), len(other)) < 6 or max(len(word), len(other)) < 7:
        return False
    if sound(word) == sound(other):
        return True
    if len(word) == len(other):
        places = [i for i in range(len(word)) if word[i] != other[i]]
        if len(places) == 2 and places[1] == places[0] + 1:
            i, j = places
            return word[i] == other[j] and word[j] == other[i]
        if len(places) != 1:
            return False
        pair = frozenset((word[places[0]], other[places[0]]))
        if places[0] == len(word) - 1 and pair & set("aou") and pair != {"a", "e"}:
            return False
        return any(pair <= group for group in _INTERCHANGEABLE)
    longer, shorter = (word, other) if len(word) > len(other) else (other, word)
    if len(longer) != len(shorter) + 1:
        return False
    place = next((i for i in range(len(shorter)) if longer[i] != shorter[i]), len(shorter))
    if longer[place + 1 :] != shorter[place:]:
        return False
    if place == len(shorter):
        return longer[-1] in "eh" or longer[-1] == longer[-2]
    return True


def stem(word: str) -> str:
    """The verb behind an irregular form; any other word as it is."""
    return _IRREGULAR.get(word, word)


def same_stem(word: str, other: str) -> bool:
    """Whether two folded words share their first letters or their verb: "studied" and "study", "won" and "win"."""
    first, second = stem(word), stem(other)
    length = min(len(first), len(second))
    shared = next((i for i in range(length) if first[i] != second[i]), length)
    return first == second or (shared >= 4 and shared >= max(len(first), len(second)) - 4)
