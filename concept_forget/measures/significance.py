"""Paired tests of two models over the same facts: whether they differ, and whether they are shown to be alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from concept_forget.measures.limits import Array, Moments, difference_limits, pair_up, split_difference
from concept_forget.measures.statistics import (
    LEVEL,
    difference_bounds,
    excess_p_value,
    find_fewest,
    planned_power,
)
from concept_forget.text import counted

EquivalenceOutcome = Literal["alike", "different", "undecided", "underpowered"]
_RESAMPLES = 9999  # up to 13 facts that differ have fewer sign flips than this: all are counted then
_BATCH = 2_000_000  # signs drawn at once


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Whether two models are alike within a margin over the same ``n`` facts.

    ``lower`` and ``upper`` are the one-sided bounds of the difference that the outcome rests on.
    """

    outcome: EquivalenceOutcome
    value: float
    lower: float
    upper: float
    p_value: float | None  # of "they differ by the margin or more"; None where the test is refused as underpowered
    n: int
    facts_needed: int | None  # underpowered: if they are alike; undecided: at the rates seen, None if none would do


@dataclass(frozen=True, slots=True)
class PlannedComparison:
    """What a number of facts can show at best of a model beside its reference."""

    facts: int
    tests: int  # attacks and tiers that are corrected for
    margin: float
    facts_alike: int  # fewest facts that show the two alike, if they agree on every one
    facts_different: int  # fewest facts that show them different, if they differ on every one in the same sense

    def __str__(self) -> str:
        within = f"like the reference within {self.margin:.0%}"
        if self.facts >= self.facts_alike:
            alike = f"{counted(self.facts, 'fact')}: enough to show the model {within} if they agree on every fact"
        else:
            count = counted(self.facts, "fact") if self.facts else "no facts"
            more = f"{self.facts_alike - self.facts} more" if self.facts else f"{self.facts_alike}"
            alike = f"{count}: too few to show the model {within}; {more}, if they agree on every fact, would show it"
        over = f"over {self.tests} tests" if self.tests != 1 else "in one test"
        if self.facts >= self.facts_different:
            return f"{alike}; a difference shows {over} once {self.facts_different} facts differ in the same sense"
        return f"{alike}; a difference cannot be shown {over} with fewer than {self.facts_different} facts"


def permutation_p_value(first: Sequence[float] | Array, second: Sequence[float] | Array, seed: int) -> float:
    """Two-sided p-value of the paired permutation test (Fisher 1935): neither model gives away more than the other.

    If so, each fact's two rates might as well have changed places, which flips the sign of its difference. The p-value
    is the share of flips whose sum is as far from 0. With up to 13 facts that differ all flips are counted, else 9,999
    are drawn and the one that was seen is counted among them (Phipson & Smyth 2010). Facts that agree say nothing.

    Args:
        first: Per-fact rates of one model, in [0, 1].
        second: The other model's, for the same facts in the same order.
        seed: Of the flips that are drawn.

    Returns:
        1 where at most one fact differs.

    Raises:
        ValueError: The samples are empty, of different length, or hold a value outside [0, 1].
    """
    difference = np.subtract(*pair_up(first, second))
    differing = difference[np.abs(difference) > 1e-9]
    if len(differing) < 2:
        return 1.0
    found = stats.permutation_test(
        (differing,),
        _sum_exactly,
        permutation_type="samples",
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=max(1, _BATCH // len(differing)),
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def judge_equivalence(
    first: Sequence[float] | Array, second: Sequence[float] | Array, margin: float, level: float = LEVEL
) -> Equivalence:
    """Whether two models are alike: two one-sided tests (Schuirmann 1987), by the bounds of ``difference_bounds``.

    *Alike* when both one-sided bounds of mean(first) - mean(second) lie within ± ``margin``, *different* when one lies
    beyond. *Underpowered*, and refused, under the number of facts that the test needs: those that would show two models
    alike that agree on every fact or, where the difference seen lies within the margin, that disagree as often as these
    and in both senses alike. Else *undecided*.

    Args:
        first: Per-fact rates of one model, in [0, 1].
        second: The other model's, for the same facts in the same order.
        margin: The smallest difference that matters.
        level: Confidence of each bound.

    Raises:
        ValueError: The samples are empty, of different length, or hold a value outside [0, 1], or the margin does not
            lie between 0 and 1.
    """
    least = planned_power(0, margin, level).facts_to_pass
    bounds = difference_bounds(first, second, level)
    difference = np.subtract(*pair_up(first, second))
    gain, loss = split_difference(difference)

    def conclude(outcome: EquivalenceOutcome, needed: int | None = None) -> Equivalence:
        p_value = None
        if outcome != "underpowered":
            p_value = max(excess_p_value(first, second, -margin), excess_p_value(second, first, -margin))
        return Equivalence(outcome, bounds.value, bounds.lower, bounds.upper, p_value, bounds.n, needed)

    if bounds.n < least:
        return conclude("underpowered", least)
    if (shown := _show(gain, loss, margin, 1 - level)) is not None:
        return conclude(shown)
    balanced = split_difference(np.concatenate([difference, -difference]))
    needed = _fewest_facts(*balanced, margin, 1 - level)
    if abs(bounds.value) < margin and needed is not None and bounds.n < needed:
        return conclude("underpowered", needed)
    return conclude("undecided", _fewest_facts(gain, loss, margin, 1 - level))


def plan_comparison(facts: int, tests: int, margin: float, level: float = LEVEL) -> PlannedComparison:
    """What ``facts`` facts can show of a model beside its reference, at best.

    A difference is corrected for ``tests`` (Holm): of k facts that differ in the same sense the smallest p-value is
    2 / 2^k, which has to be under (1 - level) / tests.

    Raises:
        ValueError: There is no test, or the margin does not lie between 0 and 1.
    """
    if tests < 1:
        raise ValueError(f"a comparison takes one test at least, found {tests}")
    alike = planned_power(0, margin, level).facts_to_pass
    different = math.floor(1 + math.log2(tests / (1 - level))) + 1
    return PlannedComparison(facts, tests, margin, alike, different)


def _sum_exactly(values: Array, axis: int) -> Array:
    """Sums that are equal whatever the order in which thirds or tenths are added, so that ties are seen."""
    return np.asarray(np.round(values.sum(axis=axis), 9))


def _show(gain: Moments, loss: Moments, margin: float, tail: float) -> EquivalenceOutcome | None:
    """What the bounds show, if anything."""
    lower, upper = difference_limits(gain, loss, tail)
    if -margin < lower and upper < margin:
        return "alike"
    return "different" if lower > margin or upper < -margin else None


def _fewest_facts(gain: Moments, loss: Moments, margin: float, tail: float) -> int | None:
    """Facts that would show something if the rates stayed as they are; None if none would."""
    return find_fewest(lambda n: _show(replace(gain, n=n), replace(loss, n=n), margin, tail) is not None)
