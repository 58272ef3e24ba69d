"""What unlearning came to, whatever the method."""

from __future__ import annotations

from dataclasses import dataclass, field

from concept_forget.records import ModelSpec
from concept_forget.unlearn.history import Entry


@dataclass(frozen=True, slots=True)
class UnlearnResult:
    """What unlearning came to.

    ``model`` is where the unlearned model lies, its own paths relative to the folder it was written to. ``best_step``
    is the step whose weights it holds, ``steps`` the last that was trained; ``validation`` counts the rows that could
    tell something and holds their mean floor. ``details`` are what the method has to say of itself alone, such as the
    privacy that it spent.
    """

    model: ModelSpec
    history: tuple[Entry, ...]
    steps: int
    best_step: int
    stop_reason: str
    reference: str | None
    reference_error: float | None
    rows: dict[str, dict[str, object]]
    validation: dict[str, float]
    parameters: int
    trained_parameters: int
    flops: float
    peak_memory_bytes: int
    details: dict[str, object] = field(default_factory=dict)
