from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from concept_forget.measures.recall import count_distinct, estimate_recall


def test_the_number_of_different_texts_is_estimated_without_bias_and_within_its_limits() -> None:
    rng = np.random.default_rng(0)
    true, kept, times = 5000, 256, 400
    found = [count_distinct(kept, _largest(rng, true, kept), is_whole=False, doubt=0.1) for _ in range(times)]
    assert np.mean([one.value for one in found]) == pytest.approx(true, rel=0.01)
    outside = [one.high < true for one in found], [one.low > true for one in found]
    for side in outside:  # 5 % each: three standard errors over it at most
        assert np.mean(side) < 0.05 + 3 * (0.05 * 0.95 / times) ** 0.5
        assert np.mean(side) > 0.01


def _largest(rng: np.random.Generator, count: int, kept: int) -> float:
    return float(np.partition(rng.random(count), kept - 1)[kept - 1])


def test_a_number_that_is_known_is_not_estimated() -> None:
    known = count_distinct(77, 0.9, is_whole=True, doubt=0.1)
    assert (known.low, known.value, known.high) == (77, 77, 77)


@pytest.mark.parametrize(("relevant", "recall"), [(60, 0.95), (400, 0.8), (40, 1.0), (1500, 0.5)])
def test_the_interval_holds_the_true_recall_as_often_as_it_says(relevant: int, recall: float) -> None:
    """Whole corpora are drawn: hashes, and which texts are relevant and which of these the search found."""
    rng = np.random.default_rng(relevant)
    texts, kept, times, held, wide = 8000, 500, 300, 0, []
    found = round(relevant * recall)
    missed_texts = relevant - found
    for _ in range(times):
        hashes = rng.random(texts)  # the first are missed, the next found, the others of no interest
        sample = np.argsort(hashes)[:kept]
        missed = int((sample < missed_texts).sum())
        largest = float(hashes[sample[-1]])
        estimate = estimate_recall(found, kept, kept - 5, missed, kept, largest, is_whole=False)
        assert estimate is not None
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        held += estimate.low <= recall <= estimate.high
        wide.append(estimate.high - estimate.low)
    assert held / times > 0.95 - 2 * (0.05 * 0.95 / times) ** 0.5
    assert np.mean(wide) < 0.95


def test_a_sample_without_a_miss_bounds_recall_as_worked_out_by_hand() -> None:
    estimate = estimate_recall(100, 1000, 900, 0, 1000, 0.1, is_whole=False)
    assert estimate is not None
    assert (estimate.value, estimate.high, estimate.found, estimate.sampled, estimate.missed) == (1.0, 1.0, 100, 900, 0)
    # No miss in 1,000: the share is under 1 - α^(1/1000), at α = 0.9 · 2.5 %.
    share = 1 - (0.9 * 0.025) ** (1 / 1000)
    texts = stats.gamma.ppf(1 - 0.0025, 1000) / 0.1
    assert estimate.low == pytest.approx(100 / (100 + share * texts), rel=1e-9)


def test_a_sample_of_everything_leaves_no_doubt() -> None:
    estimate = estimate_recall(30, 50, 20, 10, 50, 0.99, is_whole=True)
    assert estimate is not None
    assert (estimate.low, estimate.value, estimate.high) == (0.75, 0.75, 0.75)
    part = estimate_recall(30, 40, 20, 10, 50, 0.99, is_whole=True)
    assert part is not None
    assert part.value == pytest.approx(30 / (30 + 50 * 10 / 40))
    assert part.low < part.value < part.high


def test_where_nothing_is_relevant_or_sampled_there_is_no_recall() -> None:
    assert estimate_recall(0, 100, 100, 0, 100, 0.5, is_whole=False) is None
    assert estimate_recall(5, 0, 0, 0, 0, 1.0, is_whole=True) is None
    nothing_found = estimate_recall(0, 100, 100, 3, 100, 0.5, is_whole=False)
    assert nothing_found is not None
    assert nothing_found.value == nothing_found.high == 0
