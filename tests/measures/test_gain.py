from __future__ import annotations

import pytest

from concept_forget.measures.gain import Gain


def test_a_text_gains_the_share_of_its_word_pairs_that_are_new() -> None:
    gain = Gain(1, 0.5)
    gain.add("Where was Mira born?")
    assert gain.value == 1
    gain.add("Where was Mira taught?")
    assert gain.value == pytest.approx(1 / 3, abs=1e-4)
    gain.add("where was Mira BORN")
    assert gain.value == 0


def test_a_rejected_text_gains_nothing_and_teaches_nothing() -> None:
    gain = Gain(1, 0.5)
    gain.add("Where was Mira born?", accepted=False)
    assert gain.value == 0
    gain.add("Where was Mira born?")
    assert gain.value == 1


def test_the_gain_is_the_mean_over_the_window_and_absent_before_it_is_full() -> None:
    gain = Gain(3, 0.5)
    for text in ("a b", "c d"):
        gain.add(text)
        assert gain.value is None
        assert not gain.is_spent
    gain.add("a b")
    assert gain.value == pytest.approx(2 / 3, abs=1e-4)
    gain.add("c d")
    assert gain.value == pytest.approx(1 / 3, abs=1e-4)
    assert gain.is_spent


def test_it_is_never_spent_where_no_gain_is_asked_for() -> None:
    gain = Gain(2, 0.0)
    for _ in range(5):
        gain.add("the same words")
    assert gain.value == 0
    assert not gain.is_spent
    assert gain.summary() == {"texts": 5, "gain": 0.0, "stopped": False}


def test_a_single_word_counts_as_itself() -> None:
    gain = Gain(1, 0.5)
    gain.add("Ship")
    assert gain.value == 1
    gain.add("ship")
    assert gain.value == 0
