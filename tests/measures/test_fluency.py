"""n-gram entropy: by hand and against scipy."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk import ngrams
from scipy import stats

from concept_forget.measures.fluency import ngram_entropy

WORDS = st.lists(st.sampled_from("ship harbour lantern copper".split()), min_size=3, max_size=40)


def test_a_text_that_repeats_one_word_has_none() -> None:
    assert ngram_entropy("no no no no no no") == 0


def test_it_is_counted_in_bits() -> None:
    # five words that differ: four bigrams, 2 bits; three trigrams, log2 3 bits
    expected = (2 / 3 * 2 + 4 / 3 * math.log2(3)) / 2
    assert ngram_entropy("One, two; THREE four five!") == pytest.approx(expected, abs=1e-12)
    # a b a b: bigrams ab twice and ba once, trigrams aba and bab
    bigrams = -(2 / 3 * math.log2(2 / 3) + 1 / 3 * math.log2(1 / 3))
    assert ngram_entropy("a b a b") == pytest.approx((2 / 3 * bigrams + 4 / 3) / 2, abs=1e-12)


@given(WORDS)
def test_it_agrees_with_scipy(words: list[str]) -> None:
    entropies = [stats.entropy(list(Counter(ngrams(words, order)).values()), base=2) for order in (2, 3)]
    expected = (2 / 3 * entropies[0] + 4 / 3 * entropies[1]) / 2
    assert ngram_entropy(" ".join(words)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("text", ["", "...", "Paris", "in Paris."])
def test_a_text_too_short_for_a_trigram_has_no_entropy(text: str) -> None:
    assert ngram_entropy(text) is None
