"""The first division: which facts are trained on, which only validate, and which only the probe ever asks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Literal

from concept_forget.compose.statements import gives_answer
from concept_forget.compose.wording import words
from concept_forget.errors import StageError
from concept_forget.records import Fact, Question, named_random

Role = Literal["trained", "validation", "new_fact"]
Names = Callable[[Fact], Sequence[str]]


def count_roles(facts: int, holdout: float, validation: float) -> dict[Role, int]:
    """How many of so many facts fall to each role, as far as they can be divided.

    At least the holdout share is never trained on; with a holdout of 0 every fact is trained on. One fact at least is
    trained on.
    """
    if not holdout:
        return {"new_fact": 0, "validation": 0, "trained": facts}
    new_fact = min(math.ceil(_exact(holdout) * facts), max(facts - 1, 0))
    validated = min(_nearest(_exact(validation) * facts), max(facts - new_fact - 1, 0))
    return {"new_fact": new_fact, "validation": validated, "trained": facts - new_fact - validated}


def split_facts(
    facts: Sequence[Fact],
    questions: Mapping[str, Sequence[Question]],
    names: Names,
    *,
    holdout: float,
    validation: float,
    seed: int,
) -> dict[str, Role]:
    """Give every fact its role: in equal shares over the concepts and, within them, over the facets.

    Facts of one subject whose answers hold one another, or which are asked in the same words, go together: else to
    train on the one would be to train on the other. Facts that cannot be asked in every form are rather for validation
    than for the probe, up to half of its seats.

    Args:
        facts: The concepts' own facts.
        questions: Their questions, by fact.
        names: What a fact's subject is called.
        holdout: Share that is never trained on; 0: every fact is trained on.
        validation: Share that only validation asks.
        seed: The run's seed.

    Returns:
        Fact id → role.

    Raises:
        StageError: The facts are too few for the holdout share.
    """
    if not holdout:
        return {fact.id: "trained" for fact in facts}
    units = [unit for concept in _concepts(facts) for unit in _units(concept, questions, names)]
    named_random(seed, "compose", "split").shuffle(units)
    wanted = count_roles(len(facts), holdout, validation)
    division = _Division(units, _seats(facts, seed))
    division.take("new_fact", wanted["new_fact"], lambda unit: False)
    missing = math.ceil(_exact(holdout) * len(facts)) - division.count("new_fact")
    if missing > 0:
        raise StageError(_too_few(facts, holdout, missing))
    incomplete = _incomplete(questions)
    division.take("validation", wanted["validation"] // 2, lambda unit: not any(fact.id in incomplete for fact in unit))
    division.take("validation", wanted["validation"], lambda unit: False)
    return {fact.id: division.roles.get(fact.id, "trained") for fact in facts}


class _Division:
    """Hands units of facts to roles; every concept keeps one unit to train on."""

    def __init__(self, units: Sequence[Sequence[Fact]], seats: Sequence[str]) -> None:
        self.roles: dict[str, Role] = {}
        self._units = list(units)
        self._seats = seats
        self._free = Counter(unit[0].concept for unit in units)
        self._taken: Counter[str] = Counter()

    def count(self, role: Role) -> int:
        return sum(given == role for given in self.roles.values())

    def take(self, role: Role, wanted: int, passed_over: Callable[[Sequence[Fact]], bool]) -> None:
        """Take units round by round, from the concept with the fewest in this role, of the facet with the fewest."""
        by_concept: Counter[str] = Counter(
            fact.concept for unit in self._units for fact in unit if self.roles.get(fact.id) == role
        )
        by_facet: Counter[str] = Counter(
            words(fact.facet) for unit in self._units for fact in unit if self.roles.get(fact.id) == role
        )
        while self.count(role) < wanted:
            room = wanted - self.count(role)
            candidates = [
                unit
                for unit in self._units
                if unit[0].id not in self.roles and self._free[unit[0].concept] > 1 and not passed_over(unit)
            ]
            if role == "validation":  # its share is a wish, the holdout's a promise: only that one is overshot
                candidates = [unit for unit in candidates if len(unit) <= room]
            if not candidates:
                return
            unit = min(
                candidates,
                key=lambda unit: (
                    by_concept[unit[0].concept],
                    self._taken[unit[0].concept],
                    self._seats.index(unit[0].concept),
                    max(by_facet[words(fact.facet)] for fact in unit),
                ),
            )
            self._free[unit[0].concept] -= 1
            self._taken[unit[0].concept] += len(unit)
            for fact in unit:
                self.roles[fact.id] = role
                by_concept[fact.concept] += 1
                by_facet[words(fact.facet)] += 1


def _concepts(facts: Sequence[Fact]) -> list[list[Fact]]:
    grouped: dict[str, list[Fact]] = {}
    for fact in facts:
        grouped.setdefault(fact.concept, []).append(fact)
    return list(grouped.values())


def _seats(facts: Sequence[Fact], seed: int) -> list[str]:
    """The order in which concepts are served while shares are equal."""
    concepts = list(dict.fromkeys(fact.concept for fact in facts))
    named_random(seed, "compose", "seats").shuffle(concepts)
    return concepts


def _units(facts: Sequence[Fact], questions: Mapping[str, Sequence[Question]], names: Names) -> list[list[Fact]]:
    """The facts of one concept, those that cannot be told apart in one unit."""
    units: list[list[Fact]] = []
    asked = {
        fact.id: {words(question.text) for question in questions.get(fact.id, ()) if question.family != "two_hop"}
        for fact in facts
    }
    for fact in facts:
        together = [unit for unit in units if any(_entangled(fact, other, asked, names) for other in unit)]
        units = [unit for unit in units if unit not in together]
        units.append([*(other for unit in together for other in unit), fact])
    return units


def _entangled(first: Fact, second: Fact, asked: Mapping[str, set[str]], names: Names) -> bool:
    return (
        not asked[first.id].isdisjoint(asked[second.id])
        or gives_answer(first.answer, second, names(second))
        or gives_answer(second.answer, first, names(first))
    )


def _incomplete(questions: Mapping[str, Sequence[Question]]) -> set[str]:
    """Facts that lack a family of questions which others have."""
    apart = {"two_hop", "translation"}
    families = {fact: {question.family for question in known} - apart for fact, known in questions.items()}
    everything = set().union(*families.values()) if families else set()
    return {fact for fact, known in families.items() if known != everything}


def _exact(share: float) -> Fraction:
    """A share as the decimal it was written as: 0.3 of 10 facts are 3, not ⌈3.0000000000000004⌉."""
    return Fraction(str(share))


def _nearest(number: Fraction) -> int:
    return math.floor(number + Fraction(1, 2))


def _too_few(facts: Sequence[Fact], holdout: float, missing: int) -> str:
    counts = Counter(fact.concept for fact in facts)
    fewest = ", ".join(f"{name!r} has {count}" for name, count in sorted(counts.items(), key=lambda item: item[1])[:3])
    return (
        f"compose: {len(facts)} facts cannot be split so that {holdout:.0%} of them are never trained on and every "
        f"concept keeps one to train on: {missing} too few ({fewest}; facts that cannot be told apart count as one)"
        "\n  → give more facts or rows, or train on every fact with `compose.holdout: 0`"
    )
