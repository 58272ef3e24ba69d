"""Confidence limits: against the exact binomial, and by simulation against their promised coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from concept_forget.measures.limits import (
    difference_limits,
    mean_limits,
    pair_up,
    split_difference,
    take_moments,
)

DRAWS = 1500
LEAST = 0.93  # of 0.95 promised: a coverage of 0.95 shows as 0.93 in one of 3000 samples of 1500 draws

Facts = NDArray[np.float64]


def draw_facts(rng: np.random.Generator, rate: float, kind: str, facts: int, draws: int = DRAWS) -> Facts:
    """Per-fact rates, shape (draws, facts), of mean ``rate``."""
    if kind == "one attempt":
        return (rng.random((draws, facts)) < rate).astype(float)
    if kind == "all or a little":  # most facts leak a little, some whole: the hardest case for a variance that is seen
        little = rate / 2
        return np.where(rng.random((draws, facts)) < (rate - little) / (1 - little), 1.0, little)
    attempts, correlation = {
        "independent": (4, 0.0), "alike": (4, 0.5), "many": (10, 0.2), "almost one": (10, 0.9), "uneven": (8, 0.4),
        "exact": (0, 0.1),
    }[kind]  # fmt: skip
    if correlation:
        spread = (1 - correlation) / correlation
        rates = rng.beta(rate * spread, (1 - rate) * spread, (draws, facts))
    else:
        rates = np.full((draws, facts), rate)
    if not attempts:
        return rates
    asked = rng.integers(1, attempts + 1, rates.shape) if kind == "uneven" else attempts
    return rng.binomial(asked, rates) / asked


KINDS = ("one attempt", "independent", "alike", "many", "almost one", "uneven", "exact", "all or a little")


@pytest.mark.parametrize(("hits", "facts"), [(0, 14), (1, 14), (7, 20), (42, 42), (3, 200)])
@pytest.mark.parametrize("tail", [0.05, 0.025])
def test_values_of_zero_and_one_have_the_exact_binomial_limits(hits: int, facts: int, tail: float) -> None:
    low, high = mean_limits(take_moments([1.0] * hits + [0.0] * (facts - hits)), tail)
    exact = stats.binomtest(hits, facts).proportion_ci(1 - 2 * tail, method="exact")
    assert low == pytest.approx(exact.low, abs=1e-9)
    assert high == pytest.approx(exact.high, abs=1e-9)


def test_limits_mirror_when_leaks_become_silences() -> None:
    values = np.array([0.0, 0.25, 0.25, 1.0, 0.5, 0.0])
    low, high = mean_limits(take_moments(values), 0.05)
    mirrored_low, mirrored_high = mean_limits(take_moments(1 - values), 0.05)
    assert low == pytest.approx(1 - mirrored_high, abs=1e-12)
    assert high == pytest.approx(1 - mirrored_low, abs=1e-12)


def test_a_fractional_rate_is_never_less_certain_than_a_coin() -> None:
    fractions = take_moments([0.5] * 40)
    coins = take_moments([0.0, 1.0] * 20)
    assert fractions.spread < 0.5
    assert mean_limits(fractions, 0.05)[1] < mean_limits(coins, 0.05)[1]
    assert mean_limits(fractions, 0.05)[1] > 0.5 + 0.02  # however alike the facts seen, others may differ


def test_samples_side_by_side_are_worked_out_as_if_alone() -> None:
    values = np.random.default_rng(0).integers(0, 5, (3, 2, 12)) / 4
    low, high = mean_limits(take_moments(values), 0.05)
    for place in itertools.product(range(3), range(2)):
        alone = mean_limits(take_moments(values[place]), 0.05)
        assert (low[place], high[place]) == (pytest.approx(alone[0]), pytest.approx(alone[1]))


@pytest.mark.parametrize("facts", [20, 50, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_limits_hold_their_coverage_at_every_rate(facts: int, kind: str) -> None:
    rng = np.random.default_rng(facts)
    for rate in (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98):
        moments = take_moments(draw_facts(rng, rate, kind, facts))
        low, high = mean_limits(moments, 0.025)
        assert np.mean((low <= rate) & (rate <= high)) >= LEAST, rate
        one_sided_low, one_sided_high = mean_limits(moments, 0.05)
        assert np.mean(one_sided_low <= rate) >= LEAST, rate
        assert np.mean(rate <= one_sided_high) >= LEAST, rate


def exact_width(rate: float, facts: int) -> float:
    """The mean width of Clopper and Pearson's interval where each fact is asked once, over all that may come out."""
    exact = [stats.binomtest(hits, facts).proportion_ci(method="exact") for hits in range(facts + 1)]
    chances = stats.binom.pmf(range(facts + 1), facts, rate)
    return float(sum(chance * (found.high - found.low) for chance, found in zip(chances, exact, strict=True)))


