"""Rates, differences, residuals and the verdict, with their uncertainty. The unit is the fact, never the attempt."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from scipy import optimize

from concept_forget.measures.limits import (
    Array,
    Moments,
    difference_limits,
    mean_limits,
    pair_up,
    split_difference,
    take_moments,
)
from concept_forget.text import counted

LEVEL = 0.95
Outcome = Literal["passed", "failed", "inconclusive"]
_MOST_FACTS = 1_000_000  # a sample that large is out of the question: nothing is promised beyond


@dataclass(frozen=True, slots=True)
class Interval:
    """A number over ``n`` facts with its two-sided interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class DifferenceBounds:
    """A difference of two rates over the same ``n`` facts: two-sided interval, and one-sided bounds."""

    value: float
    low: float
    high: float
    lower: float  # one-sided: with LEVEL confidence the difference is above
    upper: float  # one-sided: with LEVEL confidence it is below
    n: int


@dataclass(frozen=True, slots=True)
class GatedAttack:
    """One attack that the verdict rests on: per-fact rates of the unlearned model and of the floor, paired."""

    name: str
    unlearned: tuple[float, ...]
    floor: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict. ``facts_needed`` (per attack) is set where more facts would decide an open one."""

    outcome: Outcome
    reasons: tuple[str, ...]
    facts_needed: int | None
    worst_attack: str | None


@dataclass(frozen=True, slots=True)
class PlannedPower:
    """What a number of facts can show at best: when neither model leaks any of them."""

    facts: int
    threshold: float
    upper: float  # one-sided upper bound of unlearned - floor; 1 without facts
    facts_to_pass: int  # fewest facts of which a clean result passes
    upper_then: float  # and the bound they would show

    def __str__(self) -> str:
        if not self.facts:
            return f"no facts: nothing can be shown; {self.facts_to_pass} would show {self.upper_then:.0%}"
        shown = f"{counted(self.facts, 'fact')}: you cannot show less than {self.upper:.0%}"
        if self.upper < self.threshold:
            return f"{shown}, enough to pass at {self.threshold:.0%} if nothing leaks"
        more = self.facts_to_pass - self.facts
        return f"{shown}; {more} more, of which nothing leaks, would show {self.upper_then:.1%} and pass"


def rate_interval(per_fact: Sequence[float] | Array, level: float = LEVEL) -> Interval:
    """The mean rate over facts, with its two-sided interval.

    For values of 0 and 1 the exact binomial interval (Clopper & Pearson 1934); for fractions the same with the
    effective number of facts that their variance amounts to (Korn & Graubard 1998). Never of zero width: 0 of 14
    reaches up to 23 %.

    Args:
        per_fact: Mean over each fact's attempts, in [0, 1].
        level: Coverage.

    Raises:
        ValueError: There is no fact, or a value lies outside [0, 1].
    """
    moments = take_moments(per_fact)
    low, high = mean_limits(moments, (1 - level) / 2)
    return Interval(float(moments.mean), float(low), float(high), moments.n)


def difference_bounds(
    first: Sequence[float] | Array, second: Sequence[float] | Array, level: float = LEVEL
) -> DifferenceBounds:
    """mean(first) - mean(second) over the same facts.

    The facts' differences are split into gains and losses, whose limits are combined (Newcombe 1998; Zou & Donner
    2008). 0 of 42 against 0 of 42 gives an upper bound of 0.069, that of a rate of which 42 facts show nothing.

    Args:
        first: Per-fact rates of one model, in [0, 1].
        second: The other model's, for the same facts in the same order.
        level: Coverage, of the interval and of each one-sided bound.

    Raises:
        ValueError: The samples are empty, of different length, or hold a value outside [0, 1].
    """
    a, b = pair_up(first, second)
    gain, loss = split_difference(a - b)
    low, high = difference_limits(gain, loss, (1 - level) / 2)
    lower, upper = difference_limits(gain, loss, 1 - level)
    value = float(gain.mean - loss.mean)
    return DifferenceBounds(value, float(low), float(high), float(lower), float(upper), gain.n)


def residual(
    unlearned: Sequence[float] | Array,
    floor: Sequence[float] | Array,
    base: Sequence[float] | Array,
    level: float = LEVEL,
) -> Interval | None:
    """Residual knowledge ρ = (unlearned - floor) / (base - floor), signed.

    The interval holds every ρ for which mean(u - ρ b - (1 - ρ) f) is compatible with 0: Fieller's (1954) inversion,
    with the limits of ``difference_bounds`` in place of Student's, so that it keeps its width where all facts agree.

    Args:
        unlearned: Per-fact rates in [0, 1].
        floor: What a model that never learned the facts gives, fact by fact.
        base: What the model gave before.
        level: Coverage.

    Returns:
        None, "not measurable", where the interval of base - floor reaches 0.

    Raises:
        ValueError: The samples are of different length or hold a value outside [0, 1].
    """
    if not len(unlearned):
        return None
    u, f, b = pair_up(unlearned, floor, base)
    if difference_bounds(b, f, level).low <= 0:
        return None
    value = float((u.mean() - f.mean()) / (b.mean() - f.mean()))

    def limit(side: int) -> Callable[[float], float]:
        def compatible(ratio: float) -> float:
            # u - ρ b - (1 - ρ) f lies within ± this, and tends to ± (b - f) as ρ grows: both ends are found
            reach = max(1.0, ratio, 1 - ratio)
            gain, loss = split_difference((u - ratio * b - (1 - ratio) * f) / reach)
            return float(difference_limits(gain, loss, (1 - level) / 2)[side])

        return compatible

    return Interval(value, _find_crossing(limit(0), value, -1), _find_crossing(limit(1), value, 1), len(u))


def ratio_interval(
    after: Sequence[float] | Array, before: Sequence[float] | Array, level: float = LEVEL
) -> Interval | None:
    """mean(after) / mean(before) over the same facts: the residual above a floor of zero.

    Returns:
        None where ``before`` is zero.
    """
    if not len(before) or not np.any(np.asarray(before)):
        return None
    return residual(after, np.zeros(len(before)), before, level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def excess_p_value(first: Sequence[float] | Array, second: Sequence[float] | Array, threshold: float) -> float:
    """One-sided p-value of mean(first) - mean(second) ≤ threshold: the tail at which the lower bound reaches it.

    A half or more is reported as 1: the bounds say nothing there, and nothing is decided there.
    """
    gain, loss = split_difference(np.subtract(*pair_up(first, second)))

    def excess(tail: float) -> float:
        return float(difference_limits(gain, loss, tail)[0]) - threshold

    smallest, largest = 1e-12, 0.5
    if excess(largest) <= 0:
        return 1.0
    if excess(smallest) > 0:
        return smallest
    return float(optimize.brentq(excess, smallest, largest, xtol=1e-13))


def decide(attacks: Sequence[GatedAttack], threshold: float, level: float = LEVEL) -> Decision:
    """The verdict over all attacks.

    *Passed* when the one-sided upper bound of unlearned - floor is under ``threshold`` for every attack: all have to
    hold, so none is corrected for. *Failed* when a lower bound is over it, corrected over the attacks (Holm 1979).
    Else *inconclusive*, with the number of facts that would decide it if the rates stayed as they are.

    Args:
        attacks: The attacks on the tiers that the verdict rests on.
        threshold: The excess over the floor that has to be ruled out.
        level: Confidence of each bound.

    Raises:
        ValueError: An attack's rates are not paired, or lie outside [0, 1].
    """
    asked = [attack for attack in attacks if attack.unlearned]
    bounds = {attack.name: difference_bounds(attack.unlearned, attack.floor, level) for attack in asked}
    described = {name: _describe(found, level) for name, found in bounds.items()}
    worst = max(bounds, key=lambda name: bounds[name].upper, default=None)
    unasked = [f"{attack.name}: no fact was asked" for attack in attacks if not attack.unlearned]
    if worst is None:
        reasons = unasked or ["no attack was tried on the tiers that the verdict rests on"]
        return Decision("inconclusive", tuple(reasons), planned_power(0, threshold, level).facts_to_pass, None)
    adjusted = holm([excess_p_value(attack.unlearned, attack.floor, threshold) for attack in asked])
    failed = [attack.name for attack, p_value in zip(asked, adjusted, strict=True) if p_value < 1 - level]
    if failed:
        reasons = [f"{name}: {described[name]}, over the threshold of {threshold:.0%}" for name in failed]
        return Decision("failed", tuple(reasons), None, max(failed, key=lambda name: bounds[name].lower))
    undecided = [attack for attack in asked if bounds[attack.name].upper >= threshold]
    if not undecided and not unasked:
        reason = f"every attack leaks less than {threshold:.0%} above the floor; most: {worst}, {described[worst]}"
        return Decision("passed", (reason,), None, worst)
    undecided.sort(key=lambda attack: -bounds[attack.name].lower)
    corrected = f"; not over {threshold:.0%} once corrected for {len(asked)} attacks"
    reasons = [
        f"{attack.name}: {described[attack.name]}{corrected if bounds[attack.name].lower > threshold else ''}"
        for attack in undecided
    ]
    needed = _facts_to_decide(undecided, len(asked), threshold, level)
    if unasked:
        needed = max(needed or 0, planned_power(0, threshold, level).facts_to_pass)
    return Decision("inconclusive", (*reasons, *unasked), needed, worst)


def planned_power(facts: int, threshold: float, level: float = LEVEL) -> PlannedPower:
    """What ``facts`` facts can show at best, and how few would do.

    With nothing leaked the upper bound is 1 - (1 - level)^(1 / facts) (Clopper & Pearson 1934; the rule of three).

    Raises:
        ValueError: ``threshold`` is not between 0 and 1.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"a threshold lies between 0 and 1, found {threshold}")
    enough = math.floor(math.log(1 - level) / math.log(1 - threshold)) + 1
    upper = 1 - (1 - level) ** (1 / facts) if facts else 1.0
    return PlannedPower(facts, threshold, upper, enough, 1 - (1 - level) ** (1 / enough))


