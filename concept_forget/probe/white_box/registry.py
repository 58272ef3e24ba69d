"""The registry of white-box scores: how each is read from a model, and what readings of all models come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from concept_forget.concept import Concept
from concept_forget.engines.protocol import Engine
from concept_forget.measures.metrics import ALL_CONCEPTS
from concept_forget.records import Example

FAMILY = "white_box"
ALL = "all"

Item = dict[str, Any]
"""What was read from one model at one row, as a line of JSON."""
Readings = Mapping[str, Sequence[Item]]
"""The name of a model → its items."""


@dataclass(frozen=True, slots=True)
class View:
    """The rows that scores are read at.

    ``concepts`` are those of this run and of the runs that it continues. What ``retain`` says serves as wrong answers.
    ``max_new_tokens`` bounds a reply.
    """

    concepts: Sequence[Concept]
    forget: Sequence[Example]
    retain: Sequence[Example]
    probe: Sequence[Example]
    collateral: Sequence[Example]
    seed: int
    max_new_tokens: int

    @property
    def direct(self) -> list[Example]:
        """The plain questions of the probe."""
        return [row for row in self.probe if row.family == "direct"]

    @property
    def names(self) -> list[str]:
        """The names of all subjects that questions are asked about."""
        return sorted({row.subject for row in (*self.probe, *self.collateral)})


ReadFunction = Callable[[Engine, View], list[Item]]
MeasureFunction = Callable[[View, Readings], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class WhiteBoxAttack:
    """A registered score, or several that are read together.

    ``read`` takes one model's items, and ``measure`` makes of all models' items what stands under the attack's name in
    the metrics: concept → result, ``ALL_CONCEPTS`` among them where there are several. ``summary`` is the first line
    of the docstring of ``read``, ``source`` the papers.
    """

    name: str
    source: str
    summary: str
    read: ReadFunction
    measure: MeasureFunction
    family: str = FAMILY


WHITE_BOX: dict[str, WhiteBoxAttack] = {}


def white_box(name: str, *, source: str, measure: MeasureFunction) -> Callable[[ReadFunction], ReadFunction]:
    """Register what reads scores from a model, under the name that configs use.

    Args:
        name: Its name.
        source: Papers.
        measure: Makes results of what was read.

    Raises:
        ValueError: The name is taken, or the function has no docstring.
    """

    def register(read: ReadFunction) -> ReadFunction:
        if name in WHITE_BOX:
            raise ValueError(f"a white-box attack called {name!r} is registered already")
        if not read.__doc__:
            raise ValueError(f"the white-box attack {name!r} needs a docstring: its first line is shown in tables")
        WHITE_BOX[name] = WhiteBoxAttack(name, source, read.__doc__.strip().splitlines()[0], read, measure)
        return read

    return register


def white_box_named(names: str | Sequence[str]) -> list[WhiteBoxAttack]:
    """The white-box attacks among the names that a config gives: by name, by family, or as part of ``all``."""
    wanted = {names} if isinstance(names, str) else set(names)
    return [known for known in WHITE_BOX.values() if wanted & {known.name, known.family, ALL}]


def by_concept(items: Sequence[Item]) -> dict[str, list[Item]]:
    """Items by their concept, and where there are several, all of them together as well."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item["concept"], []).append(item)
    if len(found) > 1:
        found[ALL_CONCEPTS] = list(items)
    return found


def by_tier(items: Sequence[Item]) -> dict[str, list[Item]]:
    """Items by their tier, in the order of its name."""
    return {tier: [item for item in items if item["tier"] == tier] for tier in sorted({i["tier"] for i in items})}


def fact_means(items: Sequence[Item], score: str, key: str = "fact") -> dict[str, float]:
    """The mean of a score over each fact's items; facts without it are left out."""
    found: dict[str, list[float]] = {}
    for item in items:
        if item[score] is not None:
            found.setdefault(item[key], []).append(item[score])
    return {fact: sum(values) / len(values) for fact, values in found.items()}
