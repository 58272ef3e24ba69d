"""Who is trained to stay, who only validates, and who is asked for collateral alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from concept_forget.compose.material import Entity
from concept_forget.compose.wording import holds_any
from concept_forget.records import Distance, Fact, Question, named_random

DISTANCES: tuple[Distance, ...] = ("near", "middle", "far")
_VALIDATION_TURNS: tuple[Distance, ...] = ("near", "middle", "near", "far")
"""Whose turn it is to give an entity to validation: what stands nearest suffers most."""


@dataclass(frozen=True, slots=True)
class Shares:
    """The entities, each in one place."""

    retain: tuple[Entity, ...]
    validation: tuple[Entity, ...]
    collateral: tuple[Entity, ...]
    kept: tuple[Fact, ...] = ()  # of the concepts' own kept scope, trained to stay
    kept_asked: tuple[Fact, ...] = ()  # of the kept scope as well, but asked for collateral alone

    @property
    def closed_names(self) -> tuple[str, ...]:
        """The names that retain training must not mention."""
        return tuple(dict.fromkeys(e.name for e in (*self.collateral, *self.validation) if e.name))


KEPT_ASKED = 3
"""One in so many facts of the kept scope is asked for collateral and not trained on."""


def share_kept(
    facts: Sequence[Fact], questions: Mapping[str, Sequence[Question]], seed: int
) -> tuple[tuple[Fact, ...], tuple[Fact, ...]]:
    """Share out the facts of a concept that are to stay, concept by concept.

    Of two facts or more at least one is asked for, as long as there is a direct question.

    Args:
        facts: Facts of the concepts' kept scope.
        questions: Questions by fact.
        seed: The run's seed.

    Returns:
        The facts to train on, and those that only collateral asks for.
    """
    away: set[str] = set()
    for concept in dict.fromkeys(fact.concept for fact in facts):
        own = sorted((fact for fact in facts if fact.concept == concept), key=lambda fact: fact.id)
        askable = [fact for fact in own if any(q.family == "direct" for q in questions.get(fact.id, ()))]
        named_random(seed, "compose", "kept", concept).shuffle(askable)
        wanted = 0 if len(own) < 2 else max(1, len(own) // KEPT_ASKED)
        away |= {fact.id for fact in askable[:wanted]}
    return tuple(fact for fact in facts if fact.id not in away), tuple(fact for fact in facts if fact.id in away)


def share_entities(
    entities: Sequence[Entity],
    given: Sequence[Entity],
    questions: Mapping[str, Sequence[Question]],
    *,
    collateral: Mapping[Distance, int],
    validation: int,
    seed: int,
) -> Shares:
    """Share the neighbours out.

    At most half of each distance is taken away from training, whatever is asked for. Collateral comes from generated
    neighbours alone: rows that the user gave to be kept are kept by training; validation falls back on them.

    Args:
        entities: Generated neighbours, and the user's rows to be kept.
        given: The user's own collateral.
        questions: Questions by fact: who has no direct question cannot be asked.
        collateral: Entities wanted, by distance.
        validation: Entities wanted for validation.
        seed: The run's seed.
    """
    askable = [entity for entity in entities if _is_askable(entity, questions)]
    pools: dict[Distance, list[Entity]] = {}
    room: dict[Distance, int] = {}
    for distance in DISTANCES:
        pool = sorted(
            (entity for entity in askable if entity.distance == distance and entity.source == "generated"),
            key=lambda entity: entity.name,
        )
        named_random(seed, "compose", "entities", distance).shuffle(pool)
        pools[distance] = pool
        room[distance] = len(pool) // 2
    validating = _draw_validation(pools, room, collateral, validation)
    taken = [
        entity
        for distance in DISTANCES
        for entity in _take(pools[distance], min(collateral.get(distance, 0), room[distance]))
    ]
    asked_about = [entity.name for entity in (*taken, *given)]
    users = [e for e in askable if e.source == "user" and not _mentions(e, asked_about, questions)]
    named_random(seed, "compose", "entities", "user").shuffle(users)
    validating += users[: min(validation - len(validating), len(users) // 2)]
    away = {id(entity) for entity in (*validating, *taken)}
    return Shares(
        retain=tuple(entity for entity in entities if id(entity) not in away),
        validation=tuple(validating),
        collateral=(*taken, *given),
    )


def _draw_validation(
    pools: Mapping[Distance, list[Entity]],
    room: dict[Distance, int],
    collateral: Mapping[Distance, int],
    wanted: int,
) -> list[Entity]:
    """Take turns among the distances; where room is short, validation gets at most a third of it."""
    quota = {d: max(room[d] - collateral.get(d, 0), room[d] // 3) for d in DISTANCES}
    drawn: list[Entity] = []
    turn = 0
    while len(drawn) < wanted and any(quota.values()):
        distance = _VALIDATION_TURNS[turn % len(_VALIDATION_TURNS)]
        turn += 1
        if quota[distance]:
            quota[distance] -= 1
            room[distance] -= 1
            drawn += _take(pools[distance], 1)
    return drawn


def _take(pool: list[Entity], count: int) -> list[Entity]:
    taken = pool[:count]
    del pool[:count]
    return taken


def _mentions(entity: Entity, names: Sequence[str], questions: Mapping[str, Sequence[Question]]) -> bool:
    """Whether anything asked or answered about an entity holds a name: rows need not say whom they are about."""
    return any(
        holds_any(text, names)
        for fact in entity.facts
        for text in (fact.answer, *(question.text for question in questions.get(fact.id, ())))
    )


def _is_askable(entity: Entity, questions: Mapping[str, Sequence[Question]]) -> bool:
    return any(question.family == "direct" for fact in entity.facts for question in questions.get(fact.id, ()))
