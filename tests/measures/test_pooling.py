from __future__ import annotations

import random
import statistics

import numpy as np
import pytest

from concept_forget.measures.pooling import (
    FactRates,
    close_gap,
    mean_over_attacks,
    per_thousand_tokens,
    pool_kept,
    pool_residual,
)
from concept_forget.measures.statistics import residual


def rates(
    world: str, unlearned: list[float], floor: list[float], base: list[float]
) -> dict[tuple[str, ...], FactRates]:
    triples = zip(unlearned, floor, base, strict=True)
    return {(world, f"fact {number:03}"): FactRates(*triple) for number, triple in enumerate(triples)}


def test_the_pooled_residual_is_that_of_all_facts_together_and_each_world_has_its_own() -> None:
    first = rates("a", [1, 0, 0, 0] * 5, [0, 0, 0, 1] * 5, [1, 1, 1, 1] * 5)
    second = rates("b", [1, 1, 0, 0, 0] * 8, [0] * 40, [1, 1, 1, 1, 0] * 8)
    pooled = pool_residual({**first, **second})
    assert pooled is not None
    # (unlearned - floor) / (base - floor): 5 and 16 of 20 and 40, less 5 and 0, over 20 and 32 less 5 and 0
    assert pooled.over_facts.value == pytest.approx((5 + 16 - 5) / (20 + 32 - 5))
    assert pooled.over_facts.n == 60
    assert pooled.worlds == pytest.approx(((5 - 5) / (20 - 5), 16 / 32))
    assert (pooled.lowest, pooled.highest) == pytest.approx((0.0, 0.5))
    assert pooled.over_facts.low < pooled.over_facts.value < pooled.over_facts.high


def test_a_world_that_cannot_be_measured_is_left_out_of_the_spread_but_not_of_the_facts() -> None:
    known = rates("a", [0.0] * 40, [0.0] * 40, [1.0] * 40)
    unknown = rates("b", [0.0] * 4, [0.0] * 4, [0.0] * 4)
    pooled = pool_residual({**known, **unknown})
    assert pooled is not None
    assert pooled.over_facts.n == 44
    assert pooled.worlds == (0.0,)
    assert pool_residual(unknown) is None
    assert pool_residual({}) is None


def test_a_fact_counts_once_however_many_attacks_ask_it() -> None:
    direct = rates("a", [1, 0], [0, 0], [1, 1])
    cloze = {("a", "fact 000"): FactRates(0.5, 0.5, 1.0)}
    together = mean_over_attacks([direct, cloze])
    assert together == {
        ("a", "fact 000"): FactRates(0.75, 0.25, 1.0),
        ("a", "fact 001"): FactRates(0.0, 0.0, 1.0),
    }


def test_what_is_kept_is_a_ratio_over_facts() -> None:
    many = rates("a", [1, 1, 0] * 10, [0] * 30, [1, 1, 1] * 10)
    pooled = pool_kept({**many, **rates("b", [1, 0], [0] * 2, [1, 0])})
    assert pooled is not None
    assert pooled.over_facts.value == pytest.approx(21 / 31)
    assert pooled.worlds == (pytest.approx(2 / 3),)  # one fact of world b shows nothing about a ratio
    assert pool_kept(rates("a", [0.0], [0.0], [0.0])) is None


def test_the_share_of_a_gap_that_is_closed_does_not_depend_on_base_and_floor() -> None:
    facts = 60
    poorer, better = [1.0] * 30 + [0.0] * 30, [1.0] * 6 + [0.0] * 54
    arm = [1.0] * 10 + [0.0] * 50
    for floor, base in (([0.0] * facts, [1.0] * facts), ([0.0] * facts, [1.0] * 50 + [0.0] * 10)):
        gap = close_gap(*(rates("a", unlearned, floor, base) for unlearned in (arm, poorer, better)))
        assert gap is not None
        assert gap.size == pytest.approx((30 - 6) / sum(base))
        assert gap.closed is not None
        assert gap.closed.value == pytest.approx((30 - 10) / (30 - 6))
        assert gap.closed.low < gap.closed.value < gap.closed.high


def test_the_two_ends_of_a_gap_close_none_and_all_of_it() -> None:
    poorer = rates("a", [1.0] * 30 + [0.0] * 30, [0.0] * 60, [1.0] * 60)
    better = rates("a", [0.0] * 60, [0.0] * 60, [1.0] * 60)
    for arm, share in ((poorer, 0.0), (better, 1.0)):
        gap = close_gap(arm, poorer, better)
        assert gap is not None
        assert gap.closed is not None
        assert gap.closed.value == pytest.approx(share)


def test_of_no_gap_nothing_can_be_closed() -> None:
    alike = rates("a", [1.0, 0.0] * 20, [0.0] * 40, [1.0] * 40)
    gap = close_gap(alike, alike, alike)
    assert gap is not None
    assert (gap.size, gap.closed) == (0.0, None)
    assert close_gap(alike, {}, alike) is None


def test_a_reduction_is_told_per_thousand_tokens() -> None:
    assert per_thousand_tokens(0.2, 500) == pytest.approx(1.6)
    assert per_thousand_tokens(-0.1, 2000) == pytest.approx(0.55)
    with pytest.raises(ValueError, match="one token"):
        per_thousand_tokens(0.2, 0)


def test_the_interval_of_a_closed_gap_covers_as_often_as_it_says() -> None:
    """Of 300 draws with a known share, at most one in twenty may lie outside, give or take chance."""
    rng = random.Random(7)
    truth, missed, told = 0.75, 0, 0
    for _ in range(300):
        poor = [float(rng.random() < 0.5) for _ in range(120)]
        good = [float(p and rng.random() < 0.2) for p in poor]
        # an arm that still gives a quarter of what lies between the two
        arm = [float(g or (p and rng.random() < 1 - truth)) for p, g in zip(poor, good, strict=True)]
        flat = [0.0] * 120, [1.0] * 120
        gap = close_gap(*(rates("a", unlearned, *flat) for unlearned in (arm, poor, good)))
        assert gap is not None
        if gap.closed is not None:
            told += 1
            missed += not gap.closed.low <= truth <= gap.closed.high
    assert told == 300
    assert missed / told < 0.075


def test_the_mean_over_attacks_of_rates_is_what_its_residual_is_of() -> None:
    rng = np.random.default_rng(0)
    attacks = [
        rates("a", *([float(v) for v in rng.integers(0, 2, 30)] for _ in range(2)), [1.0] * 30) for _ in range(3)
    ]
    together = mean_over_attacks(attacks)
    columns = [
        [statistics.fmean(getattr(found[key], name) for found in attacks) for key in sorted(together)]
        for name in ("unlearned", "floor", "base")
    ]
    expected, pooled = residual(*columns), pool_residual(together)
    assert expected is not None
    assert pooled is not None
    assert pooled.over_facts.value == pytest.approx(expected.value)
    assert pooled.over_facts.high == pytest.approx(expected.high)
