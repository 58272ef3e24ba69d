from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from concept_forget.engines.batching import plan_batches

items = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 5)), max_size=40)
budgets = st.integers(1, 400)


def plan(chosen: list[tuple[int, int]], budget: int) -> list[list[int]]:
    return plan_batches([length for length, _ in chosen], budget, [rows for _, rows in chosen])


@given(items, budgets)
def test_every_item_is_in_one_group_and_no_group_is_over_the_budget(chosen: list[tuple[int, int]], budget: int) -> None:
    groups = plan(chosen, budget)
    assert sorted(item for group in groups for item in group) == list(range(len(chosen)))
    for group in groups:
        padded = sum(chosen[item][1] for item in group) * max(chosen[item][0] for item in group)
        assert padded <= budget or len(group) == 1


@given(items, budgets, st.data())
def test_any_part_of_a_group_is_one_group_by_itself(
    chosen: list[tuple[int, int]], budget: int, data: st.DataObject
) -> None:
    for group in plan(chosen, budget):
        part = data.draw(st.lists(st.sampled_from(group), unique=True, min_size=1))
        assert len(plan([chosen[item] for item in part], budget)) == 1


def test_rows_of_like_length_stand_together_and_the_longest_come_first() -> None:
    assert plan_batches([5, 50, 6, 49], 100) == [[1, 3], [2, 0]]


def test_nothing_makes_no_group() -> None:
    assert plan_batches([], 100) == []
