"""An expected answer taken apart: what carries it, what the question gave away, and what shape it has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from concept_forget.measures.dates import Day
from concept_forget.measures.reading import Reading, read
from concept_forget.measures.words import HONORIFICS, UNITS, Token, plural_key, same_word

Shape = Literal["date", "time", "number", "name", "words"]

_PERSON = re.compile(
    r"\b(who|whom|whose|person|man|woman|author|writer|poet|painter|singer|actor|actress|scientist|name)\b", re.I
)
_FOREIGN_ARTICLES = frozenset("la le les el los las il lo der das al".split())
ROMAN_SINGLES = {"I": ("#1", "1th"), "V": ("#5", "5th"), "X": ("#10", "10th")}


@dataclass(frozen=True, slots=True)
class Answer:
    """An expected answer in one wording, taken apart.

    ``content`` are the words that carry it; ``needed`` those among them that the question did not give away;
    ``initials`` the letters of given names that the answer itself only abbreviates.
    """

    shape: Shape
    words: tuple[Token, ...]
    content: tuple[Token, ...]
    needed: tuple[Token, ...]
    initials: str = ""
    is_person: bool = False
    days: frozenset[Day] = frozenset()
    minutes: frozenset[int] = frozenset()
    units: frozenset[str] = frozenset()  # of a number, from the answer or the question
    parts: int = 1  # how many things a list ("red and blue") names


def read_answer(text: str, question: Reading, extra_known: Sequence[Token] = ()) -> Answer:
    """Take an expected answer apart.

    Args:
        text: The answer.
        question: The question; words it holds are no news when the reply repeats them.
        extra_known: Further words that are no news, such as the subject's name.
    """
    reading = read(text)
    words = tuple(token for token in reading.tokens if token.is_word)
    content = tuple(_mark_roman(words, index) for index, token in enumerate(words) if _carries(words, index))
    content = content or words
    is_person = _PERSON.search(" ".join(token.norm for token in question.tokens)) is not None
    initials = ""
    if is_person and len(content) > 1:
        letters = [token for token in content[:-1] if _is_initials(token)]
        initials = "".join(token.norm for token in letters)
        content = tuple(token for token in content if token not in letters)
    known = [token for token in (*question.tokens, *extra_known) if token.is_word]
    needed = tuple(token for token in content if not any(same_word(token, word) for word in known))
    shape, days, minutes = _shape(reading, content)
    units = find_units(content) or find_units(known)
    if not units and any(token.norm in ("old", "age", "aged") for token in known):
        units = frozenset({"year"})
    joints = sum(token.norm in ("and", ",") for token in reading.tokens)
    return Answer(
        shape=shape,
        words=words,
        content=content,
        needed=needed,
        initials=initials,
        is_person=is_person,
        days=days,
        minutes=minutes,
        units=units,
        parts=joints + 1 if shape in ("name", "words") else 1,
    )


def _unit(token: Token) -> str | None:
    for key in (*sorted(token.keys), plural_key(token)):
        if key in UNITS:
            return key
    return None


def find_units(tokens: Sequence[Token]) -> frozenset[str]:
    """The units of measure among some tokens, in the singular and unabbreviated."""
    return frozenset(unit for token in tokens if token.value is None and (unit := _unit(token)) is not None)


def _carries(words: Sequence[Token], index: int) -> bool:
    token = words[index]
    if index > 0 and token.text in ROMAN_SINGLES:
        return True
    is_title = token.norm in HONORIFICS and len(words) > 1 and index < len(words) - 1
    is_article = index == 0 and len(words) > 1 and token.norm in _FOREIGN_ARTICLES
    return not (token.is_stop or is_title or is_article)


def _mark_roman(words: Sequence[Token], index: int) -> Token:
    """A "V" behind a name is a number too."""
    token = words[index]
    if index == 0 or token.text not in ROMAN_SINGLES:
        return token
    return Token(token.text, token.start, token.end, token.norm, token.keys | frozenset(ROMAN_SINGLES[token.text]))


def _is_initials(token: Token) -> bool:
    return "." in token.text or (len(token.norm) == 1 and token.is_capital)


def _shape(reading: Reading, content: Sequence[Token]) -> tuple[Shape, frozenset[Day], frozenset[int]]:
    places = [index for index, token in enumerate(reading.tokens) if token in content]
    for date in reading.dates:
        if all(date.start <= place < date.end for place in places):
            return "date", date.readings, frozenset()
    for time in reading.times:
        is_decimal = time.end - time.start == 1  # "12.50" is a price before it is a time
        if not is_decimal and all(time.start <= place < time.end for place in places):
            return "time", frozenset(), time.minutes
    numbers = [token for token in content if token.value is not None]
    others = [token for token in content if token.value is None]
    if len(numbers) == 1 and len(others) <= 2 and not any(token.is_capital for token in others if _unit(token) is None):
        return "number", frozenset(), frozenset()
    return ("name" if any(token.is_capital for token in content) else "words"), frozenset(), frozenset()
