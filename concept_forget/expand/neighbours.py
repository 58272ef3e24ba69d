"""Who and what stands beside the concepts, at three distances: what must not be forgotten with them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
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

ASPECTS = ("kind", "place", "period", "words")
"""What a near neighbour has in common with the concept, in turn from one request to the next."""

PATIENCE = 2
"""Rounds in a row without a new name after which the generator is taken to know no more."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What facts are about: a concept to forget, or a neighbour.

    Args:
        concept: Its name, kind and, for a concept to forget, all that the config says about it.
        owner: The configured concept for whose sake it is asked about.
        distance: How far it is from the owner; None: it is the owner.
        kept: Whether it stands for the kept scope of the owner, which is then as near as a neighbour.
    """

    concept: Concept
    owner: str
    distance: Distance | None = None
    kept: bool = False

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

    Every round asks for all distances and all concepts at once. A name counts once over all of them. The generator may
    name it at several distances and as of several kinds; the pair that it names most often holds, the first of equals.

    Raises:
        StageError: Neighbours were asked for and none came.
    """
    wanted = {distance: config.neighbours.get(distance, 0) for distance in DISTANCES}
    if not any(wanted.values()):
        return []
    poll = _Poll(wanted)
    barren = 0
    check = functools.cache(lambda name, kind: check_neighbour(name, kind, concepts))
    for number in range(ROUNDS):
        wishes = _wishes(concepts, poll.missing, wanted, number)
        if not wishes or barren == PATIENCE:
            break
        before = poll.missing
        replies = writer.gather(STEP, "neighbours", [wish for _, _, wish in wishes], gate=lambda _, item: check(*item))
        for (concept, distance, wish), items in zip(wishes, replies, strict=True):
            for name, kind in items:
                if reason := check(name, kind) or poll.count(name, kind, distance, concept.name):
                    writer.ledger.reject(STEP, reason, f"{name} | {kind}", wish.parents)
        barren = barren + 1 if poll.missing == before else 0
    subjects = poll.subjects()
    writer.ledger.accept(STEP, len(subjects))
    if not subjects:
        raise writer.ledger.fail(
            STEP,
            "no neighbour was found",
            "a small model takes `generator.prompts: compact`; or set `expand.neighbours` to zeros and give "
            "`data.retain`, or change the generator",
        )
    return subjects


class _Poll:
    """The names drawn so far, and how often each came at which distance and as what kind."""

    def __init__(self, wanted: Mapping[Distance, int]) -> None:
        self.missing = dict(wanted)
        self._votes: dict[str, Counter[tuple[Distance, str]]] = {}
        self._drawn: dict[tuple[str, Distance, str], Subject] = {}

    def count(self, name: str, kind: str, distance: Distance, owner: str) -> str | None:
        """Take a draw into account; why it is no new neighbour, or None where it is one."""
        key, place = comparable(name), (distance, comparable(kind))
        is_new = key not in self._votes
        if is_new and self.missing[distance] <= 0:
            return "more than were asked for"
        self._votes.setdefault(key, Counter())[place] += 1
        self._drawn.setdefault((key, *place), Subject(Concept(name=name, kind=kind), owner, distance))
        if not is_new:
            return "found already"
        self.missing = {**self.missing, distance: self.missing[distance] - 1}
        return None

    def subjects(self) -> list[Subject]:
        """Everybody once, by distance, in the order in which the names came."""
        chosen = [(name, *votes.most_common(1)[0][0]) for name, votes in self._votes.items()]
        return [self._drawn[key] for distance in DISTANCES for key in chosen if key[1] == distance]


def _wishes(
    concepts: Sequence[Concept], missing: Mapping[Distance, int], wanted: Mapping[Distance, int], number: int
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
                turns = {"aspect": ASPECTS}
                wish = Wish((concept.name, distance), variables, share, draw=number, turns=turns)
                wishes.append((concept, distance, wish))
    return wishes
