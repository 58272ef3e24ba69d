from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concept_forget.compose.budget import draw_rows
from concept_forget.records import Example


def row(number: int, concept: str, *facts: str) -> Example:
    values: dict[str, Any] = dict.fromkeys(("subject", "facet", "form", "family", "tier", "completion", "answer"), "")
    return Example(
        id=f"row {number}", split="forget", concept=concept, fact=facts[0] if len(facts) == 1 else "",
        prompt=[], parents=facts, **values,
    )  # fmt: skip


ROWS = [row(number, f"concept {number % 3}", f"fact {number % 3}.{number // 3 % 4}") for number in range(60)]
FACTS = {row.fact for row in ROWS}
TEN = {row.id: 10 for row in ROWS}


@pytest.mark.parametrize("budget", [10, 95, 120, 333, 600])
def test_the_budget_is_kept_and_used(budget: int) -> None:
    drawn = draw_rows(ROWS, TEN, FACTS, budget, 0)
    assert len(drawn) == budget // 10


def test_concepts_and_facts_are_served_in_equal_shares() -> None:
    drawn = draw_rows(ROWS, TEN, FACTS, 240, 0)
    assert set(Counter(row.concept for row in drawn).values()) == {8}
    assert Counter(row.fact for row in drawn) == dict.fromkeys(FACTS, 2)


def test_shares_of_concepts_are_in_tokens_not_in_rows() -> None:
    sizes = {row.id: 30 if row.concept == "concept 0" else 10 for row in ROWS}
    drawn = draw_rows(ROWS, sizes, FACTS, 180, 0)
    assert Counter(row.concept for row in drawn) == {"concept 0": 2, "concept 1": 6, "concept 2": 6}


def test_a_text_that_states_several_facts_counts_for_each() -> None:
    text = row(0, "c", "x", "y")
    rows = [text, *(row(number, "c", fact) for number, fact in enumerate("xyzw", start=1))]
    drawn = draw_rows(rows, dict.fromkeys((r.id for r in rows), 1), set("xyzw"), 3, 5)
    if text in drawn:  # then what is not stated yet comes next
        assert {fact for r in drawn for fact in r.parents} == set("xyzw")
    assert {len({fact for r in draw_rows(rows, dict.fromkeys((r.id for r in rows), 1), set("xyzw"), 4, seed)
                 for fact in r.parents}) for seed in range(20)} == {4}  # fmt: skip


def test_the_draw_depends_on_the_seed_alone_and_keeps_the_rows_order() -> None:
    first = draw_rows(ROWS, TEN, FACTS, 240, 0)
    assert first == draw_rows(ROWS, TEN, FACTS, 240, 0)
    assert first != draw_rows(ROWS, TEN, FACTS, 240, 1)
    assert [ROWS.index(row) for row in first] == sorted(ROWS.index(row) for row in first)


@given(st.lists(st.integers(1, 40), min_size=60, max_size=60), st.integers(0, 900), st.integers(0, 300))
def test_a_smaller_budgets_rows_are_among_a_larger_ones(lengths: list[int], budget: int, more: int) -> None:
    sizes = {row.id: length for row, length in zip(ROWS, lengths, strict=True)}
    small, large = (draw_rows(ROWS, sizes, FACTS, tokens, 3) for tokens in (budget, budget + more))
    assert {row.id for row in small} <= {row.id for row in large}
    assert sum(sizes[row.id] for row in small) <= budget
    if budget >= sum(lengths):
        assert small == ROWS
