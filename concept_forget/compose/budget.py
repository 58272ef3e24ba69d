"""A token budget for the forget set: which rows are taken, in equal shares over concepts and facts."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from concept_forget.records import Example, named_random


def draw_rows(
    rows: Sequence[Example], sizes: Mapping[str, int], facts: Collection[str], budget: int, seed: int
) -> list[Example]:
    """Rows that together keep within a budget.

    Row by row, the concept that has the fewest tokens so far gives the row whose facts were drawn least often, the
    mean over its facts where it states several; a seeded order decides what is left open. Drawing ends with the first
    row that does not fit, so that of two budgets the smaller one's rows are among the larger one's.

    Args:
        rows: The rows to draw from.
        sizes: Tokens of each row, by id.
        facts: Ids of facts; a row's are those among its own and its parents.
        budget: Tokens at most.
        seed: The run's seed.

    Returns:
        The rows drawn, in their old order.
    """
    order = list(rows)
    named_random(seed, "compose", "budget").shuffle(order)
    covered = {row.id: _facts_of(row, facts) for row in rows}
    # A share only grows: a row popped with a stale one goes back, so the heap always yields the least drawn.
    waiting: dict[str, list[tuple[float, int]]] = {}
    for place, row in enumerate(order):
        waiting.setdefault(row.concept, []).append((0.0, place))
    spent = dict.fromkeys(waiting, 0)
    drawn: dict[str, Counter[str]] = {concept: Counter() for concept in waiting}
    taken: set[str] = set()
    while waiting:
        concept = min(waiting, key=spent.__getitem__)
        row = order[_pop_least_drawn(waiting[concept], order, covered, drawn[concept])]
        if sum(spent.values()) + sizes[row.id] > budget:
            break
        taken.add(row.id)
        spent[concept] += sizes[row.id]
        drawn[concept].update(covered[row.id])
        if not waiting[concept]:
            del waiting[concept]
    return [row for row in rows if row.id in taken]


def _facts_of(row: Example, facts: Collection[str]) -> tuple[str, ...]:
    """The facts that a row states or asks; an empty name stands for none that is known."""
    return tuple(dict.fromkeys(fact for fact in (row.fact, *row.parents) if fact in facts)) or ("",)


def _pop_least_drawn(
    heap: list[tuple[float, int]], order: Sequence[Example], covered: Mapping[str, tuple[str, ...]], drawn: Counter[str]
) -> int:
    while True:
        share, place = heapq.heappop(heap)
        facts = covered[order[place].id]
        now = sum(drawn[fact] for fact in facts) / len(facts)
        if now <= share:
            return place
        heapq.heappush(heap, (now, place))
