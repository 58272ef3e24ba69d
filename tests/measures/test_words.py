"""Tokens and when two of them are one word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concept_forget.measures.words import Token, clean, same_word, tokenize


def norms(text: str) -> list[str]:
    return [token.norm for token in tokenize(text)]


def word(text: str) -> Token:
    (token,) = [token for token in tokenize(text) if token.is_word]
    return token


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("Émile", "EMILE"),
        ("Müller", "Mueller"),
        ("Müller", "Muller"),
        ("Łódź", "Lodz"),
        ("Ærø", "Aeroe"),
        ("Straße", "strasse"),
        ("O'Brien", "OBrien"),
        ("O’Brien", "O'Brien's"),
        ("colour", "color"),
        ("grey", "gray"),
        ("organise", "organize"),
        ("theatre", "theater"),
        ("encyclopaedia", "encyclopedia"),
        ("engineer", "engineers"),
        ("city", "cities"),
        ("J.R.R.", "JRR"),
        ("VIII", "eighth"),
        ("twelve", "12"),
        ("12.50", "12.5"),
        ("km", "kilometres"),
        ("%", "percent"),
        ("ＰＡＲＩＳ", "Paris"),
        ("Heidelberg", "Heidleberg"),
        ("Farouk", "Farouq"),
    ],
)
def test_spellings_of_one_word_compare_equal(answer: str, found: str) -> None:
    assert same_word(word(answer), word(found))


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("12", "120"),
        ("12", "12th"),
        ("1991", "1992"),
        ("Roberts", "Robert"),
        ("Kestrel", "Costello"),
        ("York", "Yorke"),
        ("tea", "team"),
        ("VII", "VIII"),
        ("Paris", "Pari"),
    ],
)
def test_other_words_do_not(answer: str, found: str) -> None:
    assert not same_word(word(answer), word(found))


def test_another_option_is_no_slip() -> None:
    assert same_word(word("Marlowe"), word("Marlowa")) == same_word(word("Marlowe"), word("Marlowa"), frozenset())
    assert same_word(word("Dunholm"), word("Dunhelm"))
    assert not same_word(word("Dunholm"), word("Dunhelm"), frozenset({"dunhelm"}))


def test_a_contracted_not_is_a_word_of_its_own() -> None:
    assert norms("isn't can't won’t cannot didnt") == [
        "is",
        "not",
        "can",
        "not",
        "will",
        "not",
        "can",
        "not",
        "did",
        "not",
    ]


def test_possessives_and_pronouns_lose_their_clitics() -> None:
    assert norms("Edith's it's they're I'm") == ["edith", "it", "is", "they", "is", "i", "is"]
    assert [token.is_possessive for token in tokenize("Edith's book")] == [True, False]


def test_emphasis_and_typography_are_cleaned_away() -> None:
    assert clean("**Paris**—_not_ “Lyon”…") == 'Paris -  not  "Lyon"...'
    assert norms("Stan\u00adley") == ["stanley"]


def test_a_date_in_digits_is_one_token_and_a_ratio_is_not() -> None:
    assert norms("on 14.03.1932.") == ["on", "14.03.1932", "."]
    assert norms("1/2") == ["1", "/", "2"]


def test_scripts_without_spaces_are_split_into_letters() -> None:
    assert norms("東京です") == ["東", "京", "で", "す"]
    assert norms("Это Москва") == ["это", "москва"]


@given(st.text(max_size=200))
def test_any_text_can_be_split(text: str) -> None:
    cleaned = clean(text)
    for token in tokenize(text):
        assert 0 <= token.start < token.end <= len(cleaned)
