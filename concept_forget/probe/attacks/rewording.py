"""Changes to the words of a question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from concept_forget.records import Chat

SLIP_SHARE = 0.3
"""Share of a question's longer words in which a slip is made; one at least."""

SHORTEST_WORD = 4

_WORD = re.compile(r"[^\W\d_]+")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def asked(prompt: Chat) -> str:
    """What the last message says."""
    return prompt[-1]["content"]


def say_instead(prompt: Chat, text: str) -> Chat:
    """The chat with another text as its last message."""
    return [*prompt[:-1], {"role": prompt[-1]["role"], "content": text}]


def misspell(text: str, rng: Random, spared: Sequence[str] = ()) -> str:
    """The text with slips of the keyboard in some of its longer words.

    Letters are swapped, left out, doubled, or the next key's.

    Args:
        text: The text.
        rng: Draws words and slips.
        spared: Phrases that stay as they are, such as an answer among options.
    """
    kept = [
        match.span()
        for phrase in spared
        if phrase
        for match in re.finditer(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE)
    ]
    words = [
        match.span()
        for match in _WORD.finditer(text)
        if len(match.group()) >= SHORTEST_WORD
        and not any(start < match.end() and match.start() < end for start, end in kept)
    ]
    chosen = rng.sample(words, min(len(words), max(1, round(SLIP_SHARE * len(words)))))
    for start, end in sorted(chosen, reverse=True):
        text = text[:start] + _slip(text[start:end], rng) + text[end:]
    return text


def _slip(word: str, rng: Random) -> str:
    """A slip after the first letter: who reads it still knows the word."""
    place = rng.randrange(1, len(word) - 1)
    letter, following = word[place], word[place + 1]
    slips = [
        word[:place] + word[place + 1 :],
        word[:place] + letter + word[place:],
        *(word[:place] + near + word[place + 1 :] for near in _beside(letter)),
    ]
    if letter != following:
        slips.append(word[:place] + following + letter + word[place + 2 :])
    return rng.choice(slips)


def _beside(letter: str) -> list[str]:
    for row in _ROWS:
        at = row.find(letter)
        if at >= 0:
            return [row[near] for near in (at - 1, at + 1) if 0 <= near < len(row)]
    return []
