"""Spellings are compared as a reader sees them."""

from __future__ import annotations

import unicodedata

import pytest

from concept_forget.text import contains_words, counted, drop_unseen, fold, normalise_name

UNSEEN = [
    "\u200b",
    "\u200c",
    "\u200d",
    "\u2060",
    "\u00ad",
    "\ufeff",
    "\u202e",
    "\ufe0f",
    "\u034f",
    "\u3164",
    "\U000e0041",
]


@pytest.mark.parametrize("between", UNSEEN, ids=[f"U+{ord(character):04X}" for character in UNSEEN])
def test_what_shows_nothing_tells_no_two_spellings_apart(between: str) -> None:
    apart = between.join("Dakar")
    assert fold(f"It is {apart}.") == "it is dakar."
    assert contains_words(fold(f"It is {apart}."), fold("Dakar"))
    assert drop_unseen(between) == ""


def test_only_characters_that_show_nothing_are_dropped() -> None:
    everything = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    kept = set(drop_unseen(everything))
    dropped = set(everything) - kept
    assert {unicodedata.category(character) for character in dropped} <= {"Cc", "Cf", "Cn", "Mn", "Lo"}
    letters = {character for character in dropped if unicodedata.category(character) == "Lo"}
    assert all("HANGUL" in unicodedata.name(letter) and "FILLER" in unicodedata.name(letter) for letter in letters)
    assert all(character in kept for character in "\t\n\r \u0301\u0639ß漢🙂")


def test_names_keep_the_joiners_that_their_script_needs() -> None:
    assert normalise_name("می\u200cخواهم\u200b") == "می\u200cخواهم"


def test_a_word_is_found_before_its_ending_where_a_script_parts_the_two_without_a_space() -> None:
    assert contains_words(fold("کتاب علی\u200cها"), fold("علی"))


def test_what_is_counted_is_in_the_singular_where_it_is_one() -> None:
    assert [counted(number, "fact") for number in (0, 1, 2)] == ["0 facts", "1 fact", "2 facts"]
