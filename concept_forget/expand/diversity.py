"""How much of each concept was covered, and how varied what was written about the concepts is."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from concept_forget.config import Config
from concept_forget.expand.ahead import Ahead
from concept_forget.expand.facts import Topic
from concept_forget.expand.gates import comparable
from concept_forget.expand.questions import Sheet
from concept_forget.expand.screening import Encodes

if TYPE_CHECKING:
    from concept_forget.measures.diversity import Diversity

BATCH = 1024
"""Texts encoded at once."""
ALL = "all"
Item = tuple[str, str, str]
"""The concept for which a text was written, what kind of item it is, and the text."""


class Measuring:
    """Coverage of facets and diversity of texts, for each concept, for each kind of item, and for all together.

    Args:
        config: The whole config.
        topics: The facets that were listed.
        sheets: The facts that were kept and the questions about them, of which the texts are those that they will
            have; those about neighbours do not count.
        encoder: Gives vectors; None: what needs them is left out.
    """

    def __init__(
        self, config: Config, topics: Sequence[Topic], sheets: Sequence[Sheet], encoder: Encodes | None
    ) -> None:
        own = [sheet for sheet in sheets if sheet.stated.fact.distance is None]
        self._config = config
        self._encoder = encoder
        self._names = [concept.name for concept in config.concepts]
        self._coverage = _coverage(self._names, topics, own)
        self._items = list(_items(own))
        self._groups: dict[tuple[str, str], Diversity] = {}

    def begin(self, ahead: Ahead, *, whole: bool) -> None:
        """Have the facts and questions measured while the generator writes on; nobody else may encode meanwhile.

        Args:
            ahead: Where it is done.
            whole: Whether no further texts will come. Otherwise only full batches are measured: what an encoder makes
                of a text hangs, in its last digits, on the texts beside it.
        """
        count = len(self._items) if whole else len(self._items) // BATCH * BATCH
        first, self._items = self._items[:count], self._items[count:]
        for batch in _batches(first):
            ahead.give(functools.partial(self._add, batch))

    def finish(self, texts: Iterable[Item] = ()) -> dict[str, object]:
        """The figures.

        Args:
            texts: Further items, such as passages.
        """
        from concept_forget.measures.diversity import Diversity

        for batch in _batches([*self._items, *texts]):
            self._add(batch)
        coverage, groups, nothing = self._coverage, self._groups, Diversity(self._config.seed)
        return {
            "concepts": {n: coverage[n] | groups.get(("concept", n), nothing).summary() for n in self._names},
            "kinds": {kind: group.summary() for (what, kind), group in sorted(groups.items()) if what == "kind"},
            ALL: coverage[ALL] | groups.get((ALL, ""), nothing).summary(),
        }

    def _add(self, batch: Sequence[Item]) -> None:
        from concept_forget.measures.diversity import Diversity

        written = [text for *_, text in batch]
        vectors = self._encoder.encode(written) if self._encoder is not None else None
        for key, rows in _grouped(batch).items():
            group = self._groups.setdefault(key, Diversity(self._config.seed))
            group.add([written[row] for row in rows], None if vectors is None else vectors[rows])


def _items(sheets: Iterable[Sheet]) -> Iterator[Item]:
    for sheet in sheets:
        fact = sheet.stated.fact
        yield fact.concept, "fact", fact.sentence
        for question in sheet.questions:
            yield fact.concept, question.family, question.text


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _grouped(items: Iterable[Item]) -> Mapping[tuple[str, str], list[int]]:
    """The rows of each concept, of each kind, and of all together."""
    grouped: dict[tuple[str, str], list[int]] = {}
    for row, (concept, kind, _) in enumerate(items):
        for key in (("concept", concept), ("kind", kind), (ALL, "")):
            grouped.setdefault(key, []).append(row)
    return grouped


def _coverage(names: Sequence[str], topics: Iterable[Topic], sheets: Iterable[Sheet]) -> dict[str, dict[str, object]]:
    listed: dict[str, set[str]] = {name: set() for name in names}
    covered: dict[str, set[str]] = {name: set() for name in names}
    for topic in topics:
        if topic.subject.distance is None and topic.subject.name in listed:
            listed[topic.subject.name].add(comparable(topic.facet))
    for sheet in sheets:
        covered[sheet.stated.fact.concept].add(comparable(sheet.stated.fact.facet))
    counts = {name: (len(listed[name]), len(covered[name] & listed[name])) for name in names}
    counts[ALL] = (sum(count for count, _ in counts.values()), sum(count for _, count in counts.values()))
    return {
        name: {"facets": total, "facets_covered": found, "coverage": round(found / total, 4) if total else None}
        for name, (total, found) in counts.items()
    }
