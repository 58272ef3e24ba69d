"""The record of a run: which step is kept, and when to stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from concept_forget.unlearn.history import PATIENCE, Entry, chosen_step, is_over, read_history, write_history


def entry(step: int, score: float | None) -> Entry:
    return Entry(
        step=step, loss=0.5, forget_loss=0.25, retain_loss=None, validation_forget=score, validation_retain=1.0,
        validation_score=score, leak={"new_form": 0.5}, greedy={}, below=None, reference_error=None,
        learning_rate=1e-4, flops=1e9, seconds=1.5,
    )  # fmt: skip


def looks(*scores: float | None) -> list[Entry]:
    return [entry(10 * number, score) for number, score in enumerate(scores)]


def test_the_best_step_is_kept_and_of_equals_the_earliest() -> None:
    assert chosen_step(looks(0.9, 0.2, 0.6, 0.6, 0.1), "validation") == 20
    assert chosen_step(looks(0.9, 0.2, 0.6, 0.6, 0.1), "steps") == 40


@pytest.mark.parametrize("stop", ["validation", "steps"])
def test_the_start_is_no_step_to_keep(stop: str) -> None:
    assert chosen_step(looks(1.0), stop) is None  # type: ignore[arg-type]
    assert chosen_step([], stop) is None  # type: ignore[arg-type]


def test_a_run_is_over_when_patience_is() -> None:
    rising = [0.0, 0.5]
    assert not is_over(looks(*rising, *[0.4] * (PATIENCE - 1)), "validation")
    assert is_over(looks(*rising, *[0.4] * PATIENCE), "validation")
    assert not is_over(looks(*rising, *[0.4] * (PATIENCE - 1), 0.6), "validation")
    assert not is_over(looks(*rising, *[0.4] * 9), "steps")
    assert not is_over(looks(0.0), "validation")


def test_the_record_comes_back_as_it_was_up_to_the_step_to_go_on_from(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    written = looks(0.0, 0.5, None, 0.7)
    write_history(path, written)
    assert read_history(path, 30) == written
    assert read_history(path, 15) == written[:2]
    assert read_history(tmp_path / "absent.jsonl", 30) == []
