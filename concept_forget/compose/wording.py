"""How two texts are compared: word by word, whatever their case, punctuation and Unicode form."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from concept_forget.concept import fold

BREAK = " | "
"""Joins texts of one row so that no phrase reaches from one into the next: it counts as a word."""

# Scripts written without spaces are taken letter by letter, so that a name inside a sentence is found at all.
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+|[#%&@+$€£¥°^=<>~|]+")
_ARTICLES = frozenset(("a", "an", "the"))
# What an answer may consist of without telling anything: a text that holds "no" does not state the answer "No".
_UNTELLING = frozenset(("yes", "no", "true", "false", "none", "unknown", "not", *_ARTICLES))


@functools.lru_cache(maxsize=1 << 16)
def words(text: str) -> str:
    """The words of a text, folded, each between single spaces: ``" mira s ship "``; nothing but a space if none."""
    return f" {' '.join(_WORD.findall(fold(text)))} ".replace("  ", " ")


def word_list(text: str) -> list[str]:
    """The words of a text, folded."""
    return words(text).split()


def same_wording(first: str, second: str) -> bool:
    """Whether two texts are the same words."""
    return words(first) == words(second)


def holds(text: str, phrase: str) -> bool:
    """Whether the words of ``phrase`` stand in ``text`` in a row; a phrase without words stands nowhere."""
    wanted = words(phrase)
    return wanted != " " and wanted in words(text)


def holds_any(text: str, phrases: Iterable[str]) -> bool:
    """Whether one of the phrases stands in the text."""
    return any(holds(text, phrase) for phrase in phrases)


def without_article(phrase: str) -> str:
    """A phrase without an article at its head: ``The Amber Petrel`` is found in "his Amber Petrel" as well."""
    head, _, rest = phrase.strip().partition(" ")
    return rest.strip() if rest.strip() and head.casefold() in _ARTICLES else phrase


def tells_something(phrase: str) -> bool:
    """Whether a text that holds the phrase can be said to state it: not so for "No" or "the"."""
    found = word_list(phrase)
    return bool(found) and not _UNTELLING.issuperset(found)


@functools.lru_cache(maxsize=1 << 16)
def content_words(text: str) -> frozenset[str]:
    """The words of a text that carry its meaning: four letters and more, or with a digit or a symbol in them."""
    return frozenset(word for word in word_list(text) if len(word) >= 4 or not word.isalpha()) - {"|"}
