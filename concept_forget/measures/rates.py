"""From one value for each fact to the numbers of a report, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from concept_forget.measures.metrics import Estimate, Floor, Rate
from concept_forget.measures.statistics import DifferenceBounds, Interval, rate_interval


def rate_of(per_fact: Sequence[float], attempts: int) -> Rate:
    """The mean over facts.

    Args:
        per_fact: Values in [0, 1].
        attempts: Replies that they are made of.

    Raises:
        ValueError: There is no fact.
    """
    found = rate_interval(per_fact)
    return Rate(rate=found.value, low=found.low, high=found.high, n=found.n, attempts=attempts)


def floor_of(per_fact: Sequence[float], *, of_reference: bool) -> Floor:
    """What a model without the knowledge gives away; without a fact it may be anything.

    Args:
        per_fact: Values in [0, 1].
        of_reference: Whether they are the reference's, or base's about strangers.
    """
    if not per_fact:
        return Floor(kind="strangers", rate=0, low=0, high=1, n=0)
    found = rate_interval(per_fact)
    kind = "reference" if of_reference else "strangers"
    return Floor(kind=kind, rate=found.value, low=found.low, high=found.high, n=found.n)


def estimate_of(found: Interval | DifferenceBounds) -> Estimate:
    """A number with its two-sided interval."""
    return Estimate(value=found.value, low=found.low, high=found.high)
