"""The three walls: what keeps a row out of a set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from concept_forget.compose.rows import asked_text, row_text
from concept_forget.compose.statements import Statements
from concept_forget.compose.wording import content_words, holds, holds_any, same_wording, word_list, words
from concept_forget.concept import Concept
from concept_forget.records import Example, Fact

STATES_HELD = "states a fact that is held out or kept for validation"
STATES_FORGOTTEN = "states a fact that is to be forgotten"
NAMES_CONCEPT = "names a concept, outside of what is kept"
STATES_KEPT_BACK = "states a fact of the kept scope that only collateral asks for"
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


class KeptScope:
    """Facts of the concepts themselves that are to stay: some are trained on, the others only asked for collateral.

    They all carry the concept's own name, so that facts, not names, are kept apart.

    Args:
        trained: The facts to train on.
        asked: The facts that only collateral asks for.
        texts: Ids of texts about facts that are to stay.
        concepts: What is to be forgotten.
    """

    def __init__(
        self, trained: Sequence[Fact], asked: Sequence[Fact], texts: Iterable[str], concepts: Sequence[Concept]
    ) -> None:
        self.trained = tuple(trained)
        self.asked = tuple(asked)
        self.statements = Statements([*trained, *asked], concepts)
        self._asked = Statements(asked, concepts)
        self._asked_ids = {fact.id for fact in asked}
        self._ids = {fact.id for fact in (*trained, *asked)} | set(texts)

    def holds(self, row: Example) -> bool:
        """Whether a row comes from such a fact or text."""
        return not self._ids.isdisjoint((row.fact, *row.parents))

    def covers(self, row: Example, concept: Concept) -> bool:
        """Whether a row may name a concept, since it is about what is to stay of it."""
        return row.concept == concept.name and self.holds(row)

    def gives_away(self, row: Example) -> bool:
        """Whether a row states a fact that only collateral asks for, in a text of the kept scope without its name."""
        text = row_text(row)
        about = self._asked.answered(text, row.concept) if row.family == "passage" and self.holds(row) else []
        return row.fact in self._asked_ids or bool(about or self._asked.stated(text))


class RetainWall:
    """Walls 2 and 3: what a row that is to stay must not say.

    Args:
        concepts: What is to be forgotten.
        forgotten: All facts about it, trained on or not.
        closed: Names that retain training must not mention.
        withheld: Wordings that other sets ask.
        scope: Facts of the concepts themselves that are to stay.
    """

    def __init__(
        self,
        concepts: Sequence[Concept],
        forgotten: Statements,
        closed: Iterable[str],
        withheld: Withheld,
        scope: KeptScope | None = None,
    ) -> None:
        self._scope = scope or KeptScope((), (), (), ())
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
        if not all(self._scope.covers(row, concept) or is_kept(text, row.facet, concept) for concept in named):
            return NAMES_CONCEPT
        if trained and self._scope.gives_away(row):
            return STATES_KEPT_BACK
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
