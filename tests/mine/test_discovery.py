from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from concept_forget.mine.discovery import ScoreCounts, cut_off_for, estimate_rates, rate_at


def count(scores: list[float] | NDArray[np.float64]) -> ScoreCounts:
    counts = ScoreCounts()
    for score in scores:
        counts.add(float(score))
    return counts


def floats(*values: float) -> NDArray[np.float32]:
    return np.sort(np.array(values, dtype=np.float32))


def test_the_estimate_is_that_of_the_formula() -> None:
    unrelated = floats(*np.arange(0.1, 0.291, 0.01))  # 20 scores; their median lies at 0.195
    rates = estimate_rates(count([0.12, 0.5, 0.6, 0.7]), unrelated)
    # One of four is below the median: π₀ · N = min(4, (1 + 1) / 0.5) = 4. Above 0.3 there are 3, each p is 1/21.
    assert rate_at(rates, 0.3) == pytest.approx(4 * (1 / 21) / 3, abs=1e-4)
    # Above 0.285 there is one unrelated score: p = 2/21.
    assert rate_at(rates, 0.285) == pytest.approx(4 * (2 / 21) / 3, abs=1e-4)
    assert rate_at(rates, 0.65) == pytest.approx(4 * (1 / 21) / 1, abs=1e-4)
    assert rate_at(rates, 0.7) == 0  # nothing is above it
    assert rate_at(rates, -1) == 1


def test_where_nothing_looks_unrelated_the_share_of_the_unrelated_falls() -> None:
    rates = estimate_rates(count([0.5] * 100), floats(*np.linspace(0, 0.3, 99)))
    assert rate_at(rates, 0.4) == pytest.approx((1 / 0.5) * (1 / 100) / 100, abs=1e-4)


def test_a_score_equal_to_the_cut_off_is_not_above_it() -> None:
    rates = estimate_rates(count([0.5, 0.6]), floats(0.5, 0.55))
    # Above 0.5 there is one unrelated score of two, and one found: 2 · (2/3) / 1, and 1 is the most.
    assert rate_at(rates, 0.5) == 1
    # At 0.55 none is above: 2 · (1/3) / 1.
    assert rate_at(rates, 0.55) == pytest.approx(2 / 3, abs=1e-4)


def test_the_lowest_cut_off_that_holds_the_rate_is_taken() -> None:
    rates = estimate_rates(count([*np.linspace(0.1, 0.3, 100), *[0.6] * 50]), floats(*np.linspace(0.1, 0.31, 999)))
    cut = cut_off_for(rates, 0.05)
    assert rate_at(rates, cut) <= 0.05
    assert rate_at(rates, cut - 1e-4) > 0.05


def test_where_no_cut_off_holds_the_rate_nothing_is_above_it() -> None:
    assert cut_off_for(estimate_rates(count([0.2, 0.3, 0.1]), floats(0.15, 0.25, 0.35)), 0.01) == 0.3


@pytest.mark.parametrize("related", [20, 200])
def test_of_what_is_let_through_no_larger_share_is_unrelated_than_was_asked_for(related: int) -> None:
    rng = np.random.default_rng(related)
    shares, found = [], []
    for _ in range(300):
        null, unrelated = rng.normal(0.3, 0.05, 2000), rng.normal(0.3, 0.05, 400)
        about = rng.normal(0.55, 0.05, related)
        scores = np.concatenate([unrelated, about]).round(4)
        cut = cut_off_for(estimate_rates(count(scores), floats(*null)), 0.1)
        wrong, right = (unrelated.round(4) > cut).sum(), (about.round(4) > cut).sum()
        shares.append(wrong / max(1, wrong + right))
        found.append(right / related)
    assert np.mean(shares) <= 0.1 + 3 * np.std(shares) / len(shares) ** 0.5
    assert np.mean(shares) >= 0.05  # and it is not held by letting nothing through
    assert np.mean(found) > 0.9
