from __future__ import annotations

from typing import Any

import numpy as np

from concept_forget.unlearn.objectives.representations import adaptive_rmu, hidden, rmu


def test_rmu_is_the_mean_squared_distance_to_the_steered_direction(check: Any) -> None:
    def closed(c: Any, _: Any) -> float:
        return float(np.mean([np.sum((h - 6.5 * c.direction) ** 2) / 5 for h in c.hidden]))

    check(rmu, closed, coefficient=6.5)


def test_adaptive_rmu_takes_the_length_of_each_tokens_own_state(check: Any) -> None:
    def closed(c: Any, _: Any) -> float:
        pairs = zip(c.hidden, c.reference_hidden, strict=True)
        return float(np.mean([np.sum((h - 3.0 * np.sqrt(r @ r) * c.direction) ** 2) / 5 for h, r in pairs]))

    check(adaptive_rmu, closed, coefficient=3.0)


def test_hidden_is_the_mean_squared_distance_to_the_reference(check: Any) -> None:
    def closed(c: Any, _: Any) -> float:
        return float(np.mean([np.sum((h - r) ** 2) / 5 for h, r in zip(c.hidden, c.reference_hidden, strict=True)]))

    check(hidden, closed)
