"""What asking again and again adds up to: leak@k of sampled replies, and all that a search tried.

The rate that stands in the tables and in the verdict is the mean over a question's replies, which is leak@1: a share of
replies as for every other attack, in the unit of ``probe.threshold``. leak@k for larger k stands beside it with a floor
of its own: it grows with k for every model that ever guesses, so no one threshold fits every k, and towards large k the
floor takes the excess away again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from concept_forget.measures.leaks import leak_at_k
from concept_forget.measures.metrics import (
    ALL_CONCEPTS,
    AttackResult,
    BesideFloor,
    ByModel,
    LeakAtK,
    Measurements,
    TierResult,
)
from concept_forget.measures.rates import estimate_of, floor_of, rate_of
from concept_forget.measures.statistics import difference_bounds
from concept_forget.probe.asking import STRANGERS
from concept_forget.probe.grading import grade_attempts, graders_of, leak
from concept_forget.probe.searching import Try
from concept_forget.records import Attempt

Scores: TypeAlias = dict[str, dict[str, list[list[float]]]]
"""Model → fact → for each question about it, what each reply gave away."""

Cell: TypeAlias = tuple[str, str, str]
"""Concept, attack, tier."""


def add_repeated(
    measurements: Measurements, attempts: Sequence[Attempt], leaks: Sequence[float], tries: Sequence[Try], grader: str
) -> Measurements:
    """The measurements with leak@k where questions got several replies, and with all that searches tried.

    Args:
        measurements: Of these attempts.
        attempts: What counts.
        leaks: What each attempt gave away, in [0, 1].
        tries: What searches tried.
        grader: Grades tries: one that asks no model, for they are many.
    """
    tried = [one.attempt for one in tries]
    graded = zip(grade_attempts(tried, grader), graders_of(tried, grader), strict=True)
    replies, searched = gather(attempts, leaks), gather(tried, [leak(grade, name) for grade, name in graded])

    def extended(cell: Cell, result: TierResult) -> TierResult:
        tried = searched.get(cell)
        return result.model_copy(
            update={"leak_at": leak_at_ks(replies[cell]), "any_tried": _any_tried(tried) if tried else None}
        )

    return change_tiers(measurements, extended)


def change_tiers(measurements: Measurements, change: Callable[[Cell, TierResult], TierResult]) -> Measurements:
    """The measurements with every result of a concept, an attack and a tier changed."""

    def changed(concept: str, attack: str, found: AttackResult) -> AttackResult:
        tiers = {tier: change((concept, attack, tier), result) for tier, result in found.tiers.items()}
        return found.model_copy(update={"tiers": tiers})

    concepts = {
        concept: result.model_copy(
            update={"attacks": {attack: changed(concept, attack, found) for attack, found in result.attacks.items()}}
        )
        for concept, result in measurements.concepts.items()
    }
    return measurements.model_copy(update={"concepts": concepts})


def leak_at_ks(models: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> list[LeakAtK]:
    """leak@k by model for k = 1, 2, 4, … n.

    A fact's leak@k is the mean over its questions, each for as many replies as it got, so that leak@1 is the mean over
    all of them; intervals are over facts.

    Args:
        models: Model → fact → for each question about it, what each of its n replies gave away.

    Returns:
        Nothing where a question got one reply.
    """
    n = min((len(scores) for facts in models.values() for asked in facts.values() for scores in asked), default=0)
    if n < 2:
        return []
    powers = [1 << power for power in range(n.bit_length())]
    return [_at(models, k) for k in dict.fromkeys((*powers, n))]


def _at(models: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], k: int) -> LeakAtK:
    def at_k(asked: Sequence[Sequence[float]]) -> float:
        return _weighted([(leak_at_k(scores, k), len(scores)) for scores in asked])

    return LeakAtK(k=k, **dict(beside_floor(models, at_k)))


def mean_of_replies(asked: Sequence[Sequence[float]]) -> float:
    """The mean over all replies to a fact's questions."""
    return _mean([score for scores in asked for score in scores])


def beside_floor(
    models: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], of_fact: Callable[[Sequence[Sequence[float]]], float]
) -> BesideFloor:
    """A rate by model, with what lies over the floor: the reference, or where there is none base about strangers.

    Args:
        models: Model → fact → for each question about it, what each of its replies gave away.
        of_fact: The rate of a fact, from what its replies gave away, question by question.
    """
    means = {model: {fact: of_fact(asked) for fact, asked in facts.items()} for model, facts in models.items()}
    rates = {
        model: rate_of(list(values.values()), sum(len(scores) for asked in models[model].values() for scores in asked))
        for model, values in means.items()
    }
    floor = means.get("reference") or means.get(STRANGERS) or {}
    shared = sorted(means["unlearned"].keys() & floor.keys())
    excess = None
    if shared:
        excess = estimate_of(difference_bounds([means["unlearned"][f] for f in shared], [floor[f] for f in shared]))
    return BesideFloor(
        base=rates["base"],
        unlearned=rates["unlearned"],
        reference=rates.get("reference"),
        floor=floor_of(list(floor.values()), of_reference="reference" in means),
        excess=excess,
    )


def _any_tried(models: Scores) -> ByModel:
    """Mean over facts of the worst try on each."""
    worst = {
        model: _mean([max(score for scores in asked for score in scores) for asked in facts.values()])
        for model, facts in models.items()
    }
    return ByModel(base=worst["base"], unlearned=worst["unlearned"], reference=worst.get("reference"))


def gather(attempts: Sequence[Attempt], leaks: Sequence[float]) -> dict[Cell, Scores]:
    """What each attempt scored, by concept, attack and tier; all concepts together stand beside each of them."""
    found: dict[Cell, dict[str, dict[str, dict[object, list[float]]]]] = {}
    for attempt, leaked in zip(attempts, leaks, strict=True):
        question = (attempt.example, str(attempt.prompt), attempt.prefill, attempt.expected)
        for concept in (attempt.concept, ALL_CONCEPTS):
            models = found.setdefault((concept, attempt.attack, attempt.tier), defaultdict(lambda: defaultdict(dict)))
            models[attempt.model][attempt.fact].setdefault(question, []).append(leaked)
    return {
        cell: {model: {fact: list(asked.values()) for fact, asked in facts.items()} for model, facts in models.items()}
        for cell, models in found.items()
    }


def _weighted(values: Sequence[tuple[float, int]]) -> float:
    return sum(value * weight for value, weight in values) / sum(weight for _, weight in values)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
