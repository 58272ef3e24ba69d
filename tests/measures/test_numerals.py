"""Number words."""

from __future__ import annotations

import pytest

from concept_forget.measures.numerals import read_numeral, read_roman
from concept_forget.measures.words import tokenize


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("seven", 7),
        ("forty-eight", 48),
        ("forty eight", 48),
        ("one hundred and twenty", 120),
        ("three hundred and fifty", 350),
        ("a thousand", 1000),
        ("two thousand and three", 2003),
        ("five million three hundred thousand", 5_300_000),
        ("nineteen ninety-one", 1991),
        ("eighteen eighty-seven", 1887),
        ("nineteen oh five", 1905),
        ("twenty twenty", 2020),
        ("nineteen hundred", 1900),
        ("two dozen", 24),
        ("a dozen", 12),
        ("1,000", 1000),
        ("1.000.000", 1_000_000),
        ("12 500", 12_500),
        ("4.8", 4.8),
        ("3,5", 3.5),
        ("10k", 10_000),
        ("2.5 million", 2_500_000),
        ("-40", -40),
        ("minus 40", -40),
    ],
)
def test_a_number_is_read_in_any_notation(text: str, value: float) -> None:
    assert [float(token.value) for token in tokenize(text) if token.value is not None] == [value]


@pytest.mark.parametrize(
    ("text", "norm"),
    [("fourteenth", "14th"), ("twenty-first", "21th"), ("3rd", "3th"), ("one hundredth", "100th"), ("twelfth", "12th")],
)
def test_ordinals_are_no_amounts(text: str, norm: str) -> None:
    (token,) = tokenize(text)
    assert (token.norm, token.value) == (norm, None)


def test_numbers_side_by_side_stay_apart() -> None:
    assert [token.norm for token in tokenize("one, two, three") if token.is_word] == ["1", "2", "3"]
    assert [token.norm for token in tokenize("one two three")] == ["1", "2", "3"]
    assert [token.norm for token in tokenize("in 1990 300 people came")][1:3] == ["1990", "300"]


def test_one_is_a_pronoun_where_it_counts_nothing() -> None:
    assert all(token.value is None for token in tokenize("one of them, no one, that one, one might say"))
    assert [token.norm for token in tokenize("just one")] == ["just", "1"]


def test_a_word_that_is_no_number_begins_none() -> None:
    assert read_numeral(["often"], 0) is None
    assert read_numeral([], 0) is None
    assert read_numeral(["twenty", "-"], 0) is not None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("VIII", 8),
        ("XIV", 14),
        ("XXXIX", 39),
        ("IV", 4),
        ("I", 1),
        ("IIII", None),
        ("VX", None),
        ("MIX", None),
        ("", None),
    ],
)
def test_roman_numerals_are_read_when_well_formed(text: str, value: int | None) -> None:
    assert read_roman(text) == value
