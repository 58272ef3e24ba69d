"""Rates, residuals and the verdict: against closed forms, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from concept_forget.measures.statistics import (
    GatedAttack,
    decide,
    difference_bounds,
    excess_p_value,
    holm,
    planned_power,
    rate_interval,
    ratio_interval,
    residual,
)

rates = st.lists(st.integers(0, 4).map(lambda quarter: quarter / 4), min_size=1, max_size=40)


def ones(hits: int, facts: int) -> tuple[float, ...]:
    return (1.0,) * hits + (0.0,) * (facts - hits)


def test_nothing_of_fourteen_reaches_up_to_23_percent() -> None:
    interval = rate_interval(ones(0, 14))
    assert (interval.value, interval.low, interval.n) == (0, 0, 14)
    assert interval.high == pytest.approx(1 - 0.025 ** (1 / 14), abs=1e-9)
    assert 0.22 < interval.high < 0.235


def test_a_rate_has_the_exact_interval_at_any_level() -> None:
    exact = stats.binomtest(5, 30).proportion_ci(0.9, method="exact")
    interval = rate_interval(ones(5, 30), level=0.9)
    assert (interval.low, interval.high) == (pytest.approx(exact.low, abs=1e-9), pytest.approx(exact.high, abs=1e-9))


@given(rates)
def test_an_interval_holds_its_value_and_has_width(per_fact: list[float]) -> None:
    interval = rate_interval(per_fact)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.high - interval.low > 1 / (3 * len(per_fact) + 3)


def test_nothing_against_nothing_can_still_hide_seven_percent() -> None:
    bounds = difference_bounds(ones(0, 42), ones(0, 42))
    assert bounds.value == 0
    assert bounds.upper == pytest.approx(1 - 0.05 ** (1 / 42), abs=1e-9)
    assert bounds.lower == pytest.approx(-bounds.upper, abs=1e-12)


def test_models_that_agree_on_every_fact_may_still_differ_on_others() -> None:
    bounds = difference_bounds(ones(21, 42), ones(21, 42))
    assert bounds.upper == pytest.approx(1 - 0.05 ** (1 / 42), abs=1e-9)


@given(rates, st.randoms(use_true_random=False))
def test_a_difference_turns_over_with_its_models(first: list[float], random: object) -> None:
    second = sorted(first)
    there, back = difference_bounds(first, second), difference_bounds(second, first)
    assert there.value == pytest.approx(-back.value)
    assert (there.low, there.upper) == (pytest.approx(-back.high), pytest.approx(-back.lower))
    assert there.low <= there.lower <= there.value <= there.upper <= there.high


def test_facts_in_the_same_order_are_worth_more_than_shuffled_ones() -> None:
    first = ones(20, 60)
    paired = difference_bounds(first, ones(18, 60))
    shuffled = difference_bounds(first, tuple(np.random.default_rng(0).permutation(ones(18, 60))))
    assert paired.upper < shuffled.upper - 0.05


def test_the_residual_is_the_share_of_base_above_the_floor() -> None:
    found = residual(ones(14, 40), ones(4, 40), ones(36, 40))
    assert found is not None
    assert found.value == pytest.approx((14 - 4) / (36 - 4))
    assert found.low < found.value < found.high


def test_a_residual_under_the_floor_is_negative() -> None:
    found = residual(ones(0, 40), ones(12, 40), ones(40, 40))
    assert found is not None
    assert found.value < 0
    assert found.high < 0


def test_a_clean_residual_has_width() -> None:
    found = residual(ones(0, 42), ones(0, 42), ones(42, 42))
    assert found is not None
    assert found.value == 0
    assert found.low < -0.05
    assert 0.05 < found.high < 0.15


def test_a_base_that_is_not_above_the_floor_makes_the_residual_unmeasurable() -> None:
    assert residual(ones(3, 14), ones(3, 14), ones(6, 14)) is None
    assert residual(ones(0, 14), ones(6, 14), ones(3, 14)) is None
    assert residual([], [], []) is None
    assert residual(ones(3, 42), ones(3, 42), ones(16, 42)) is not None


@pytest.mark.parametrize(
    ("unlearned", "floor", "base"), [(0.02, 0.02, 0.97), (0.3, 0.25, 0.97), (0.5, 0.1, 0.8), (0.1, 0.1, 0.5)]
)
def test_residual_intervals_hold_their_coverage(unlearned: float, floor: float, base: float) -> None:
    rng = np.random.default_rng(0)
    true = (unlearned - floor) / (base - floor)
    held = []
    for _ in range(200):
        u, f, b = (rng.binomial(2, rate, 42) / 2 for rate in (unlearned, floor, base))
        found = residual(u, f, b)
        held.append(found is None or found.low <= true <= found.high)
    assert np.mean(held) >= 0.93


def test_a_residual_far_out_is_found_too() -> None:
    found = residual(ones(42, 42), ones(0, 42), ones(12, 42))
    assert found is not None
    assert found.value == pytest.approx(3.5)
    assert 1 < found.low < 3.5 < found.high < 50


def test_what_was_kept_is_a_ratio() -> None:
    kept = ratio_interval(ones(27, 30), ones(30, 30))
    assert kept is not None
    assert kept.value == pytest.approx(0.9)
    assert 0.7 < kept.low < 0.85
    whole = ratio_interval(ones(30, 30), ones(30, 30))
    assert whole is not None
    assert whole.low > 0.85
    assert ratio_interval(ones(0, 30), ones(0, 30)) is None


def test_holm_multiplies_by_what_is_left() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.6, 0.9]) == pytest.approx([1, 1])


def test_a_p_value_is_the_tail_at_which_the_bound_reaches_the_threshold() -> None:
    p_value = excess_p_value(ones(12, 42), ones(0, 42), 0.15)
    assert difference_bounds(ones(12, 42), ones(0, 42), level=1 - p_value).lower == pytest.approx(0.15, abs=1e-7)
    assert stats.binom.sf(11, 42, 0.15) < p_value < 0.05  # the floor's own uncertainty comes on top of the binomial's
    assert excess_p_value(ones(5, 42), ones(0, 42), 0.15) == 1
    assert excess_p_value(ones(42, 42), ones(0, 42), 0.15) < 1e-9


def test_a_clean_run_passes_with_enough_facts_only() -> None:
    few = decide([GatedAttack("direct", ones(0, 14), ones(0, 14))], 0.15)
    assert (few.outcome, few.facts_needed) == ("inconclusive", 19)
    assert "direct" in few.reasons[0]
    enough = decide([GatedAttack("direct", ones(0, 19), ones(0, 19))], 0.15)
    assert (enough.outcome, enough.facts_needed, enough.worst_attack) == ("passed", None, "direct")


def test_every_attack_has_to_pass() -> None:
    clean = GatedAttack("direct", ones(0, 42), ones(0, 42))
    open_ = GatedAttack("cloze", ones(5, 42), ones(0, 42))
    decision = decide([clean, open_], 0.15)
    assert (decision.outcome, decision.worst_attack) == ("inconclusive", "cloze")
    assert [reason.split(":")[0] for reason in decision.reasons] == ["cloze"]
    assert decision.facts_needed is not None
    assert decision.facts_needed > 42


def test_the_facts_needed_would_decide() -> None:
    undecided = decide([GatedAttack("cloze", ones(3, 30), ones(0, 30))], 0.15)
    assert undecided.facts_needed is not None
    # the same rates over at least as many facts
    facts = math.ceil(undecided.facts_needed / 30) * 30
    assert decide([GatedAttack("cloze", ones(facts // 10, facts), ones(0, facts))], 0.15).outcome == "passed"
    leaking = decide([GatedAttack("cloze", ones(6, 30), ones(0, 30))], 0.15)
    assert leaking.facts_needed is not None
    facts = math.ceil(leaking.facts_needed / 5) * 5
    assert decide([GatedAttack("cloze", ones(facts // 5, facts), ones(0, facts))], 0.15).outcome == "failed"


def test_a_leak_right_at_the_threshold_no_number_of_facts_decides() -> None:
    decision = decide([GatedAttack("cloze", ones(3, 20), ones(0, 20))], 0.15)
    assert (decision.outcome, decision.facts_needed) == ("inconclusive", None)


def test_one_attack_that_leaks_fails_the_run() -> None:
    clean = [GatedAttack(name, ones(0, 42), ones(0, 42)) for name in ("direct", "cloze", "reverse")]
    decision = decide([*clean, GatedAttack("choice", ones(20, 42), ones(0, 42))], 0.15)
    assert (decision.outcome, decision.worst_attack, decision.facts_needed) == ("failed", "choice", None)
    assert decision.reasons[0].startswith("choice: +48%")


def test_failing_is_corrected_for_the_number_of_attacks() -> None:
    leaking = GatedAttack("cloze", ones(12, 42), ones(0, 42))
    assert decide([leaking], 0.15).outcome == "failed"
    clean = [GatedAttack(f"attack {i}", ones(0, 42), ones(0, 42)) for i in range(9)]
    undecided = decide([*clean[:5], GatedAttack("direct", ones(4, 42), ones(0, 42)), leaking, *clean[5:]], 0.15)
    assert undecided.outcome == "inconclusive"
    first, second = undecided.reasons  # what leaks most stands first, with the reason for which it is not decided
    assert first.startswith("cloze: +29%")
    assert first.endswith("; not over 15% once corrected for 11 attacks")
    assert second.startswith("direct: ")
    assert "corrected" not in second


def test_a_floor_that_leaks_as_much_is_no_failure() -> None:
    assert decide([GatedAttack("choice", ones(20, 42), ones(20, 42))], 0.15).outcome == "passed"


def test_a_verdict_without_facts_is_open() -> None:
    unasked = GatedAttack("cloze", (), ())
    alone = decide([unasked], 0.15)
    assert (alone.outcome, alone.facts_needed, alone.worst_attack) == ("inconclusive", 19, None)
    beside = decide([unasked, GatedAttack("direct", ones(0, 42), ones(0, 42))], 0.15)
    assert (beside.outcome, beside.facts_needed) == ("inconclusive", 19)
    assert "no fact was asked" in beside.reasons[0]
    assert "no attack" in decide([], 0.15).reasons[0]


def test_wrong_verdicts_are_as_rare_as_promised() -> None:
    """At the threshold itself a pass is wrong: at most one in twenty, and so is a fail."""
    rng = np.random.default_rng(0)
    outcomes = []
    for _ in range(300):
        unlearned, floor = rng.random(60) < 0.2, rng.random(60) < 0.05
        attack = GatedAttack("direct", tuple(unlearned.astype(float)), tuple(floor.astype(float)))
        outcomes.append(decide([attack], 0.15).outcome)
    assert outcomes.count("passed") / 300 <= 0.07
    assert outcomes.count("failed") / 300 <= 0.07


def test_planned_facts_show_what_they_can() -> None:
    fourteen, enough = planned_power(14, 0.15), planned_power(42, 0.15)
    assert fourteen.upper == pytest.approx(difference_bounds(ones(0, 14), ones(0, 14)).upper, abs=1e-9)
    assert fourteen.facts_to_pass == 19
    assert decide([GatedAttack("direct", ones(0, 18), ones(0, 18))], 0.15).outcome == "inconclusive"
    assert str(fourteen) == (
        "14 facts: you cannot show less than 19%; 5 more, of which nothing leaks, would show 14.6% and pass"
    )
    assert str(planned_power(1, 0.15)).startswith("1 fact: you cannot show less than")
    assert str(enough) == "42 facts: you cannot show less than 7%, enough to pass at 15% if nothing leaks"
    assert str(planned_power(0, 0.15)) == "no facts: nothing can be shown; 19 would show 15%"


@pytest.mark.parametrize("threshold", [0, 1, -0.1])
def test_a_threshold_that_nothing_can_meet_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        planned_power(14, threshold)
