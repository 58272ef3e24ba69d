from __future__ import annotations

import numpy as np

from concept_forget.measures.conformal import conformal_quantile


def test_one_more_score_passes_the_quantile_as_rarely_as_promised() -> None:
    rng = np.random.default_rng(0)
    for rate, size in ((0.1, 9), (0.1, 50), (0.05, 100), (0.01, 99)):
        passed = []
        for _ in range(4000):
            scores = np.sort(rng.gumbel(size=size)).astype(np.float32)
            cut = conformal_quantile(scores, rate)
            assert cut is not None
            passed.append(rng.gumbel() > cut)
        share = float(np.mean(passed))
        error = (rate * (1 - rate) / len(passed)) ** 0.5
        # Never above the rate, and at most 1/(n + 1) under it.
        assert rate - 1 / (size + 1) - 4 * error <= share <= rate + 4 * error


def test_the_quantile_is_an_order_statistic_and_absent_from_too_few_scores() -> None:
    scores = np.arange(1, 100, dtype=np.float32)
    assert conformal_quantile(scores, 0.01) == 99
    assert conformal_quantile(scores, 0.1) == 90
    assert conformal_quantile(scores[:98], 0.01) is None
    assert conformal_quantile(scores[:0], 0.5) is None
