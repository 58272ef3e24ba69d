"""Turns of phrase: each pattern against what it is for and what it must leave alone."""

from __future__ import annotations

import pytest

from concept_forget.measures import turns


@pytest.mark.parametrize(
    ("turn", "phrase"),
    [
        ("NEUTRAL", "none other than"),
        ("NEUTRAL", "without a doubt"),
        ("NEUTRAL", "if i am not mistaken ,"),
        ("NEUTRAL", "i can not tell you that she"),
        ("NEUTRAL", "not allowed to say she"),
        ("CUE", "no longer"),
        ("CUE", "there is no"),
        ("CUE", "whether"),
        ("CUE", "without the"),
        ("IGNORANCE", "i do not really know"),
        ("HEARSAY", "many people still think"),
        ("HEARSAY", "it is widely believed"),
        ("RETRACTION", ", no , wait"),
        ("BESIDE", "on the border with"),
    ],
)
def test_a_turn_is_recognised(turn: str, phrase: str) -> None:
    assert getattr(turns, turn).search(phrase)


@pytest.mark.parametrize(
    ("turn", "phrase"),
    [
        ("NEUTRAL", "i can not share that information about"),
        ("NEUTRAL", "i do not know if she"),
        ("CUE", "she noted"),
        ("CUE", "she knows"),
        ("CUE", "without delay she moved to"),
        ("HEARSAY", "i think it is"),
        ("RETRACTION", ", not"),
        ("BESIDE", "named after"),
    ],
)
def test_what_only_looks_like_it_is_not(turn: str, phrase: str) -> None:
    assert not getattr(turns, turn).search(phrase)
