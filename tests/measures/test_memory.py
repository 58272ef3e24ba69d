"""Scores of memory against their definitions, written another way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from concept_forget.measures.memory import (
    answer_probability,
    exact_memorisation,
    extraction_strength,
    mean_logprob,
    perplexity,
    sequence_probability,
)

LOGPROBS = st.lists(st.floats(-60, 0), min_size=1, max_size=40)
RANKS = st.lists(st.integers(0, 3), min_size=1, max_size=12)


def test_perplexity_of_uniform_guesses_is_their_number() -> None:
    assert perplexity([[math.log(1 / 50)] * 7, [math.log(1 / 50)] * 3]) == pytest.approx(50)


def test_a_long_reply_counts_for_its_length() -> None:
    short, long = [-4.0], [-1.0] * 9
    assert perplexity([short, long]) == pytest.approx(math.exp(13 / 10))
    assert perplexity([long, short]) == perplexity([short, long])
    assert perplexity([short, [], long]) == perplexity([short, long])


def test_an_impossible_token_is_infinitely_perplexing() -> None:
    assert perplexity([[-1.0, -math.inf]]) == math.inf
    assert perplexity([[-1e6]]) == math.inf


def test_a_sequence_is_as_probable_as_its_tokens_together() -> None:
    assert sequence_probability([math.log(0.5), math.log(0.25)]) == pytest.approx(0.125)
    assert sequence_probability([]) == 1
    assert sequence_probability([-math.inf, -1]) == 0


@pytest.mark.parametrize("value", [0.1, math.nan, math.inf])
def test_what_is_no_log_probability_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="at most 0"):
        perplexity([[-1.0, value]])
    with pytest.raises(ValueError, match="at most 0"):
        sequence_probability([value])


def test_perplexity_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        perplexity([[], []])


def test_an_answer_is_as_probable_as_the_geometric_mean_of_its_tokens() -> None:
    assert answer_probability([math.log(0.5), math.log(0.125)]) == pytest.approx(0.25, abs=1e-12)
    assert answer_probability([math.log(0.3)] * 50) == pytest.approx(0.3, abs=1e-12)  # length costs nothing
    assert answer_probability([-1.0, -math.inf]) == 0
    assert answer_probability([1e-7]) == 1  # rounding does not lift it above


@given(LOGPROBS)
def test_answer_probability_agrees_with_scipy_and_with_perplexity(logprobs: list[float]) -> None:
    assert answer_probability(logprobs) == pytest.approx(stats.gmean(np.exp(logprobs)), abs=1e-9)
    assert answer_probability(logprobs) == pytest.approx(1 / perplexity([logprobs]), abs=1e-9)
    assert mean_logprob(logprobs) == pytest.approx(float(np.mean(logprobs)), abs=1e-9)


def test_exact_memorisation_is_the_share_of_likeliest_tokens() -> None:
    assert exact_memorisation([0, 3, 0, 0, 1]) == pytest.approx(3 / 5, abs=1e-12)
    assert exact_memorisation([0]) == 1
    assert exact_memorisation([7, 1]) == 0


def test_extraction_strength_is_the_share_that_follows_by_itself() -> None:
    assert extraction_strength([0, 0, 0, 0]) == 1
    assert extraction_strength([5, 0, 1, 0, 0]) == pytest.approx(2 / 5, abs=1e-12)
    assert extraction_strength([0, 0, 0, 2]) == 0  # nothing, not a quarter
    assert extraction_strength([4]) == 0


@given(RANKS)
def test_extraction_strength_agrees_with_trying_every_start(ranks: list[int]) -> None:
    starts = [start for start in range(len(ranks) + 1) if not any(ranks[start:])]
    assert extraction_strength(ranks) == pytest.approx(1 - min(starts) / len(ranks), abs=1e-9)
    assert extraction_strength(ranks) <= exact_memorisation(ranks)
    assert exact_memorisation(ranks) == pytest.approx(float(np.mean(np.array(ranks) == 0)), abs=1e-9)


def test_the_token_that_ends_the_text_counts_in_every_score() -> None:
    answer, end = [math.log(0.9)] * 3, math.log(0.01)
    assert answer_probability([*answer, end]) == pytest.approx((0.9**3 * 0.01) ** (1 / 4), abs=1e-12)
    assert exact_memorisation([0, 0, 0, 1]) == pytest.approx(3 / 4, abs=1e-12)
    assert extraction_strength([0, 0, 0, 1]) == 0


@pytest.mark.parametrize("score", [answer_probability, mean_logprob, exact_memorisation, extraction_strength])
def test_an_answer_without_tokens_is_refused(score: Callable[[Sequence[float]], float]) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        score([])


@pytest.mark.parametrize("value", [0.1, math.nan])
def test_an_answer_of_what_is_no_log_probability_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="at most 0"):
        answer_probability([-1.0, value])


@pytest.mark.parametrize("score", [exact_memorisation, extraction_strength])
@pytest.mark.parametrize("rank", [-1, 0.5])
def test_what_is_no_rank_is_refused(score: Callable[[Sequence[float]], float], rank: float) -> None:
    with pytest.raises(ValueError, match="whole number from 0"):
        score([0, rank, 1])
