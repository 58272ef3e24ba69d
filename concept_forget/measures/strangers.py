"""Names of strangers: of the same shape as known names, and borne by nobody who is known."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from concept_forget.concept import normalise_text


def invent_name(names: Sequence[str], rng: Random) -> str:
    """The first parts of one name and the last part of another; of single words, their letters in a new order.

    Args:
        names: Names that are known; the invented one is none of them.
        rng: Draws the parts.
    """
    known = {normalise_text(name) for name in names}
    parts = [name.split() for name in sorted(known) if len(name.split()) > 1]
    for _ in range(100):
        if len(parts) < 2:
            break
        first, second = rng.sample(parts, 2)
        made = " ".join([*first[:-1], second[-1]])
        if made not in known:
            return made
    letters = list(rng.choice(sorted(known)).casefold()) if known else list("stranger")
    for _ in range(100):
        rng.shuffle(letters)
        made = "".join(letters).strip().capitalize()
        if made and made not in known:
            return made
    return "Nobody " + rng.choice(sorted(known) or ["Known"])
