"""Several runs of one arm as one: facts of all worlds together, and how far the worlds lie apart.

The unit is the fact, as in a single run, so an interval over pooled facts covers the choice of facts. It does not
cover seeds and worlds: those of the models, of the data and of training. The spread over worlds stands beside it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from concept_forget.measures.statistics import Interval, difference_bounds, ratio_interval, residual

Key = tuple[str, ...]
"""What a rate belongs to: the world, and the fact within it."""


@dataclass(frozen=True, slots=True)
class FactRates:
    """One fact's rates, each in [0, 1]; ``floor`` is what a model gives that never learned it."""

    unlearned: float
    floor: float
    base: float


Rates = Mapping[Key, FactRates]


@dataclass(frozen=True, slots=True)
class Pooled:
    """A number over the facts of all worlds, and what each world alone gives, where it gives anything."""

    over_facts: Interval
    worlds: tuple[float, ...]

    @property
    def lowest(self) -> float:
        """The lowest world's."""
        return min(self.worlds, default=self.over_facts.value)

    @property
    def highest(self) -> float:
        """The highest world's."""
        return max(self.worlds, default=self.over_facts.value)


@dataclass(frozen=True, slots=True)
class Gap:
    """How an arm stands between a poorer and a better one.

    ``size`` is the poorer arm's residual less the better one's; ``closed`` the share of it that the arm closes, None
    where the gap is not clearly above zero.
    """

    size: float
    closed: Interval | None


def mean_over_attacks(attacks: Sequence[Rates]) -> dict[Key, FactRates]:
    """Each fact's mean over the attacks by which it was asked."""
    keys = dict.fromkeys(key for rates in attacks for key in rates)
    found = {key: [rates[key] for rates in attacks if key in rates] for key in keys}
    return {
        key: FactRates(
            statistics.fmean(rate.unlearned for rate in rates),
            statistics.fmean(rate.floor for rate in rates),
            statistics.fmean(rate.base for rate in rates),
        )
        for key, rates in found.items()
    }


def pool_residual(rates: Rates) -> Pooled | None:
    """Residual knowledge over the facts of all worlds, and of each world.

    Returns:
        None, "not measurable", where base is not clearly above the floor over all facts. A world in which that is so
        is left out of the spread.
    """
    together = _residual([rates[key] for key in sorted(rates)])
    if together is None:
        return None
    alone = [_residual(of_world) for of_world in _by_world(rates).values()]
    return Pooled(together, tuple(found.value for found in alone if found is not None))


def pool_kept(rates: Rates) -> Pooled | None:
    """What is kept of base's rate, unlearned over base, for facts that are to stay; their floor is not looked at."""

    def kept(found: Sequence[FactRates]) -> Interval | None:
        return ratio_interval([rate.unlearned for rate in found], [rate.base for rate in found])

    together = kept([rates[key] for key in sorted(rates)])
    if together is None:
        return None
    alone = [kept(of_world) for of_world in _by_world(rates).values()]
    return Pooled(together, tuple(found.value for found in alone if found is not None))


def close_gap(arm: Rates, poorer: Rates, better: Rates) -> Gap | None:
    """Where an arm's residual lies between that of two others, over the facts that all three were asked.

    All have the same base and floor, which fall out of the ratio: of the gap between the poorer's rate p and the better
    one's b, u leaves (u - b) / (p - b) open. That is a residual with b as floor and p as base, and has its interval.

    Returns:
        None where no fact is shared, or base is not clearly above the floor.
    """
    shared = sorted(arm.keys() & poorer.keys() & better.keys())
    whole = _residual([poorer[key] for key in shared])
    least = _residual([better[key] for key in shared])
    if whole is None or least is None:
        return None
    low = [better[key].unlearned for key in shared]
    high = [poorer[key].unlearned for key in shared]
    closed = None
    if difference_bounds(high, low).low > 0:
        still_open = residual([arm[key].unlearned for key in shared], low, high)
        assert still_open is not None
        closed = Interval(1 - still_open.value, 1 - still_open.high, 1 - still_open.low, still_open.n)
    return Gap(whole.value - least.value, closed)


def per_thousand_tokens(residual_value: float, tokens: float) -> float:
    """Residual knowledge that a thousand tokens of the forget set took away: (1 - residual) / (tokens / 1000).

    Raises:
        ValueError: There are no tokens.
    """
    if tokens <= 0:
        raise ValueError("a forget set has at least one token")
    return (1 - residual_value) / (tokens / 1000)


def _residual(rates: Sequence[FactRates]) -> Interval | None:
    return residual([rate.unlearned for rate in rates], [rate.floor for rate in rates], [rate.base for rate in rates])


def _by_world(rates: Rates) -> dict[str, list[FactRates]]:
    worlds: dict[str, list[FactRates]] = {}
    for key in sorted(rates):
        worlds.setdefault(key[0], []).append(rates[key])
    return worlds
