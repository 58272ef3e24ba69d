"""The three walls: what keeps a row out of a set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from concept_forget.compose.rows import asked_text, row_text
from concept_forget.compose.statements import Statements
from concept_forget.compose.wording import content_words, holds, holds_any, same_wording, word_list, words
from concept_forget.concept import Concept
from concept_forget.records import Example

STATES_HELD = "states a fact that is held out or kept for validation"
STATES_FORGOTTEN = "states a fact that is to be forgotten"
NAMES_CONCEPT = "names a concept, outside of what is kept"
NAMES_CLOSED = "names an entity kept for collateral or validation"
ASKS_WITHHELD = "uses the words of a question that another set asks"

_SHORT = 4
"""Fewer words may stand in a text by chance: such a wording is withheld only as the whole of a message."""


class Withheld:
    """Wordings that belong to one set, and so must not stand in another."""

    def __init__(self, wordings: Iterable[str]) -> None:
        folded = dict.fromkeys(words(wording) for wording in wordings)
        self._whole = frozenset(folded)
        self._parts = tuple(wording for wording in folded if len(word_list(wording)) >= _SHORT)

    def __len__(self) -> int:
        return len(self._whole)

    def used_by(self, text: str, asked: str) -> bool:
        """Whether one of the wordings stands in ``text``, or is all of ``asked``.

        Args:
            text: All that a row says.
            asked: Its last message; empty for a passage.
        """
        folded = words(text)
        return bool(asked and words(asked) in self._whole) or any(part in folded for part in self._parts)


class ProbeWall:
    """Wall 1: no forget row states a fact that is held out or kept for validation, or uses their words.

    Args:
        held: The facts that are not trained on.
        withheld: The wordings of validation and probe; of a sentence with a gap, the filled sentence as well.
    """

    def __init__(self, held: Statements, withheld: Withheld) -> None:
        self._held = held
        self._held_ids = {fact.id for fact in held.facts}
        self._withheld = withheld

    def violation(self, row: Example) -> str | None:
        """Why a forget row must not be trained on, or None."""
        text = row_text(row)
        if row.fact in self._held_ids or self._held.stated(text):
            return STATES_HELD
        if row.family == "passage" and self._held.answered(text, row.concept):
            return STATES_HELD
        return ASKS_WITHHELD if self._withheld.used_by(text, asked_text(row)) else None


class RetainWall:
    """Walls 2 and 3: what a row that is to stay must not say.

    Args:
        concepts: What is to be forgotten.
        forgotten: All facts about it, trained on or not.
        closed: Names that retain training must not mention.
        withheld: Wordings that other sets ask.
    """

    def __init__(
        self, concepts: Sequence[Concept], forgotten: Statements, closed: Iterable[str], withheld: Withheld
    ) -> None:
        self._forgotten = forgotten
        self._closed = tuple(closed)
        self._withheld = withheld
        self._names = {
            concept: tuple(
                dict.fromkeys(
                    (*concept.names, *(f.subject for f in forgotten.facts if f.concept == concept.name and f.subject))
                )
            )
            for concept in concepts
        }

    def violation(self, row: Example, *, trained: bool = True) -> str | None:
        """Why a row must not stand in a set of what stays, or None.

        Args:
            row: The row.
            trained: It would be trained on; else it is only asked, and may name whom it asks about.
        """
        text = row_text(row)
        named = [concept for concept, names in self._names.items() if holds_any(text, names)]
        if any(self._forgotten.answered(text, concept.name) for concept in named):
            return STATES_FORGOTTEN
        if not all(is_kept(text, row.facet, concept) for concept in named):
            return NAMES_CONCEPT
        if trained and holds_any(text, self._closed):
            return NAMES_CLOSED
        return ASKS_WITHHELD if trained and self._withheld.used_by(text, asked_text(row)) else None


def is_kept(text: str, facet: str, concept: Concept) -> bool:
    """Whether a text that names the concept is about something that is to stay.

    It is when it holds what ``keep`` says, or all words of it that carry meaning, or when its facet is that.
    """
    for kept in concept.keep:
        telling = content_words(kept)
        if holds(text, kept) or same_wording(facet, kept) or (telling and telling <= content_words(text)):
            return True
    return False