@pytest.mark.parametrize("rate", [0.02, 0.25, 0.9, 0.98])
@pytest.mark.parametrize("facts", [20, 100])
def test_intervals_are_no_wider_than_the_facts_alone_would_make_them(facts: int, rate: float) -> None:
    widest = 1.3 * exact_width(rate, facts)
    rng = np.random.default_rng(1)
    for kind in KINDS:
        low, high = mean_limits(take_moments(draw_facts(rng, rate, kind, facts)), 0.025)
        assert np.mean(high - low) <= widest, kind


def draw_pairs(rng: np.random.Generator, rates: tuple[float, float], kind: str, facts: int) -> tuple[Facts, Facts]:
    if kind == "paired":  # both models tend to leak the same facts
        first = rng.random((DRAWS, facts))
        second = np.where(rng.random((DRAWS, facts)) < 0.7, first, rng.random((DRAWS, facts)))
        return (first < rates[0]).astype(float), (second < rates[1]).astype(float)
    first, second = (draw_facts(rng, rate, kind, facts) if rate else np.zeros((DRAWS, facts)) for rate in rates)
    return first, second


@pytest.mark.parametrize("facts", [14, 42, 150])
@pytest.mark.parametrize("kind", ["one attempt", "independent", "alike", "paired"])
def test_difference_limits_hold_their_coverage_at_rare_and_common_rates(facts: int, kind: str) -> None:
    rng = np.random.default_rng(facts)
    for rates in (
        (0.01, 0.01),
        (0.02, 0),
        (0, 0.02),
        (0.05, 0),
        (0.1, 0.02),
        (0.15, 0),
        (0.25, 0.25),
        (0.5, 0.3),
        (0.97, 0.9),
    ):
        gain, loss = split_difference(np.subtract(*draw_pairs(rng, rates, kind, facts)))
        difference = rates[0] - rates[1]
        low, high = difference_limits(gain, loss, 0.05)
        assert np.mean(low <= difference + 1e-12) >= LEAST, rates
        assert np.mean(difference - 1e-12 <= high) >= LEAST, rates


def test_many_facts_bring_the_difference_close_to_the_usual_interval() -> None:
    first, second = draw_pairs(np.random.default_rng(0), (0.3, 0.2), "independent", 1000)
    gain, loss = split_difference(first - second)
    low, high = difference_limits(gain, loss, 0.025)
    usual = 2 * 1.96 * (first - second).std(axis=-1) / np.sqrt(1000)
    assert np.mean((high - low) / usual) == pytest.approx(1, abs=0.06)


def test_the_facts_order_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-4, 5, 30) / 4
    assert difference_limits(*split_difference(values), 0.05) == pytest.approx(
        difference_limits(*split_difference(rng.permutation(values)), 0.05)
    )


@pytest.mark.parametrize("values", [[], [0.5, 1.5], [-0.2], [float("nan")]])
def test_what_is_no_rate_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="rate"):
        take_moments(values)


def test_pairs_need_the_same_facts() -> None:
    with pytest.raises(ValueError, match=r"the same facts, got \[2, 3\]"):
        pair_up([0, 1], [0, 1, 1])
