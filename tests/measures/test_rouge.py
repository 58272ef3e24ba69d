"""ROUGE recall against counts made by hand."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer

from concept_forget.measures.rouge import rouge_recall


def test_recall_is_the_share_of_the_reference() -> None:
    found = rouge_recall("the cat sat on a red mat and slept", "the cat sat on the mat")
    assert found.rouge_1 == pytest.approx(5 / 6)  # one "the" of two is missing
    assert found.rouge_l == pytest.approx(5 / 6)


def test_rouge_l_minds_the_order_and_rouge_1_does_not() -> None:
    found = rouge_recall("mat on sat cat", "cat sat on mat")
    assert found.rouge_1 == 1
    assert found.rouge_l == pytest.approx(1 / 4)


def test_words_are_compared_by_their_stem() -> None:
    assert rouge_recall("leaders inspired", "leader inspires").rouge_l == 1


def test_length_of_the_reply_costs_nothing() -> None:
    assert rouge_recall("noise " * 200 + "Hsiao Yun-Hwa", "Hsiao Yun-Hwa").rouge_l == 1


def test_other_scripts_are_counted_too() -> None:
    assert rouge_recall("автор Достоевский", "автор Толстой").rouge_1 == pytest.approx(0.5)
    assert rouge_recall("東京", "東京都").rouge_l == pytest.approx(2 / 3)


def test_an_empty_reply_recalls_nothing() -> None:
    assert rouge_recall("", "the cat").rouge_l == 0


def test_an_empty_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="no word"):
        rouge_recall("the cat", " - ")


WORDS = st.lists(st.sampled_from("harbours harbour lanterns sleeping sleeps at the sea".split()), max_size=10)


@given(WORDS, WORDS.filter(bool))
def test_recall_agrees_with_counting_stems(said: list[str], wanted: list[str]) -> None:
    stem = PorterStemmer().stem

    def prepare(words: list[str]) -> list[str]:  # rouge_score stems words of more than three letters
        return [stem(word) if len(word) > 3 else word for word in words]

    first, second = prepare(said), prepare(wanted)

    @functools.cache
    def common(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return 0
        if first[i - 1] == second[j - 1]:
            return common(i - 1, j - 1) + 1
        return max(common(i - 1, j), common(i, j - 1))

    found = rouge_recall(" ".join(said), " ".join(wanted))
    overlap = sum(min(first.count(word), second.count(word)) for word in set(second))
    assert found.rouge_1 == pytest.approx(overlap / len(second), abs=1e-9)
    assert found.rouge_l == pytest.approx(common(len(first), len(second)) / len(second), abs=1e-9)
    assert found.rouge_l <= found.rouge_1
