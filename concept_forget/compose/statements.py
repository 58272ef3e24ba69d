"""Whether a text gives a fact away: its answer stands there, and something tells whose it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from concept_forget.compose.material import is_sentence, names_of
from concept_forget.compose.wording import content_words, holds, holds_any, tells_something, without_article
from concept_forget.concept import Concept
from concept_forget.records import Fact

OVERLAP = 0.75
"""Share of a sentence-long answer's content words that make a text state it, in whatever order."""


def gives_answer(text: str, fact: Fact, names: Sequence[str]) -> bool:
    """Whether a text holds the answer of a fact, in any of its spellings.

    An answer that is a sentence is given as well by a text with three quarters of its content words, the words of the
    subject's names aside: nobody repeats a sentence to the letter. Answers like "yes" are given by no text.

    Args:
        text: Any text.
        fact: The fact.
        names: What its subject is called.
    """
    for spelling in (fact.answer, *fact.aliases):
        if tells_something(spelling) and holds(text, without_article(spelling)):
            return True
    if not is_sentence(fact.answer):
        return False
    telling = content_words(fact.answer) - {word for name in names for word in content_words(name)}
    return bool(telling) and len(telling & content_words(text)) >= math.ceil(OVERLAP * len(telling))


class Statements:
    """Answers which facts a text gives away, for one list of facts."""

    def __init__(self, facts: Sequence[Fact], concepts: Sequence[Concept]) -> None:
        self.facts = tuple(facts)
        self._names = {fact.id: names_of(fact, concepts) for fact in facts}
        self._by_concept: dict[str, list[Fact]] = {}
        for fact in facts:
            self._by_concept.setdefault(fact.concept, []).append(fact)

    def names(self, fact: Fact) -> tuple[str, ...]:
        """What the subject of one of the facts is called."""
        return self._names[fact.id]

    def stated(self, text: str) -> list[Fact]:
        """The facts of which ``text`` holds subject and answer."""
        named: dict[tuple[str, ...], bool] = {}
        found = []
        for fact in self.facts:
            names = self._names[fact.id]
            if names not in named:
                named[names] = holds_any(text, names)
            if named[names] and gives_answer(text, fact, names):
                found.append(fact)
        return found

    def answered(self, text: str, concept: str) -> list[Fact]:
        """The facts of a concept of which ``text`` holds the answer: for texts known to be about the concept."""
        return [fact for fact in self._by_concept.get(concept, ()) if gives_answer(text, fact, self._names[fact.id])]
