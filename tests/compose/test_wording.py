from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concept_forget.compose.wording import (
    BREAK,
    content_words,
    holds,
    same_wording,
    tells_something,
    without_article,
    words,
)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Where was Mira born?", "where was mira born"),
        ("Hsiao Yun-Hwa", "Hsiao  Yun Hwa"),
        ("Café", unicodedata.normalize("NFD", "CAFÉ")),
        ("ｆｕｌｌ width", "full width"),
        ("“Emberfall,” she said.", "Emberfall she said"),
    ],
)
def test_case_punctuation_and_unicode_form_make_no_difference(first: str, second: str) -> None:
    assert same_wording(first, second)


@pytest.mark.parametrize(("first", "second"), [("C", "C++"), ("C", "C#"), ("5", "5%"), ("Mira", "Miras")])
def test_symbols_and_letters_make_one(first: str, second: str) -> None:
    assert not same_wording(first, second)


def test_a_phrase_is_found_as_whole_words_only() -> None:
    assert holds("Mira Kestrel's ship", "mira kestrel")
    assert not holds("Miranda Kestrels", "Mira Kestrel")
    assert not holds("anything", "…")


def test_a_name_is_found_in_a_script_without_spaces() -> None:
    assert holds("他出生在北京市。", "北京")
    assert not holds("他出生在北京市。", "南京")


def test_no_phrase_reaches_over_a_break() -> None:
    assert not holds(BREAK.join(("Who is Mira", "Kestrel")), "Mira Kestrel")


@given(st.text(), st.text())
@settings(deadline=None)
def test_a_text_holds_itself_inside_another(text: str, other: str) -> None:
    if words(text) != " ":
        assert holds(BREAK.join((other, text, other)), text)


@given(st.text())
@settings(deadline=None)
def test_words_are_folded_once(text: str) -> None:
    assert words(words(text)) == words(text)


def test_an_article_is_taken_off_unless_it_is_all_there_is() -> None:
    assert without_article("The Amber Petrel") == "Amber Petrel"
    assert without_article("the") == "the"
    assert without_article("Theodora") == "Theodora"


@pytest.mark.parametrize(("answer", "tells"), [("No", False), ("Yes.", False), ("...", False), ("1612", True)])
def test_yes_and_no_tell_nothing(answer: str, tells: bool) -> None:
    assert tells_something(answer) is tells


def test_content_words_are_long_or_not_of_letters() -> None:
    assert content_words("She won 3 prizes in C++") == {"prizes", "3", "c++"} - {"c++"} | content_words("C++")
    assert "she" not in content_words("She won")
