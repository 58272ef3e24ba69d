"""The record of a run: which step is kept, and when to stop."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from concept_forget.unlearn.history import PATIENCE, Entry, StopRule, chosen_step, read_history, why_over, write_history


def entry(step: int, score: float | None) -> Entry:
    return Entry(
        step=step, loss=0.5, forget_loss=0.25, retain_loss=None, validation_forget=score, validation_retain=1.0,
        validation_score=score, leak={"new_form": 0.5}, greedy={}, below=None, reference_error=None,
        learning_rate=1e-4, flops=1e9, seconds=1.5,
    )  # fmt: skip


def looks(*scores: float | None) -> list[Entry]:
    return [entry(10 * number, score) for number, score in enumerate(scores)]


def test_the_best_step_is_kept_and_of_equals_the_earliest() -> None:
    assert chosen_step(looks(0.9, 0.2, 0.6, 0.6, 0.1), StopRule("validation")) == 20
    assert chosen_step(looks(0.9, 0.2, 0.6, 0.6, 0.1), StopRule("steps")) == 40


@pytest.mark.parametrize("stop", ["validation", "steps"])
def test_the_start_is_no_step_to_keep(stop: str) -> None:
    assert chosen_step(looks(1.0), StopRule(stop)) is None  # type: ignore[arg-type]
    assert chosen_step([], StopRule(stop)) is None  # type: ignore[arg-type]


def test_a_run_is_over_when_patience_is() -> None:
    rising = [0.0, 0.5]
    assert not why_over(looks(*rising, *[0.4] * (PATIENCE - 1)), StopRule("validation"))
    assert why_over(looks(*rising, *[0.4] * PATIENCE), StopRule("validation"))
    assert not why_over(looks(*rising, *[0.4] * (PATIENCE - 1), 0.6), StopRule("validation"))
    assert not why_over(looks(*rising, *[0.4] * 9), StopRule("steps"))
    assert not why_over(looks(0.0), StopRule("validation"))


@pytest.mark.parametrize("kind", ["threshold", "reference"])
def test_a_run_is_over_when_the_leak_has_fallen_to_its_level(kind: str) -> None:
    rule = StopRule(kind, level=0.1)  # type: ignore[arg-type]
    assert why_over(looks(1.0), rule) is None
    assert why_over(looks(0.0, 0.5, *[0.4] * 9), rule) is None
    assert why_over(looks(0.0, 0.89), rule) is None
    assert why_over(looks(0.0, 0.91), rule) == f"validation reached the {kind} at step 10"
    kept = [*looks(0.0), dataclasses.replace(entry(10, 0.8), validation_forget=0.85), *looks(0.0, 0.0, 0.7)[2:]]
    assert chosen_step(kept, rule) == 10


def test_a_look_outside_the_band_of_the_retain_loss_ends_the_run_and_is_not_kept() -> None:
    def lost(step: int, score: float, loss: float) -> Entry:
        return dataclasses.replace(entry(step, score), retain_loss=loss)

    rule = StopRule("validation", retain_limit=0.2)
    within = [entry(0, 0.0), lost(10, 0.5, 0.1)]
    assert why_over(within, rule) is None
    outside = [*within, lost(20, 0.9, 0.25)]
    assert why_over(outside, rule) == "the retain loss left its band at step 20: 0.25 is above 0.2"
    assert chosen_step(outside, rule) == 10
    assert chosen_step(outside, StopRule("validation")) == 20
    assert chosen_step([entry(0, 0.0), lost(10, 0.5, 0.3)], rule) is None


def test_the_record_comes_back_as_it_was_up_to_the_step_to_go_on_from(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    written = looks(0.0, 0.5, None, 0.7)
    write_history(path, written)
    assert read_history(path, 30) == written
    assert read_history(path, 15) == written[:2]
    assert read_history(tmp_path / "absent.jsonl", 30) == []
