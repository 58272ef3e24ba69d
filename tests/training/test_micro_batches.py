from __future__ import annotations

from pathlib import Path

import pytest
import torch

from concept_forget.errors import OutOfMemoryError
from concept_forget.out_of_memory import recording_halvings
from concept_forget.training.batches import Item, StepPlan, TokenRow
from concept_forget.training.micro_batches import PartBound, ShrinkingSteps, over_parts


def row(length: int, name: str = "") -> TokenRow:
    return TokenRow(f"{name}{length}", tuple(range(10, 10 + length)), 1)


FORGET = tuple(row(length, "forget") for length in (4, 6, 8, 10))
ANSWERS = tuple(row(length, "answer") for length in (5, 5, 9, 10))
PLAN = StepPlan((FORGET,), (4,), seed=0, pad_token=0, batch_tokens=1000)
PAIRED = StepPlan((FORGET, ANSWERS), (4, 4), seed=0, pad_token=0, batch_tokens=1000, follows={1: 0})


def test_a_step_cut_smaller_is_the_step_of_a_smaller_bound_and_later_ones_with_it(tmp_path: Path) -> None:
    steps = ShrinkingSteps(PLAN, tmp_path)
    assert not steps.shrunk
    assert len(steps(3).batches) == 1
    with recording_halvings() as told:
        cut = steps.halve(3, steps(3).batches[0])
    smaller = StepPlan((FORGET,), (4,), seed=0, pad_token=0, batch_tokens=20)
    assert [batch.items for batch in cut.batches] == [batch.items for batch in smaller(3).batches]
    assert [batch.items for batch in steps(7).batches] == [batch.items for batch in smaller(7).batches]
    assert len(steps(2).batches) == 1  # which went well
    assert (cut.rows, cut.tokens) == (PLAN(3).rows, PLAN(3).tokens)
    assert "4 rows of 10 tokens at step 4: going on with batches of 20 padded tokens" in told[0]


def test_a_fit_that_goes_on_cuts_every_step_as_the_first_try_did(tmp_path: Path) -> None:
    first = ShrinkingSteps(PLAN, tmp_path)
    first.halve(5, first.halve(3, first(3).batches[0]).batches[0])
    with recording_halvings() as told:
        again = ShrinkingSteps(PLAN, tmp_path)
    for step in (0, 2, 3, 4, 5, 9):
        assert [b.items for b in again(step).batches] == [b.items for b in first(step).batches]
    assert [len(again(step).batches) for step in (2, 3, 5)] == [1, 2, 4]
    assert len(told) == 2


def test_rows_that_belong_together_are_never_parted(tmp_path: Path) -> None:
    steps = ShrinkingSteps(PAIRED, tmp_path)
    step = steps(0)
    for _ in range(2):
        step = steps.halve(0, max(step.batches, key=lambda batch: batch.padded_tokens))
        for batch in step.batches:
            groups = [[item.index for item in batch.items if item.group == group] for group in (0, 1)]
            assert groups[0] == groups[1]
    assert [len(batch.items) for batch in step.batches] == [2, 2, 2, 2]
    with pytest.raises(OutOfMemoryError, match=r"2 rows of 10 tokens, which have to pass together\n  → lower"):
        steps.halve(0, steps.halve(0, step.batches[0]).batches[0])


def test_all_rows_are_computed_once_in_parts_that_fit() -> None:
    items = [Item(0, index, row(length)) for index, length in enumerate((3, 9, 4, 8, 7, 2, 9))]
    tried: list[int] = []

    def total(part: list[Item]) -> int:
        padded = len(part) * max(len(item.row.tokens) for item in part)
        tried.append(padded)
        if padded > 20:
            torch.empty(1 << 50)
        return padded

    bound = PartBound(10_000)
    found = list(over_parts(items, bound, total))
    assert sorted(item.index for part, _ in found for item in part) == list(range(7))
    assert all(padded <= 20 for _, padded in found)
    assert tried[0] == 63
    again = list(over_parts(items, bound, total))
    assert again == list(over_parts(items, PartBound(bound.tokens), total))
    assert tried[-2 * len(again) :] == 2 * [padded for _, padded in again]  # nothing larger was tried
    with pytest.raises(OutOfMemoryError, match="1 rows of 40 tokens"):
        list(over_parts([Item(0, 0, row(40))], PartBound(10_000), total))


def test_beside_other_processes_nobody_shrinks_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They have gone on with their own batches: the launcher has to end them all."""
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    steps = ShrinkingSteps(PLAN, tmp_path)
    with pytest.raises(MemoryError, match=r"lower `unlearn.batch_tokens`"):
        steps.halve(0, steps(0).batches[0])
