"""Membership scores: by hand, and against the formulas over whole distributions in numpy."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from concept_forget.measures.membership import (
    loss_score,
    min_k_plus_plus_score,
    min_k_score,
    reference_score,
    zlib_score,
)

LOGPROBS = st.lists(st.floats(-30, 0), min_size=1, max_size=40)
SHARES = st.sampled_from([0.05, 0.1, 0.2, 0.29, 0.5, 1.0])


def test_the_loss_is_turned_round() -> None:
    assert loss_score([-1.0, -2.0, -6.0]) == pytest.approx(-3, abs=1e-12)


def test_the_zlib_score_is_per_byte_of_the_compressed_text() -> None:
    text = "Ünder the bridge " * 9
    assert zlib_score([-1.0, -3.0], text) == pytest.approx(-2 / len(zlib.compress(text.encode("utf-8"))), abs=1e-12)
    assert zlib_score([-2.0], "aaaaaaaaaaaaaaaaaaaaaaaa") < zlib_score([-2.0], "a quick brown fox jumps.")


def test_the_reference_takes_off_what_any_model_expects() -> None:
    assert reference_score([-1.0, -2.0], [-4.0, -3.0]) == pytest.approx(2, abs=1e-12)
    assert reference_score([-1.0, -2.0], [-4.0]) == pytest.approx(2.5, abs=1e-12)  # another tokenizer
    assert reference_score([-math.inf], [-1.0]) == -math.inf


def test_min_k_is_the_mean_of_the_least_likely() -> None:
    logprobs = [-1.0, -9.0, -2.0, -7.0, -0.5, -3.0, -0.1, -0.2, -0.3, -0.4]
    assert min_k_score(logprobs) == pytest.approx(-8, abs=1e-12)  # two of ten
    assert min_k_score(logprobs, 0.3) == pytest.approx(-19 / 3, abs=1e-12)
    assert min_k_score([-1.0, -4.0]) == -4  # one at least
    assert min_k_score(logprobs, 1.0) == pytest.approx(loss_score(logprobs), abs=1e-12)


def test_the_share_is_not_lost_to_rounding() -> None:
    logprobs = [-float(place) for place in range(100)]
    assert min_k_score(logprobs, 0.29) == pytest.approx(-np.mean(np.arange(71, 100)), abs=1e-12)


@given(LOGPROBS, SHARES)
def test_min_k_agrees_with_numpy(logprobs: list[float], share: float) -> None:
    count = max(1, round(100 * share) * len(logprobs) // 100)
    assert min_k_score(logprobs, share) == pytest.approx(float(np.sort(logprobs)[:count].mean()), abs=1e-9)
    assert min_k_score(logprobs, share) <= loss_score(logprobs) + 1e-9


def test_min_k_plus_plus_is_in_standard_deviations() -> None:
    assert min_k_plus_plus_score([-4.0, -1.0], [-2.0, -2.0], [4.0, 1.0]) == pytest.approx(-1, abs=1e-12)
    assert min_k_plus_plus_score([-4.0, -1.0], [-2.0, -2.0], [4.0, 1.0], share=1.0) == pytest.approx(0, abs=1e-12)


def test_a_place_without_choice_is_no_surprise() -> None:
    assert min_k_plus_plus_score([-1e-9], [-1e-9], [0.0]) == 0
    assert min_k_plus_plus_score([-0.5], [-0.4], [1e-30]) == pytest.approx(-0.1 / 1e-3, abs=1e-9)


@given(st.integers(0, 2**32 - 1), SHARES)
def test_min_k_plus_plus_agrees_with_whole_distributions(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(12, 0.7), size=15)  # (tokens, vocabulary)
    probabilities = (probabilities + 1e-6) / (probabilities + 1e-6).sum(axis=1, keepdims=True)
    logs = np.log(probabilities)
    means = (probabilities * logs).sum(axis=1)
    variances = (probabilities * logs**2).sum(axis=1) - means**2
    chosen = logs[np.arange(15), rng.integers(0, 12, 15)]
    deviations = np.sort((chosen - means) / np.sqrt(np.maximum(variances, 1e-6)))
    count = max(1, round(100 * share) * 15 // 100)
    found = min_k_plus_plus_score(chosen.tolist(), means.tolist(), np.maximum(variances, 0).tolist(), share)
    assert found == pytest.approx(float(deviations[:count].mean()), abs=1e-9)


def test_a_text_without_tokens_is_refused() -> None:
    for score in (
        lambda: loss_score([]),
        lambda: zlib_score([], "text"),
        lambda: reference_score([-1.0], []),
        lambda: min_k_score([]),
        lambda: min_k_plus_plus_score([], [], []),
    ):
        with pytest.raises(ValueError, match="at least one token"):
            score()


@pytest.mark.parametrize("value", [0.5, math.nan])
def test_what_is_no_log_probability_is_refused(value: float) -> None:
    bad = [-1.0, value]
    for score in (
        lambda: loss_score(bad),
        lambda: zlib_score(bad, "text"),
        lambda: reference_score([-1.0], bad),
        lambda: min_k_score(bad),
        lambda: min_k_plus_plus_score(bad, [-1.0, -1.0], [1.0, 1.0]),
    ):
        with pytest.raises(ValueError, match="at most 0"):
            score()


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(ValueError, match="empty text"):
        zlib_score([-1.0], "")


def test_a_text_impossible_under_both_models_is_refused() -> None:
    with pytest.raises(ValueError, match="under both models"):
        reference_score([-math.inf], [-math.inf])


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share of the tokens"):
        min_k_score([-1.0], share)
    with pytest.raises(ValueError, match="share of the tokens"):
        min_k_plus_plus_score([-1.0], [-1.0], [1.0], share)


@pytest.mark.parametrize(
    ("means", "variances", "message"),
    [
        ([-1.0], [1.0, 1.0], "2 tokens, 1 means, 2 variances"),
        ([-1.0, -1.0], [1.0], "2 tokens, 2 means, 1 variances"),
        ([-1.0, 0.5], [1.0, 1.0], "mean log-probability is finite"),
        ([-1.0, -math.inf], [1.0, 1.0], "mean log-probability is finite"),
        ([-1.0, -1.0], [1.0, -1.0], "variance is finite"),
        ([-1.0, -1.0], [1.0, math.nan], "variance is finite"),
    ],
)
def test_moments_that_cannot_be_are_refused(means: list[float], variances: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        min_k_plus_plus_score([-1.0, -2.0], means, variances)
