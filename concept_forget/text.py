"""How two spellings are compared: white space and case folded, words found whole. The standard library alone."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

_UNSEEN = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
)
_JOINERS = r"\u034f\u115f\u1160\u180e\u200d\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e007f\U000e0100-\U000e01ef"
_NON_JOINER = (
    r"(?<![\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff])\u200c"  # between Arabic letters it parts a word from its ending
)
_UNSEEN_OR_JOINER = re.compile(f"[{_JOINERS}]|{_NON_JOINER}|{_UNSEEN.pattern}")


def counted(number: int, noun: str) -> str:
    """A number with what it counts, in the singular where it is one: ``1 fact``, ``2 facts``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def normalise_text(text: str) -> str:
    """NFC, with runs of white space folded to one space and the ends stripped."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def normalise_name(name: str) -> str:
    """A name in one form: NFC, white space folded, and without characters that show nothing and tell nothing apart.

    Those are controls, marks that turn the direction of writing, soft hyphens, and spaces and joiners of no width, as
    they come along when a name is copied. The joiners of zero width that scripts and emoji need (U+200C, U+200D) stay.
    """
    return normalise_text(_UNSEEN.sub("", unicodedata.normalize("NFC", name)))


def is_visible(name: str) -> bool:
    """Whether a text holds a letter, a digit, a mark of punctuation or a symbol."""
    return any(unicodedata.category(character)[0] in "LNPS" for character in drop_unseen(name))


def drop_unseen(text: str) -> str:
    """A text without what shows nothing: for comparing, where joiners and variants of a letter tell nothing apart.

    A reply with a space of no width inside an answer says that answer to whoever reads it.
    """
    return _UNSEEN_OR_JOINER.sub("", text)


def spelled_apart(phrase: str) -> str:
    """A pattern of a phrase that also finds it with characters that show nothing between its own."""
    return f"(?:{_UNSEEN_OR_JOINER.pattern})*".join(map(re.escape, phrase))


def fold(text: str) -> str:
    """The form in which two spellings are compared: NFKC, case and white space folded, without what shows nothing."""
    return " ".join(unicodedata.normalize("NFKC", drop_unseen(text)).casefold().split())


def contains_words(folded_text: str, folded_phrase: str) -> bool:
    """Whether an already folded phrase stands in an already folded text between word boundaries."""
    if not folded_phrase:
        return False
    return re.search(rf"(?<!\w){re.escape(folded_phrase)}(?!\w)", folded_text) is not None


def replace_words(text: str, phrase: str, other: str) -> tuple[str, int]:
    """The text with something else wherever a phrase stands as whole words, whatever its case, and how often it did."""
    return re.subn(rf"(?<!\w){re.escape(phrase)}(?!\w)", lambda _: other, text, flags=re.IGNORECASE)


def replace_each(text: str, others: Mapping[str, str]) -> str:
    """The text with something else for each of several phrases: the longest first, and none in what was put there."""
    phrases = sorted(filter(None, others), key=lambda phrase: (-len(phrase), phrase))
    if not phrases:
        return text

    def other(found: re.Match[str]) -> str:
        assert found.lastindex is not None
        return others[phrases[found.lastindex - 1]]

    either = "|".join(f"({re.escape(phrase)})" for phrase in phrases)
    return re.sub(rf"(?<!\w)(?:{either})(?!\w)", other, text, flags=re.IGNORECASE)
