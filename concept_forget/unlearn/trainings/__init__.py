"""Methods with a training of their own; importing this package registers them."""

from __future__ import annotations

from concept_forget.unlearn.trainings import exact, private, reinforcement  # noqa: F401  # they register themselves
from concept_forget.unlearn.trainings.registry import TRAININGS, Task, Training

__all__ = ["TRAININGS", "Task", "Training"]
