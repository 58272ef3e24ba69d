"""Perplexity and sequence probability against their definitions."""

from __future__ import annotations

import math

import pytest

from concept_forget.measures.memory import perplexity, sequence_probability


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
