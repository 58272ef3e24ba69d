"""The challenge's score: by hand on small populations, and by simulation where ε is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from concept_forget.benchmarks.challenge import (
    CAP,
    DELTA,
    attack_epsilon,
    challenge_score,
    example_epsilon,
    forgetting_quality,
    log_odds,
    resolvable_epsilon,
)


def test_an_attack_shows_the_epsilon_of_its_errors() -> None:
    assert attack_epsilon(0.25, 0.5) == pytest.approx(math.log((1 - DELTA - 0.5) / 0.25))
    assert attack_epsilon(0.5, 0.25) == attack_epsilon(0.25, 0.5)
    assert attack_epsilon(0.1, 0.1) == pytest.approx(math.log((1 - DELTA - 0.1) / 0.1))
    assert attack_epsilon(0.5, 0.5) == 0  # log(1 - 2δ) lies below 0
    assert attack_epsilon(1.0, 0.5) == 0
    assert attack_epsilon(0, 0) == math.inf
    assert attack_epsilon(0, 0.5) is None
    assert attack_epsilon(0.5, 0) is None


def test_populations_apart_are_told_apart_without_limit_and_equal_ones_not_at_all() -> None:
    assert example_epsilon([1, 2, 3], [4, 5, 6]) == CAP
    assert example_epsilon([4, 5, 6], [1, 2, 3]) == CAP
    assert example_epsilon([3, 3.5, 3.2], [1, 2, 5, 6]) == CAP  # two thresholds: inside against outside
    assert example_epsilon([1, 2, 5, 6], [3, 3.5, 3.2]) == CAP
    assert example_epsilon([2, 2, 2], [2, 2]) == 0


def test_a_small_case_worked_out_by_hand() -> None:
    # Unlearned 0, 1, 2, 5 and retrained 3, 4, 5.5, 6: calling everything below 2.5 unlearned misses one of four and
    # never errs otherwise, so it is discarded; below 3.5 it errs once on either side: log((1 - δ - 1/4) / (1/4)).
    expected = math.log((0.75 - DELTA) * 4)
    assert example_epsilon([0, 1, 2, 5], [3, 4, 5.5, 6]) == pytest.approx(expected)


def by_force(own: list[float], other: list[float]) -> float:
    """Every interval between any two ends, inside and outside, one after another."""
    ends = [-math.inf, *sorted({*own, *other})]
    found = 0.0
    for low, high in itertools.combinations(ends, 2):
        for flip in (False, True):
            called = [[(low < value <= high) != flip for value in values] for values in (own, other)]
            rates = sum(called[1]) / len(other), 1 - sum(called[0]) / len(own)
            epsilon = attack_epsilon(*(0.0 if rate < 1e-9 else rate for rate in rates))
            found = max(found, epsilon or 0.0)
    return min(CAP, found)


def test_the_search_over_attacks_leaves_none_out() -> None:
    rng = np.random.default_rng(0)
    for size, shift in ((3, 0.0), (8, 1.0), (13, 0.5), (9, 3.0)):
        own, other = rng.normal(shift, 1, size).round(1).tolist(), rng.normal(0, 1, size + 1).round(1).tolist()
        assert example_epsilon(own, other) == pytest.approx(by_force(own, other)), (size, shift)


def test_the_order_of_magnitude_is_right_where_epsilon_is_known() -> None:
    """Exponential numbers whose densities differ by a factor of at most e^ε everywhere, and reach it far out.

    One population is uniform on [0, 1], the other has weight e/(1+e) on the upper half: ε is log(2e / (1 + e)) by one
    bound and log((1+e)/2) by the other, of which attacks find the larger, up to sampling.
    """
    rng = np.random.default_rng(1)
    size = 20_000
    share = math.e / (1 + math.e)
    own = np.round(np.where(rng.random(size) < share, 0.5, 0.0) + rng.random(size) / 2, 2)
    other = np.round(rng.random(size), 2)
    expected = math.log((1 + math.e) / 2)
    found = example_epsilon(own.tolist(), other.tolist())
    assert expected * 0.95 < found < expected + 0.35  # the largest of thousands of attacks lies above the true one


@pytest.mark.parametrize(("epsilon", "quality"), [(0, 1), (0.49, 1), (0.5, 0.5), (1.2, 0.25), (50, 2.0**-100)])
def test_quality_halves_with_every_bin(epsilon: float, quality: float) -> None:
    assert forgetting_quality(epsilon) == quality


def test_the_score_is_forgetting_times_what_was_kept() -> None:
    result = challenge_score(
        [[1, 2, 3], [1, 1, 1]],
        [[4, 5, 6], [1, 1, 1]],
        retain_accuracy=([0.8, 0.9], [1.0, 1.0]),
        test_accuracy=([0.6], [0.8]),
    )
    assert result.epsilons == (CAP, 0.0)
    assert result.forgetting == pytest.approx((1 + 2.0**-100) / 2)
    assert (result.retain_ratio, result.test_ratio) == (pytest.approx(0.85), pytest.approx(0.75))
    assert result.score == pytest.approx(0.5 * 0.85 * 0.75)


def test_so_many_models_resolve_so_much() -> None:
    assert resolvable_epsilon(32) == pytest.approx(math.log(31 - 32 * DELTA))
    worst = [*range(31), 100.0], [*range(200, 231), 10.5]
    assert example_epsilon(*worst) == pytest.approx(resolvable_epsilon(32))


def test_log_odds_are_exact_at_both_ends() -> None:
    assert log_odds(math.log(0.5)) == pytest.approx(0)
    assert log_odds(math.log(0.9)) == pytest.approx(math.log(9))
    assert log_odds(-1e-12) == pytest.approx(math.log(1e12), rel=1e-3)
    assert log_odds(-800.0) == pytest.approx(-800)
    assert math.isfinite(log_odds(0.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: log_odds(0.5), "at most 0"),
        (lambda: example_epsilon([], [1]), "both populations"),
        (lambda: example_epsilon([math.nan], [1]), "both populations"),
        (lambda: resolvable_epsilon(1), "two models"),
        (lambda: challenge_score([], [], retain_accuracy=([1], [1]), test_accuracy=([1], [1])), "no forget example"),
        (lambda: challenge_score([[1]], [[1]], retain_accuracy=([1], [0]), test_accuracy=([1], [1])), "accuracy of 0"),
    ],
)
def test_what_cannot_be_scored_is_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
