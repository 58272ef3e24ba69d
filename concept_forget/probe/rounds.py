"""The model from which a round of several began, asked the same as the one it left: what the round gained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from concept_forget.config import Config
from concept_forget.measures.metrics import ByModel, Measurements
from concept_forget.probe.asking import COLLATERAL, Planned
from concept_forget.probe.measuring import measure
from concept_forget.records import Attempt

PREVIOUS = "previous"
"""The name under which the replies of that model stand."""


def plan_previous(questions: Sequence[Planned]) -> list[Planned]:
    """What the model is asked: all about the concepts, nothing about their neighbours."""
    return [question for question in questions if question.attack != COLLATERAL]


def measure_previous(
    attempts: Sequence[Attempt], leaks: Sequence[float], families: Mapping[str, str], config: Config
) -> Measurements:
    """What the attempts say of that model, as ``measure`` says it of the unlearned one: the same facts, floor and base.

    Args:
        attempts: Of all models.
        leaks: What each attempt gave away, in [0, 1].
        families: Attack → family, of those that were made.
        config: The whole config.
    """
    own = [
        (dataclasses.replace(attempt, model="unlearned") if attempt.model == PREVIOUS else attempt, leak)
        for attempt, leak in zip(attempts, leaks, strict=True)
        if attempt.model != "unlearned" and attempt.attack != COLLATERAL
    ]
    return measure(
        [attempt for attempt, _ in own],
        [leak for _, leak in own],
        attack_families=families,
        gate_tiers=config.gate_tiers,
        threshold=config.probe.threshold,
        fluency=ByModel(base=None, unlearned=None),
    )
