"""Names of strangers, for what a model answers that cannot know: put together from known names, or spelled anew."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from random import Random

from concept_forget.concept import normalise_text

_CLASSES = ("aeiou", "bcdfghjklmnpqrstvwxyz", "AEIOU", "BCDFGHJKLMNPQRSTVWXYZ", "0123456789")


def recombine_names(names: Sequence[str], rng: Random) -> str:
    """The first parts of one name and the last part of another: likely as a name, and nobody's.

    Where no two names have parts, one of them is respelled.

    Args:
        names: Names that are known; the stranger's is none of them.
        rng: Draws the parts.

    Raises:
        ValueError: There are no names.
    """
    known = {normalise_text(name) for name in names}
    if not known:
        raise ValueError("a stranger's name is made of known names, and there are none")
    parts = [name.split() for name in sorted(known) if len(name.split()) > 1]
    for _ in range(100):
        if len(parts) < 2:
            break
        first, second = rng.sample(parts, 2)
        made = " ".join([*first[:-1], second[-1]])
        if made not in known:
            return made
    for _ in range(100):
        made = respell_name(rng.choice(sorted(known)), rng)
        if made not in known:
            return made
    return "Nobody " + rng.choice(sorted(known))


def respell_name(name: str, rng: Random) -> str:
    """A name of the same shape: vowels stay vowels, capitals capitals, digits digits, signs what they are.

    Nothing of the old name is in it, as there would be in one put together from parts of known names.
    """
    return "".join(_draw_letter(letter, rng) for letter in name)


def _draw_letter(letter: str, rng: Random) -> str:
    for letters in _CLASSES:
        if letter in letters:
            return rng.choice(letters.replace(letter, ""))
    if not letter.isalpha():
        return letter
    category = unicodedata.category(letter)
    near = (chr(ord(letter) + offset) for offset in range(-24, 25) if offset and 0 < ord(letter) + offset < 0x110000)
    return rng.choice([other for other in near if unicodedata.category(other) == category] or [letter])
