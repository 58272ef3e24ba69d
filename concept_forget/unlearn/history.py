"""The record of a run, look by look, and what follows from it: which step to keep, and when to stop."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from concept_forget.workspace import read_rows, write_text

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
    entries = [Entry(**row) for row in read_rows(path)]
    return [entry for entry in entries if entry.step <= until]


@dataclass(frozen=True, slots=True)
class StopRule:
    """When a run ends, and which of its looks may be kept.

    Args:
        kind: ``steps``: after all of them, and the last is kept. Else the best on validation is kept, and the run
            ends when that gets no better (``validation``) or the leak has fallen to ``level`` (the other two).
        level: Mean leak on validation, in [0, 1].
        retain_limit: Mean retain loss since the look before, above which the run ends and a look is not kept; None:
            none.
    """

    kind: Literal["steps", "validation", "threshold", "reference"]
    level: float = 0.0
    retain_limit: float | None = None

    def is_within(self, entry: Entry) -> bool:
        """Whether the retain loss is in its band."""
        return self.retain_limit is None or entry.retain_loss is None or entry.retain_loss <= self.retain_limit


def chosen_step(entries: list[Entry], rule: StopRule) -> int | None:
    """The step whose weights are kept: the best on validation, the earliest of equals; or simply the last.

    None while there is no look after the start that is within the band of the retain loss.
    """
    looks = [entry for entry in entries if entry.step > 0 and rule.is_within(entry)]
    if not looks:
        return None
    if rule.kind == "steps":
        return looks[-1].step
    return max(looks, key=lambda entry: (entry.validation_score or 0.0, -entry.step)).step


def why_over(entries: list[Entry], rule: StopRule) -> str | None:
    """Why the run ends here, or None where it goes on."""
    if not entries or entries[-1].step == 0:
        return None
    last, chosen = entries[-1], chosen_step(entries, rule)
    if not rule.is_within(last):
        return (
            f"the retain loss left its band at step {last.step}: {last.retain_loss:.4g} is above {rule.retain_limit:g}"
        )
    if rule.kind in ("threshold", "reference") and 1 - (last.validation_forget or 0.0) <= rule.level:
        return f"validation reached the {rule.kind} at step {last.step}"
    waited = sum(entry.step > chosen for entry in entries) if chosen is not None else 0
    if rule.kind == "validation" and waited >= PATIENCE:
        return f"validation was best after step {chosen} and did not get better"
    return None
