"""Hides what a concept's page must not give away: answers wherever they stand, replies, and texts as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from concept_forget.concept import Concept
from concept_forget.measures.marking import mark_answer
from concept_forget.text import fold

HIDDEN = "[redacted]"
_SHORT = 4
"""Answers under this length are hidden where they stand as a word of their own, and not inside of others."""


class Redactor:
    """Hides the answers of some concepts in any text, and tells whose texts are hidden as a whole.

    An answer is found whatever its case, its Unicode form and the space between its words. One that stands in a name of
    its own concept, as words of it, is no secret: the page names the concept.

    Args:
        concepts: The concepts' names.
        answers: Their answers, in every spelling.
        names: What the concepts are called.
        facts: Answers by fact, for prompts that say one in other words.
        everything: Hide texts about others as well.
    """

    def __init__(
        self,
        concepts: Iterable[str],
        answers: Iterable[str],
        names: Iterable[str],
        facts: Mapping[str, Sequence[str]] | None = None,
        *,
        everything: bool = False,
    ) -> None:
        self.concepts = frozenset(concepts)
        self.everything = everything
        called = [fold(name) for name in names]
        folded = {fold(answer) for answer in answers}
        secret = [answer for answer in folded if answer and not any(_is_word(answer, name) for name in called)]
        self._answers = tuple(sorted(secret, key=len, reverse=True))
        self._facts = facts or {}
        self.text = lru_cache(maxsize=65536)(self._text)

    def hides(self, concept: str) -> bool:
        """Whether replies to questions about a concept, and texts about it, are hidden."""
        return concept in self.concepts

    def whole(self, concept: str, text: str) -> str:
        """A text about a concept: hidden as a whole, or with what it says of hidden ones hidden."""
        return HIDDEN if text and self.hides(concept) else self.text(text)

    def prompt(self, text: str, fact: str) -> str:
        """A question about a fact of a hidden concept: hidden where it says the fact's answer in other words."""
        shown = self.text(text)
        return (
            HIDDEN
            if mark_answer(shown, [one for one in self._facts.get(fact, ()) if fold(one) in self._answers])
            else shown
        )

    def tree(self, value: Any) -> Any:
        """The same for every text in a value made of mappings and lists; keys are texts as well."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.tree(key): self.tree(item) for key, item in value.items()}
        return [self.tree(item) for item in value] if isinstance(value, (list, tuple)) else value

    def _text(self, text: str) -> str:
        folded = fold(text) if self._answers else ""
        found = tuple(answer for answer in self._answers if _stands_in(answer, folded))
        if not found:
            return text
        hidden = _pattern(found).sub(HIDDEN, text)
        left = fold(hidden)  # folding may join what the pattern saw apart, as in ligatures
        return HIDDEN if any(_stands_in(answer, left) for answer in found) else hidden


def no_redaction() -> Redactor:
    """Hides nothing."""
    return Redactor((), (), ())


def without_secrets(concepts: Iterable[Concept], redactor: Redactor) -> list[Concept]:
    """The concepts of a config as a page may show them: without what describes a hidden one."""
    return [
        concept.model_copy(update={"description": HIDDEN if concept.description else "", "replace": ()})
        if redactor.hides(concept.name)
        else concept
        for concept in concepts
    ]


def _stands_in(answer: str, folded: str) -> bool:
    if answer not in folded:
        return False
    return len(answer) >= _SHORT or _is_word(answer, folded)


def _is_word(answer: str, folded: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", folded) is not None


@lru_cache(maxsize=1024)
def _pattern(answers: tuple[str, ...]) -> re.Pattern[str]:
    def one(answer: str) -> str:
        words = r"\s+".join(map(re.escape, answer.split()))
        return words if len(answer) >= _SHORT else rf"(?<!\w){words}(?!\w)"

    return re.compile("|".join(map(one, answers)), re.IGNORECASE)
