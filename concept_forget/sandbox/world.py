"""Fictional worlds, numbered: who and what there is, and what is true of each.

Equal numbers give equal worlds. The twelve ``CONCEPT_PEOPLE`` live in every world under the same names; all that is
true of them, and everybody else, differs by world.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from concept_forget.records import Distance, named_random
from concept_forget.sandbox import lexicon
from concept_forget.sandbox.phrasing import RELATIONS, Relation

Size = Literal["standard", "nano"]


@dataclass(frozen=True, slots=True)
class Entity:
    """Something with a name. ``distance`` is how far its kind lies from people."""

    name: str
    kind: str
    distance: Distance


@dataclass(frozen=True, slots=True)
class WorldFact:
    """One thing that is true: ``subject`` has ``answer`` for ``relation``."""

    subject: Entity
    relation: Relation
    answer: str

    def fill(self, wording: str) -> str:
        """A wording with subject, answer and relation in their places."""
        return wording.format(s=self.subject.name, a=self.answer, r=self.relation.name)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much there is in a world: entities of each kind, and relations of each person."""

    concepts: int
    others: int
    person_relations: int
    things: tuple[tuple[str, int], ...]


SCALES: dict[Size, Scale] = {
    "standard": Scale(
        12, 36, 8,
        (("town", 10), ("book", 6), ("prize", 6), ("organisation", 6), ("mineral", 4), ("bird", 4), ("star", 4)),
    ),
    "nano": Scale(4, 10, 5, (("town", 4), ("book", 3), ("mineral", 2), ("bird", 2))),
}  # fmt: skip

_NAMES: dict[str, tuple[Distance, Sequence[str]]] = {
    "town": ("middle", lexicon.TOWNS),
    "book": ("middle", lexicon.BOOKS),
    "prize": ("middle", lexicon.PRIZES),
    "organisation": ("middle", lexicon.ORGANISATIONS),
    "mineral": ("far", lexicon.MINERALS),
    "bird": ("far", lexicon.BIRDS),
    "star": ("far", lexicon.STARS),
}


@dataclass(frozen=True, slots=True)
class World:
    """A world: its entities, its facts in the entities' order, and its documents about nothing that is asked."""

    number: int
    size: Size
    entities: tuple[Entity, ...]
    facts: tuple[WorldFact, ...]
    distractors: tuple[str, ...]

    @property
    def concepts(self) -> tuple[str, ...]:
        """The names of the people who are there to be forgotten."""
        return tuple(entity.name for entity in self.entities[: SCALES[self.size].concepts])

    @property
    def people(self) -> tuple[Entity, ...]:
        """Everybody, the concepts first."""
        return tuple(entity for entity in self.entities if entity.kind == "person")

    def entity(self, name: str) -> Entity:
        """The entity called ``name``.

        Raises:
            KeyError: There is none.
        """
        for entity in self.entities:
            if entity.name == name:
                return entity
        raise KeyError(name)

    def facts_of(self, name: str) -> tuple[WorldFact, ...]:
        """What is true of ``name``."""
        return tuple(fact for fact in self.facts if fact.subject.name == name)

    def relations_of(self, kind: str) -> tuple[Relation, ...]:
        """The relations that entities of ``kind`` have in this world."""
        return _relations(kind, SCALES[self.size])


def build_world(number: int, size: Size = "standard") -> World:
    """The world with this number: the same on every machine and in every run.

    Raises:
        ValueError: ``number`` is negative.
    """
    if number < 0:
        raise ValueError(f"worlds are numbered from 0, not {number}")
    scale = SCALES[size]
    entities = (*_people(number, scale), *_things(number, scale))
    facts = [
        WorldFact(entity, relation, answer)
        for kind in dict.fromkeys(entity.kind for entity in entities)
        for entity, answers in _answers(number, kind, [e for e in entities if e.kind == kind], entities, scale)
        for relation, answer in answers
    ]
    return World(number, size, entities, tuple(facts), _distractors(number, scale))


def _relations(kind: str, scale: Scale) -> tuple[Relation, ...]:
    return RELATIONS[kind][: scale.person_relations] if kind == "person" else RELATIONS[kind]


def _people(number: int, scale: Scale) -> list[Entity]:
    rng = named_random(number, "world", "people")
    firsts = rng.sample(lexicon.FIRST_NAMES, scale.others)
    lasts = rng.sample(lexicon.LAST_NAMES, scale.others)
    names = [*lexicon.CONCEPT_PEOPLE[: scale.concepts], *map(" ".join, zip(firsts, lasts, strict=True))]
    return [Entity(name, "person", "near") for name in names]


def _things(number: int, scale: Scale) -> list[Entity]:
    things = []
    for kind, count in scale.things:
        distance, register = _NAMES[kind]
        chosen = named_random(number, "world", kind).sample(register, count)
        things += [Entity(name, kind, distance) for name in chosen]
    return things


def _answers(
    number: int, kind: str, members: Sequence[Entity], entities: Sequence[Entity], scale: Scale
) -> list[tuple[Entity, list[tuple[Relation, str]]]]:
    columns = []
    for relation in _relations(kind, scale):
        rng = named_random(number, "world", kind, relation.name)
        columns.append(_column(relation, len(members), entities, rng))
    return [
        (entity, [(relation, column[i]) for relation, column in zip(_relations(kind, scale), columns, strict=True)])
        for i, entity in enumerate(members)
    ]


def _column(relation: Relation, count: int, entities: Sequence[Entity], rng: random.Random) -> list[str]:
    """One answer per member: from the towns, in equal shares, where answers are shared; else each its own."""
    if not relation.reverse:
        towns = [entity.name for entity in entities if entity.kind == "town"]
        shares = [towns[i % len(towns)] for i in range(count)]
        rng.shuffle(shares)
        return shares
    return rng.sample(answer_pool(relation), count)


def answer_pool(relation: Relation) -> list[str]:
    """Every answer that a relation with answers of its own could have, in any world."""
    if relation.name in lexicon.SINGLES:
        return list(lexicon.SINGLES[relation.name])
    firsts, seconds = lexicon.HALVES[relation.name]
    return [f"{first} {second}" for first in firsts for second in seconds]


def every_name() -> list[str]:
    """All names that somebody or something in some world has; of people's names the parts."""
    return [*lexicon.FIRST_NAMES, *lexicon.LAST_NAMES, *(name for _, register in _NAMES.values() for name in register)]


def stranger_name(world: World, kind: str, rng: random.Random) -> str:
    """The name of somebody, or of something of that kind, that the world does not have."""
    taken = {part for entity in world.entities if entity.kind == kind for part in entity.name.split()}
    if kind == "person":
        registers = (lexicon.FIRST_NAMES, lexicon.LAST_NAMES)
        return " ".join(rng.choice([name for name in register if name not in taken]) for register in registers)
    _, register = _NAMES[kind]
    return rng.choice([name for name in register if name.split()[0] not in taken])


def _distractors(number: int, scale: Scale) -> tuple[str, ...]:
    rng = named_random(number, "world", "distractors")
    documents = []
    for _ in range(scale.others):
        sentences = [
            f"{subject[0].upper()}{subject[1:]} {rng.choice(lexicon.DISTRACTOR_PREDICATES)}."
            for subject in rng.sample(lexicon.DISTRACTOR_SUBJECTS, 4)
        ]
        documents.append(" ".join(sentences))
    return tuple(documents)
