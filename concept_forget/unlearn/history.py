"""The record of a run, look by look, and what follows from it: which step to keep, and when to stop."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from concept_forget.workspace import write_text

PATIENCE = 3
"""Looks without a better score after which a run that stops by validation ends."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One look. Losses are means over the steps since the one before; ``validation_*`` as ``validation.Look`` defines.

    ``seconds`` and ``flops`` count from the start of the run.
    """

    step: int
    loss: float | None
    forget_loss: float | None
    retain_loss: float | None
    validation_forget: float | None
    validation_retain: float | None
    validation_score: float | None
    leak: dict[str, float]
    greedy: dict[str, float]
    below: float | None
    reference_error: float | None
    learning_rate: float
    flops: float
    seconds: float


def write_history(path: Path, entries: list[Entry]) -> None:
    """Write the record, one look per line."""
    write_text(path, "".join(json.dumps(asdict(entry)) + "\n" for entry in entries))


def read_history(path: Path, until: int) -> list[Entry]:
    """The record of an interrupted run up to the step from which it goes on."""
    if not path.is_file():
        return []
    entries = [Entry(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    return [entry for entry in entries if entry.step <= until]


def chosen_step(entries: list[Entry], stop: Literal["steps", "validation"]) -> int | None:
    """The step whose weights are kept: the best on validation, the earliest of equals; or simply the last.

    None while there is no look after the start.
    """
    looks = [entry for entry in entries if entry.step > 0]
    if not looks:
        return None
    if stop == "steps":
        return looks[-1].step
    return max(looks, key=lambda entry: (entry.validation_score or 0.0, -entry.step)).step


def is_over(entries: list[Entry], stop: Literal["steps", "validation"]) -> bool:
    """Whether validation has had no better score for ``PATIENCE`` looks."""
    chosen = chosen_step(entries, stop)
    if stop == "steps" or chosen is None:
        return False
    return sum(entry.step > chosen for entry in entries) >= PATIENCE
