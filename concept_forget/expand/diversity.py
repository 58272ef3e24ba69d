"""How much of each concept was covered, and how varied what was written about the concepts is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from concept_forget.config import Config
from concept_forget.expand.facts import Topic
from concept_forget.expand.gates import comparable
from concept_forget.expand.questions import Sheet
from concept_forget.expand.screening import Screen

if TYPE_CHECKING:
    from concept_forget.measures.diversity import Diversity

BATCH = 1024
"""Texts encoded at once."""
ALL = "all"
Item = tuple[str, str, str]
"""The concept for which a text was written, what kind of item it is, and the text."""


def measure_diversity(
    config: Config, topics: Sequence[Topic], sheets: Sequence[Sheet], screen: Screen, texts: Iterable[Item] = ()
) -> dict[str, object]:
    """Coverage of facets and diversity of texts, for each concept, for each kind of item, and for all together.

    Args:
        config: The whole config.
        topics: The facets that were listed.
        sheets: The facts that were kept and the questions about them; those about neighbours do not count.
        screen: Gives the encoder, and is told of the time.
        texts: Further items, such as passages.
    """
    from concept_forget.measures.diversity import Diversity

    own = [sheet for sheet in sheets if sheet.stated.fact.distance is None]
    names = [concept.name for concept in config.concepts]
    groups: dict[tuple[str, str], Diversity] = {}
    with screen.timed():
        for batch in _batches([*_items(own), *texts]):
            written = [text for *_, text in batch]
            vectors = screen.encoder.encode(written) if screen.encoder is not None else None
            for key, rows in _grouped(batch).items():
                group = groups.setdefault(key, Diversity(config.seed))
                group.add([written[row] for row in rows], None if vectors is None else vectors[rows])
        coverage = _coverage(names, topics, own)
        nothing = Diversity(config.seed)
        return {
            "concepts": {n: coverage[n] | groups.get(("concept", n), nothing).summary() for n in names},
            "kinds": {kind: group.summary() for (what, kind), group in sorted(groups.items()) if what == "kind"},
            ALL: coverage[ALL] | groups.get((ALL, ""), nothing).summary(),
        }


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
