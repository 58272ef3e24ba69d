"""leak@k: against all subsets, against pass@k, and by simulation for its bias."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concept_forget.measures.leaks import leak_at_k, leak_curve

SCORES = st.lists(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=1, max_size=8)


def test_two_of_four_replies_leak() -> None:
    leaks = [1.0, 0.0, 1.0, 0.0]
    assert leak_at_k(leaks, 1) == pytest.approx(1 / 2, abs=1e-12)
    assert leak_at_k(leaks, 2) == pytest.approx(5 / 6, abs=1e-12)  # one of six pairs holds no leak
    assert leak_at_k(leaks, 3) == 1


@settings(max_examples=60)
@given(SCORES)
def test_it_is_the_mean_over_all_subsets_of_their_highest_score(scores: list[float]) -> None:
    expected = [
        statistics.fmean(max(subset) for subset in itertools.combinations(scores, k)) for k in range(1, len(scores) + 1)
    ]
    assert leak_curve(scores) == pytest.approx(expected, abs=1e-9)


@given(SCORES)
def test_the_curve_rises_from_the_mean_to_the_highest(scores: list[float]) -> None:
    curve = leak_curve(scores)
    assert curve[0] == pytest.approx(statistics.fmean(scores), abs=1e-9)
    assert curve[-1] == pytest.approx(max(scores), abs=1e-9)
    assert all(later >= earlier - 1e-9 for earlier, later in itertools.pairwise(curve))


@pytest.mark.parametrize(("n", "leaked", "k"), [(10, 3, 4), (200, 1, 50), (2000, 3, 1000), (50, 0, 50)])
def test_of_leaks_and_silences_it_is_pass_at_k(n: int, leaked: int, k: int) -> None:
    expected = 1 - math.prod(1 - k / i for i in range(n - leaked + 1, n + 1))  # C(n - c, k) / C(n, k), as a product
    assert leak_at_k([1.0] * leaked + [0.0] * (n - leaked), k) == pytest.approx(expected, abs=1e-9)


def test_it_is_not_biased() -> None:
    rng = np.random.default_rng(5)
    rate, n, k, draws = 0.1, 8, 4, 4000
    found = [leak_at_k(row.tolist(), k) for row in (rng.random((draws, n)) < rate).astype(float)]
    error = statistics.stdev(found) / math.sqrt(draws)
    assert abs(statistics.fmean(found) - (1 - (1 - rate) ** k)) < 3.3 * error
    plugged_in = [1 - (1 - leak_at_k([*row], 1)) ** k for row in (rng.random((draws, n)) < rate).astype(float).tolist()]
    assert abs(statistics.fmean(plugged_in) - (1 - (1 - rate) ** k)) > 3.3 * error  # the test could see a bias


def test_no_reply_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one reply"):
        leak_at_k([], 1)
    with pytest.raises(ValueError, match="at least one reply"):
        leak_curve([])


@pytest.mark.parametrize("k", [0, 3, -1])
def test_k_beyond_the_replies_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match="number of replies, 2"):
        leak_at_k([0.0, 1.0], k)


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan])
def test_what_is_no_score_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        leak_at_k([0.5, score], 1)
