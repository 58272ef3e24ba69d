"""Wrong answers of the right type: options beside the right one, and counterfactuals."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from concept_forget.compose.wording import holds, words
from concept_forget.records import Fact, named_random

OPTIONS = 4


class Alternatives:
    """Other answers to the same facet, among all facts that are known.

    Args:
        own: The concepts' facts.
        others: Facts of everything else.
        seed: The run's seed.
    """

    def __init__(self, own: Sequence[Fact], others: Sequence[Fact], seed: int) -> None:
        self._seed = seed
        self._own = _by_facet(own)
        self._others = _by_facet(others)
        self._true: dict[str, list[str]] = {}
        self._subjects: dict[str, list[str]] = {}
        for fact in (*own, *others):
            self._true.setdefault(words(fact.subject), []).extend((fact.answer, *fact.aliases))
            if fact.kind and fact.subject:
                self._subjects.setdefault(words(fact.kind), []).append(fact.subject)

    def options(self, fact: Fact) -> tuple[str, ...]:
        """The answer and three wrong ones, in an order of their own; nothing where there are no three.

        The wrong ones come from the other concepts first: what is known to be somebody else's can be ruled out by a
        model that knows it, and a model that never saw the concepts should have to guess. The answer that is to take
        the right one's place, where there is one, is always among them.
        """
        rng = named_random(self._seed, "compose", "options", fact.id)
        options = [fact.answer, *([fact.replacement] if self.is_wrong(fact, fact.replacement) else ())]
        for answer in self._wrong(fact, rng, own_first=True):
            if len(options) < OPTIONS and not any(holds(answer, known) or holds(known, answer) for known in options):
                options.append(answer)
        if len(options) < OPTIONS:
            return ()
        rng.shuffle(options)
        return tuple(options)

    def counterfactual(self, fact: Fact) -> str:
        """Another answer to the same facet, rather one that need not be forgotten; empty where there is none."""
        rng = named_random(self._seed, "compose", "counterfactual", fact.id)
        return next(iter(self._wrong(fact, rng, own_first=False)), "")

    def other_subject(self, fact: Fact) -> str:
        """Another subject of the same kind, for a question that asks back; empty where there is none."""
        subjects = _distinct(self._subjects.get(words(fact.kind), ())) if fact.kind else []
        others = [name for name in subjects if not holds(name, fact.subject) and not holds(fact.subject, name)]
        return named_random(self._seed, "compose", "subject", fact.id).choice(others) if others else ""

    def is_wrong(self, fact: Fact, answer: str) -> bool:
        """Whether an answer says something, and nothing that is true of the subject in any facet."""
        true = [fact.answer, *fact.aliases, *self._true.get(words(fact.subject), ())]
        return words(answer) != " " and not any(holds(answer, right) or holds(right, answer) for right in true)

    def _wrong(self, fact: Fact, rng: random.Random, *, own_first: bool) -> list[str]:
        """Distinct answers of the facet, group by group shuffled, except what is true of the subject in any facet."""
        if not words(fact.facet).strip():
            return []
        own = self._own.get(words(fact.facet), [])
        others = self._others.get(words(fact.facet), [])
        alike = [other for other in others if words(other.kind) == words(fact.kind)]
        groups = [own, alike, others] if own_first else [alike, others, own]
        found: list[str] = []
        for group in groups:
            answers = sorted(_distinct(other.answer for other in group))
            rng.shuffle(answers)
            found += answers
        return [answer for answer in _distinct(found) if self.is_wrong(fact, answer)]


def _by_facet(facts: Sequence[Fact]) -> dict[str, list[Fact]]:
    grouped: dict[str, list[Fact]] = {}
    for fact in facts:
        grouped.setdefault(words(fact.facet), []).append(fact)
    return grouped


def _distinct(texts: Iterable[str]) -> list[str]:
    """The texts that differ in their words, in order, the first of each."""
    first: dict[str, str] = {}
    for text in texts:
        if words(text) != " ":
            first.setdefault(words(text), text)
    return list(first.values())