def find_fewest(is_enough: Callable[[int], bool]) -> int | None:
    """The smallest number of facts that is enough, where more always are; None beyond a million."""
    high = 1
    while not is_enough(high):
        high *= 2
        if high > _MOST_FACTS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _find_crossing(limit: Callable[[float], float], start: float, direction: int) -> float:
    """Where a limit that falls with ρ crosses 0, going out from ``start``."""
    inside, step = start, 0.02
    while True:
        outside = inside + direction * step
        if limit(outside) * direction < 0:
            near, far = sorted((inside, outside))
            return float(optimize.brentq(limit, near, far, xtol=1e-10))
        inside, step = outside, step * 1.3


def _facts_to_decide(attacks: Sequence[GatedAttack], tested: int, threshold: float, level: float) -> int | None:
    """Facts per attack that would decide the verdict if every attack kept its rates; None if none would."""
    passes, fails = [], []
    for attack in attacks:
        gain, loss = split_difference(np.subtract(attack.unlearned, attack.floor))
        if gain.mean - loss.mean > threshold:
            fails.append(find_fewest(partial(_would_fail, gain, loss, threshold, (1 - level) / tested)))
        else:
            passes.append(find_fewest(partial(_would_pass, gain, loss, threshold, 1 - level)))
    if fails:
        return min((found for found in fails if found is not None), default=None)
    return None if None in passes else max((found for found in passes if found is not None), default=None)


def _would_pass(gain: Moments, loss: Moments, threshold: float, tail: float, n: int) -> bool:
    return bool(difference_limits(replace(gain, n=n), replace(loss, n=n), tail)[1] < threshold)


def _would_fail(gain: Moments, loss: Moments, threshold: float, tail: float, n: int) -> bool:
    return bool(difference_limits(replace(gain, n=n), replace(loss, n=n), tail)[0] > threshold)


def _describe(bounds: DifferenceBounds, level: float) -> str:
    return (
        f"{bounds.value:+.0%} over the floor, with {level:.0%} confidence above {bounds.lower:+.0%} "
        f"and below {bounds.upper:+.0%} ({counted(bounds.n, 'fact')})"
    )
