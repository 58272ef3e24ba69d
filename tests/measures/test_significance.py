"""Paired tests: against exact counts and closed forms, and by simulation against their promised error rates."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from concept_forget.measures.significance import judge_equivalence, permutation_p_value, plan_comparison
from concept_forget.measures.statistics import difference_bounds, holm


def ones(hits: int, facts: int) -> tuple[float, ...]:
    return (1.0,) * hits + (0.0,) * (facts - hits)


def differing(more: int, less: int, agreeing: int = 0) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Rates of two models: the first leaks ``more`` facts alone, the second ``less``."""
    return ones(more, more + less + agreeing), (0.0,) * more + (1.0,) * less + (0.0,) * agreeing


def count_flips(first: list[Fraction], second: list[Fraction]) -> float:
    """The share of sign flips whose sum is at least as far from 0, in exact arithmetic, zeros flipped too."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    seen = abs(sum(differences))
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(value >= seen for value in sums) / len(sums)


@pytest.mark.parametrize(("more", "less"), [(2, 0), (5, 0), (9, 2), (13, 0), (6, 6)])
def test_few_facts_that_differ_are_counted_as_the_sign_test_counts_them(more: int, less: int) -> None:
    found = permutation_p_value(*differing(more, less, agreeing=30), seed=0)
    assert found == pytest.approx(stats.binomtest(more, more + less).pvalue, abs=1e-12)


def test_shares_of_attempts_are_counted_exactly_though_thirds_are_no_binary_numbers() -> None:
    rng = np.random.default_rng(0)
    for attempts in (3, 10, 7):
        for _ in range(6):
            first, second = rng.integers(0, attempts + 1, (2, 8))
            exact = count_flips(
                [Fraction(int(a), attempts) for a in first], [Fraction(int(b), attempts) for b in second]
            )
            assert permutation_p_value(first / attempts, second / attempts, seed=0) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize(("more", "less"), [(9, 5), (14, 3), (30, 18), (90, 60)])
def test_many_facts_that_differ_are_drawn_close_to_the_exact_count(more: int, less: int) -> None:
    exact = stats.binomtest(more, more + less).pvalue
    drawn = permutation_p_value(*differing(more, less), seed=1)
    assert drawn == pytest.approx(
        exact, abs=4 * (2 * exact / 10_000) ** 0.5 + 3e-4
    )  # four standard errors of 2 × a tail
    assert drawn == permutation_p_value(*differing(more, less), seed=1)


def test_a_drawn_p_value_is_never_zero() -> None:
    assert permutation_p_value(ones(200, 200), ones(0, 200), seed=0) == pytest.approx(2 / 10_000)


def test_neither_the_models_nor_the_facts_order_matters() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.integers(0, 5, (2, 12)) / 4
    order = rng.permutation(12)
    expected = permutation_p_value(first, second, seed=0)
    assert permutation_p_value(second, first, seed=0) == pytest.approx(expected)
    assert permutation_p_value(first[order], second[order], seed=5) == pytest.approx(expected)


@pytest.mark.parametrize(("more", "less"), [(0, 0), (1, 0)])
def test_a_single_fact_that_differs_shows_nothing(more: int, less: int) -> None:
    assert permutation_p_value(*differing(more, less, agreeing=20), seed=0) == 1.0


@pytest.mark.parametrize(("facts", "attempts"), [(12, 1), (44, 4)])
def test_models_that_leak_alike_are_called_different_no_more_often_than_promised(facts: int, attempts: int) -> None:
    """Each fact has a rate of its own, the same for both models: attempts at a fact are alike, its pairs exchangeable."""
    rng = np.random.default_rng(facts)
    p_values = []
    for number in range(200):
        rates = rng.beta(0.3, 0.7, facts)
        first, second = rng.binomial(attempts, rates, (2, facts)) / attempts
        p_values.append(permutation_p_value(first, second, seed=number))
    assert np.mean(np.array(p_values) < 0.05) <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5


@pytest.mark.parametrize(("first", "second"), [((), ()), ((0.0, 1.0), (0.0,)), ((0.5, 1.5), (0.0, 0.0))])
def test_what_is_no_pair_of_rates_is_refused(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="fact"):
        permutation_p_value(first, second, seed=0)
    with pytest.raises(ValueError, match="fact"):
        judge_equivalence(first, second, 0.1)


def test_likeness_is_refused_under_the_facts_that_it_takes_and_shown_from_there() -> None:
    """With no fact that differs the bound is 1 - 0.05^(1/n): under 0.10 from 29 facts on."""
    refused = judge_equivalence(ones(3, 28), ones(3, 28), 0.10)
    assert (refused.outcome, refused.p_value, refused.n, refused.facts_needed) == ("underpowered", None, 28, 29)
    apart = judge_equivalence(ones(10, 10), ones(0, 10), 0.10)  # whatever they show: the permutation test tells that
    assert (apart.outcome, apart.facts_needed) == ("underpowered", 29)
    shown = judge_equivalence(ones(3, 29), ones(3, 29), 0.10)
    assert (shown.outcome, shown.facts_needed) == ("alike", None)
    assert shown.upper == pytest.approx(1 - 0.05 ** (1 / 29), abs=1e-9)
    assert shown.p_value == pytest.approx(0.9**29, abs=1e-6)  # the tail at which the bound is 0.10


def test_models_that_disagree_both_ways_need_more_facts_and_with_those_are_alike() -> None:
    refused = judge_equivalence(*differing(4, 4, agreeing=34), 0.10)
    assert (refused.outcome, refused.p_value) == ("underpowered", None)
    assert refused.facts_needed is not None
    assert 63 < refused.facts_needed <= 84
    assert judge_equivalence(*differing(6, 6, agreeing=51), 0.10).outcome == "underpowered"
    assert judge_equivalence(*differing(8, 8, agreeing=68), 0.10).outcome == "alike"


def test_a_difference_beyond_the_margin_is_shown_as_one_in_either_sense() -> None:
    over, under = (judge_equivalence(*differing(*pair, agreeing=22), 0.10) for pair in ((20, 0), (0, 20)))
    assert (over.outcome, under.outcome) == ("different", "different")
    assert (over.lower, over.value) == (pytest.approx(-under.upper), pytest.approx(-under.value))
    assert over.lower > 0.10


def test_enough_facts_that_lean_one_way_leave_it_open_and_say_how_many_would_tell() -> None:
    found = judge_equivalence(*differing(3, 0, agreeing=39), 0.10)
    assert found.outcome == "undecided"
    assert found.p_value is not None
    assert found.p_value > 0.05
    assert found.facts_needed is not None
    times = -(-found.facts_needed // 42)
    assert judge_equivalence(*differing(3 * times, 0, agreeing=39 * times), 0.10).outcome == "alike"
    assert judge_equivalence(*differing(3 * (times - 2), 0, agreeing=39 * (times - 2)), 0.10).outcome == "undecided"
    at_the_margin = judge_equivalence(*differing(4, 0, agreeing=36), 0.10)
    assert (at_the_margin.outcome, at_the_margin.facts_needed) == ("undecided", None)


def test_the_outcome_is_that_of_the_difference_bounds_and_of_the_p_value() -> None:
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(60):
        first = rng.binomial(3, rng.choice([0.02, 0.1, 0.4]), 60) / 3
        second = rng.binomial(3, 0.05, 60) / 3
        found, bounds = judge_equivalence(first, second, 0.12), difference_bounds(first, second)
        assert (found.lower, found.upper) == (bounds.lower, bounds.upper)
        assert (found.outcome == "alike") == (bounds.lower > -0.12 and bounds.upper < 0.12)
        assert (found.outcome == "different") == (bounds.lower > 0.12 or bounds.upper < -0.12)
        if found.p_value is not None:
            assert (found.p_value < 0.05) == (found.outcome == "alike")
        outcomes.add(found.outcome)
    assert outcomes >= {"alike", "different"}


@pytest.mark.parametrize("attempts", [1, 4])
def test_wrong_claims_at_the_margin_are_as_rare_as_promised(attempts: int) -> None:
    rng = np.random.default_rng(attempts)
    outcomes = []
    for _ in range(300):
        first, second = (rng.binomial(attempts, rate, 120) / attempts for rate in (0.15, 0.05))
        outcomes.append(judge_equivalence(first, second, 0.10).outcome)
    assert outcomes.count("alike") / 300 <= 0.08  # 0.05 promised, and three standard errors of a rate over 300
    assert outcomes.count("different") / 300 <= 0.08


@pytest.mark.parametrize("margin", [0, 1, -0.1])
def test_a_margin_that_means_nothing_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        judge_equivalence(ones(0, 42), ones(0, 42), margin)


@pytest.mark.parametrize(("tests", "level"), [(1, 0.95), (5, 0.95), (66, 0.95), (8, 0.9)])
def test_the_planned_numbers_of_facts_are_those_that_the_tests_take(tests: int, level: float) -> None:
    plan = plan_comparison(14, tests, 0.10, level)
    for facts, shown in ((plan.facts_different, True), (plan.facts_different - 1, False)):
        smallest = permutation_p_value(ones(facts, facts), ones(0, facts), seed=0)
        assert (holm([smallest] + [1.0] * (tests - 1))[0] < 1 - level) == shown
    for facts, outcome in ((plan.facts_alike, "alike"), (plan.facts_alike - 1, "underpowered")):
        assert judge_equivalence(ones(0, facts), ones(0, facts), 0.10, level).outcome == outcome


def test_a_plan_says_what_is_missing() -> None:
    assert str(plan_comparison(14, 5, 0.10)) == (
        "14 facts: too few to show the model like the reference within 10%; 15 more, if they agree on every fact, would "
        "show it; a difference shows over 5 tests once 8 facts differ in the same sense"
    )
    assert str(plan_comparison(5, 1, 0.10)).endswith("a difference cannot be shown in one test with fewer than 6 facts")
    assert str(plan_comparison(0, 5, 0.10)).startswith(
        "no facts: too few to show the model like the reference within 10%; 29,"
    )
    assert str(plan_comparison(42, 5, 0.10)).startswith("42 facts: enough to show")
    assert str(plan_comparison(1, 5, 0.10)).startswith("1 fact: too few to show")
    with pytest.raises(ValueError, match="one test"):
        plan_comparison(14, 0, 0.10)
