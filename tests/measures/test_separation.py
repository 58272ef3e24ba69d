"""How members are told from others: by hand, against scikit-learn, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from concept_forget.measures.separation import area_under_curve, privleak, true_positive_rate

TIED = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=30)  # few values: many ties
LOOSE = st.lists(st.floats(-100, 100), min_size=1, max_size=30)
SCORES = st.one_of(TIED, LOOSE)
DRAWS = 500
LEAST = 0.92  # of 0.95 promised: a coverage of 0.95 shows as 0.92 in one of 1000 samples of 500 draws


def label(members: list[float], others: list[float]) -> tuple[list[int], list[float]]:
    return [1] * len(members) + [0] * len(others), [*members, *others]


def test_the_area_is_the_share_of_pairs_in_order_ties_half() -> None:
    # of six pairs: 3>1, 3>2, 2>1 in order, 2=2 half, 0<1 and 0<2 not
    found = area_under_curve([3, 2, 0], [1, 2])
    assert found.value == pytest.approx(3.5 / 6, abs=1e-12)
    assert found.n == 5
    assert area_under_curve([1, 1], [1, 1, 1]).value == 0.5
    assert area_under_curve([0.0], [-math.inf]).value == 1


@given(SCORES, SCORES)
def test_the_area_agrees_with_scikit_learn(members: list[float], others: list[float]) -> None:
    found = area_under_curve(members, others)
    assert found.value == pytest.approx(roc_auc_score(*label(members, others)), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.01


@given(SCORES, SCORES)
def test_changing_sides_mirrors_the_area_and_its_interval(members: list[float], others: list[float]) -> None:
    found, mirrored = area_under_curve(members, others), area_under_curve(others, members)
    assert found.value == pytest.approx(1 - mirrored.value, abs=1e-9)
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-9)
    assert found.high == pytest.approx(1 - mirrored.low, abs=1e-9)


def test_perfect_separation_has_the_interval_of_the_smaller_sample() -> None:
    found = area_under_curve([5.0] * 14, [1.0] * 60)
    exact = stats.binomtest(14, 14).proportion_ci(0.95, method="wilson")
    assert found.value == 1
    assert found.low == pytest.approx(exact.low, abs=1e-9)
    assert found.high == pytest.approx(1, abs=1e-9)


def test_in_large_samples_the_interval_is_delongs() -> None:
    rng = np.random.default_rng(3)
    members, others = rng.normal(0.8, 2, 3000), rng.normal(0, 1, 2000)
    order = (members[:, None] > others).astype(float)  # (members, others)
    variance = order.mean(1).var(ddof=1) / 3000 + order.mean(0).var(ddof=1) / 2000
    found = area_under_curve(members.tolist(), others.tolist())
    assert (found.high - found.low) / (2 * 1.959964 * math.sqrt(variance)) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("inside", "outside"), [(14, 14), (14, 60), (60, 14), (60, 60)])
@pytest.mark.parametrize(("area", "scale"), [(0.5, 1.0), (0.5, 6.0), (0.9, 1.0), (0.9, 4.0)])
def test_the_interval_covers_what_it_promises(inside: int, outside: int, area: float, scale: float) -> None:
    rng = np.random.default_rng([inside, outside, round(10 * area), round(scale)])
    shift = stats.norm.ppf(area) * math.hypot(1, scale)  # P(member > other) = area for normal scores
    covered = 0
    for _ in range(DRAWS):
        found = area_under_curve(rng.normal(shift, scale, inside).tolist(), rng.normal(0, 1, outside).tolist())
        covered += found.low <= area <= found.high
    assert covered / DRAWS >= LEAST


def test_true_positives_are_counted_above_all_others_when_these_are_few() -> None:
    others = [float(place) for place in range(10)]
    assert true_positive_rate([8.5, 9.0, 9.5, 11.0], others) == pytest.approx(2 / 4, abs=1e-12)  # a tie is not above
    assert true_positive_rate([8.5, 9.0, 9.5, 11.0], others, 0.1) == pytest.approx(3 / 4 + 1 / 4, abs=1e-12)


def test_one_of_a_hundred_others_may_be_above() -> None:
    others = [float(place) for place in range(100)]
    assert true_positive_rate([97.0, 98.5, 99.5], others) == pytest.approx(2 / 3, abs=1e-12)
    assert true_positive_rate([97.0, 98.5, 99.5], others[:99]) == pytest.approx(2 / 3, abs=1e-12)
    assert true_positive_rate([97.0, 98.5, 98.7], [*others, 99.0]) == 0  # the second best ties with the best


@given(SCORES, SCORES, st.sampled_from([0.0, 0.01, 0.1, 0.29, 0.5, 1.0]))
def test_true_positives_agree_with_scikit_learn(members: list[float], others: list[float], rate: float) -> None:
    false, true, _ = roc_curve(*label(members, others), drop_intermediate=False)
    expected = true[false <= rate + 1e-12].max()
    assert true_positive_rate(members, others, rate) == pytest.approx(expected, abs=1e-9)


def test_privleak_is_relative_to_the_reference_and_signed() -> None:
    assert privleak(0.5, 0.5) == 0
    assert privleak(1.0, 0.5) == pytest.approx(-100, abs=1e-9)  # not forgotten at all
    assert privleak(0.25, 0.5) == pytest.approx(50, abs=1e-9)  # forgotten too much
    assert privleak(0.7, 0.6) == pytest.approx(-25, abs=1e-9)


@given(st.floats(0, 1), st.floats(0, 0.999))
def test_privleak_agrees_with_its_definition(unlearned: float, reference: float) -> None:
    expected = ((1 - unlearned) - (1 - reference)) / (1 - reference) * 100
    assert privleak(unlearned, reference) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_reference_that_tells_all_apart_leaves_privleak_unmeasured() -> None:
    assert privleak(0.7, 1.0) is None


@pytest.mark.parametrize("compute", [area_under_curve, true_positive_rate])
def test_scores_that_cannot_be_compared_are_refused(compute: object) -> None:
    assert callable(compute)
    with pytest.raises(ValueError, match="at least one member"):
        compute([], [1.0])
    with pytest.raises(ValueError, match="at least one other text"):
        compute([1.0], [])
    with pytest.raises(ValueError, match="member is not a number"):
        compute([1.0, math.nan], [1.0])
    with pytest.raises(ValueError, match="other text is not a number"):
        compute([1.0], [math.nan])


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_a_false_positive_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="false positive rate"):
        true_positive_rate([1.0], [0.0], rate)


@pytest.mark.parametrize("area", [-0.1, 1.1, math.nan])
def test_an_area_outside_its_range_is_refused(area: float) -> None:
    with pytest.raises(ValueError, match="for the unlearned model"):
        privleak(area, 0.5)
    with pytest.raises(ValueError, match="for the reference model"):
        privleak(0.5, area)
