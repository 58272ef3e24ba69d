"""Dates and times of day."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concept_forget.measures.dates import Day, find_dates, find_times
from concept_forget.measures.words import tokenize


def days(text: str) -> set[Day]:
    return {day for mention in find_dates(tokenize(text)) for day in mention.readings}


@pytest.mark.parametrize(
    "text",
    [
        "14 March 1932",
        "March 14, 1932",
        "the 14th of March, 1932",
        "March the fourteenth, nineteen thirty-two",
        "14 Mar. 1932",
        "14-Mar-1932",
        "1932-03-14",
        "1932/3/14",
        "14.03.1932",
        "14/3/1932",
        "Sat, Mar 14th 1932",
        "1932, March 14",
        "14 MARCH '32",
    ],
)
def test_one_day_in_many_notations(text: str) -> None:
    assert Day(1932, 3, 14) in days(f"It opened on {text}, at noon.")


@given(st.dates(min_value=datetime.date(1000, 1, 1), max_value=datetime.date(2999, 12, 31)))
def test_every_day_is_read_as_it_is_written(date: datetime.date) -> None:
    wanted = Day(date.year, date.month, date.day)
    for form in (f"{date.day} {date:%B} {date:%Y}", f"{date:%b} {date.day}, {date:%Y}", f"{date:%Y-%m-%d}"):
        assert days(form) == {wanted}, form


def test_an_ambiguous_order_is_read_both_ways() -> None:
    assert days("05/11/1991") == {Day(1991, 11, 5), Day(1991, 5, 11)}
    assert days("13/11/1991") == {Day(1991, 11, 13)}
    assert days("1991-11-05") == {Day(1991, 11, 5)}


def test_two_digits_may_mean_any_recent_century() -> None:
    assert {day.year for day in days("14/03/32")} == {1732, 1832, 1932, 2032}


def test_parts_may_be_missing() -> None:
    assert days("in March 1932") == {Day(1932, 3, None)}
    assert days("on 14 March") == {Day(None, 3, 14)}
    assert days("3/1932") == {Day(1932, 3, None)}


@pytest.mark.parametrize("text", ["she may go", "in 1932", "March on!", "45/45/1932", "32 people", "1.5.2.7 release"])
def test_other_words_and_numbers_are_no_dates(text: str) -> None:
    assert not days(text)


def test_a_share_counts_agreeing_parts_and_one_contradiction_ends_it() -> None:
    wanted = Day(1932, 3, 14)
    assert Day(1932, 3, 14).share_of(wanted) == 1
    assert Day(1932, 3, None).share_of(wanted) == pytest.approx(2 / 3)
    assert Day(None, 3, 14).share_of(wanted) == pytest.approx(2 / 3)
    assert Day(1933, 3, 14).share_of(wanted) == 0
    assert Day(1932, 3, 14).share_of(Day(1932, None, None)) == 1


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("7:45 am", {465}),
        ("at 7:45 a.m.", {465}),
        ("7.45 in the morning", {465}),
        ("19:45", {1185}),
        ("7:45 pm", {1185}),
        ("7:45", {465, 1185}),
        ("8 o'clock", {480, 1200}),
        ("12:30 am", {30}),
    ],
)
def test_times_are_read_with_their_half_of_the_day(text: str, minutes: set[int]) -> None:
    (found,) = find_times(tokenize(text))
    assert found.minutes == minutes


@pytest.mark.parametrize("text", ["7 people", "25:10", "7:75", "page 7"])
def test_other_numbers_are_no_times(text: str) -> None:
    assert find_times(tokenize(text)) == []
