"""ROUGE recall against counts made by hand."""

from __future__ import annotations

import pytest

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
