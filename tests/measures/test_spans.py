"""The verbatim span against trying every run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concept_forget.measures.spans import longest_run, verbatim_span

ITEMS = st.lists(st.sampled_from("abc"), max_size=12)


def test_the_longest_run_of_words_counts_whatever_the_marks() -> None:
    span = verbatim_span("He wrote: «the GREY, harbour; wakes» and more", "Slowly the grey harbour wakes again")
    assert (span.words, span.of) == (4, 6)
    assert span.share == pytest.approx(4 / 6, abs=1e-12)


def test_words_out_of_a_row_do_not_add_up() -> None:
    assert verbatim_span("one two x three four", "one two three four").words == 2
    assert verbatim_span("", "one two").share == 0


@given(ITEMS, ITEMS)
def test_the_longest_run_agrees_with_trying_every_one(first: list[str], second: list[str]) -> None:
    runs = {tuple(second[start:end]) for start in range(len(second) + 1) for end in range(start, len(second) + 1)}
    expected = max(
        end - start
        for start in range(len(first) + 1)
        for end in range(start, len(first) + 1)
        if tuple(first[start:end]) in runs
    )
    assert longest_run(first, second) == longest_run(second, first) == expected


def test_a_frequent_word_in_a_long_text_is_not_taken_for_noise() -> None:
    assert longest_run(["a"] * 300, ["b", *["a"] * 250]) == 250


def test_a_reference_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="no word"):
        verbatim_span("anything", " - ")
