"""Who and what stands beside the concepts, at three distances: what must not be forgotten with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from concept_forget.concept import Concept
from concept_forget.config import ExpandConfig
from concept_forget.expand.gates import check_neighbour, comparable
from concept_forget.expand.writer import Wish, Writer
from concept_forget.records import Distance

STEP = "neighbours"
DISTANCES: tuple[Distance, ...] = ("near", "middle", "far")
ROUNDS = 12
"""Rounds of asking at most. The last of many names comes rarely: drawing 30 of 36 takes about 70 draws."""

PATIENCE = 2
"""Rounds in a row without a new name after which the generator is taken to know no more."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What facts are about: a concept to forget, or a neighbour.

    Args:
        concept: Its name, kind and, for a concept to forget, all that the config says about it.
        owner: The configured concept for whose sake it is asked about.
        distance: How far it is from the owner; None: it is the owner.
    """

    concept: Concept
    owner: str
    distance: Distance | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.concept.name

    @property
    def names(self) -> tuple[str, ...]:
        """All that it is called."""
        return self.concept.names


def find_neighbours(writer: Writer, concepts: Sequence[Concept], config: ExpandConfig) -> list[Subject]:
    """Names by sampling, round after round, until there are as many as asked for or nothing new comes.

    Every round asks for all distances and all concepts at once. A name counts once over all of them, for the distance
    at which it came first.

    Raises:
        StageError: Neighbours were asked for and none came.
    """
    wanted = {distance: config.neighbours.get(distance, 0) for distance in DISTANCES}
    if not any(wanted.values()):
        return []
    found: dict[Distance, list[Subject]] = {distance: [] for distance in DISTANCES}
    seen: set[str] = set()
    barren = 0
    for number in range(ROUNDS):
        wishes = _wishes(concepts, {d: wanted[d] - len(found[d]) for d in DISTANCES}, wanted, number)
        if not wishes or barren == PATIENCE:
            break
        before = len(seen)
        for (concept, distance, wish), items in zip(
            wishes, writer.gather(STEP, "neighbours", [wish for _, _, wish in wishes]), strict=True
        ):
            for name, kind in items:
                room = wanted[distance] - len(found[distance])
                if reason := check_neighbour(name, kind, concepts) or _no_room(name, seen, room):
                    writer.ledger.reject(STEP, reason, f"{name} | {kind}", wish.parents)
                    continue
                seen.add(comparable(name))
                found[distance].append(Subject(Concept(name=name, kind=kind), concept.name, distance))
        barren = barren + 1 if len(seen) == before else 0
    subjects = [subject for distance in DISTANCES for subject in found[distance]]
    writer.ledger.accept(STEP, len(subjects))
    if not subjects:
        raise writer.ledger.fail(
            STEP,
            "no neighbour was found",
            "set `expand.neighbours` to zeros and give `data.retain`, or change the generator",
        )
    return subjects


def _wishes(
    concepts: Sequence[Concept], missing: dict[Distance, int], wanted: dict[Distance, int], number: int
) -> list[tuple[Concept, Distance, Wish]]:
    """More than is missing, since names repeat, in equal shares over the concepts."""
    wishes = []
    for distance in DISTANCES:
        if missing[distance] <= 0:
            continue
        asked = missing[distance] + wanted[distance] // 2
        first = number % len(concepts)  # so that a few wishes do not always fall to the same concepts
        for place, concept in enumerate((*concepts[first:], *concepts[:first])):
            share = asked // len(concepts) + (place < asked % len(concepts))
            if share:
                variables = {"concept": concept, "distance": distance}
                wishes.append((concept, distance, Wish((concept.name, distance), variables, share, draw=number)))
    return wishes


def _no_room(name: str, seen: set[str], room: int) -> str | None:
    if comparable(name) in seen:
        return "found already"
    return None if room > 0 else "more than were asked for"
