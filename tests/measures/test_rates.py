from __future__ import annotations

import pytest
from scipy import stats

from concept_forget.measures.rates import estimate_of, floor_of, rate_of
from concept_forget.measures.statistics import Interval


def test_a_rate_is_the_mean_over_facts_and_tells_how_many_replies_it_is_made_of() -> None:
    rate = rate_of([1.0, 0.0, 0.0, 0.0], attempts=12)
    exact = stats.binomtest(1, 4).proportion_ci(method="exact")
    assert (rate.rate, rate.n, rate.attempts) == (0.25, 4, 12)
    assert rate.low == pytest.approx(exact.low, abs=0.02)
    assert rate.high == pytest.approx(exact.high, abs=0.02)


def test_a_floor_says_whose_it_is_and_without_facts_may_be_anything() -> None:
    known = floor_of([0.0] * 20, of_reference=True)
    assert (known.kind, known.rate, known.n) == ("reference", 0, 20)
    assert 0 < known.high < 0.2
    assert floor_of([0.0], of_reference=False).kind == "strangers"
    unknown = floor_of([], of_reference=True)
    assert (unknown.kind, unknown.low, unknown.high, unknown.n) == ("strangers", 0, 1, 0)


def test_an_estimate_keeps_its_interval() -> None:
    found = estimate_of(Interval(0.3, 0.1, 0.6, 9))
    assert (found.value, found.low, found.high) == (0.3, 0.1, 0.6)
