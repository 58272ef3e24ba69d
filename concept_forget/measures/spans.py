"""The verbatim span: how much of a text a reply recites word for word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from concept_forget.measures.reading import read


@dataclass(frozen=True, slots=True)
class VerbatimSpan:
    """The longest run of a text's words that a reply holds: ``words`` of the text's ``of``."""

    words: int
    of: int

    @property
    def share(self) -> float:
        """The run over the text's words, in [0, 1]."""
        return self.words / max(self.of, 1)


def verbatim_span(reply: str, reference: str) -> VerbatimSpan:
    """The longest run of the reference's words that stands in the reply, whatever the marks between them.

    Words compare without case, diacritics and notation of numbers.

    Source: Carlini et al. 2023, "Quantifying memorization", §3; Karamolegkou et al. 2023, §3, for words.

    Raises:
        ValueError: The reference holds no word.
    """
    if not any(letter.isalnum() for letter in reference):
        raise ValueError(f"the reference {reference!r} holds no word to recite")
    wanted, said = _plain_words(reference), _plain_words(reply)
    return VerbatimSpan(longest_run(wanted, said), len(wanted))


def longest_run(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest run of items that both hold."""
    return SequenceMatcher(None, first, second, autojunk=False).find_longest_match().size


def _plain_words(text: str) -> list[str]:
    return [token.norm for token in read(text).tokens if token.is_word]
