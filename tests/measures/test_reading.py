"""Sentences, bullets and case."""

from __future__ import annotations

import pytest

from concept_forget.measures.reading import read


def sentences(text: str) -> list[str]:
    reading = read(text)
    return [" ".join(token.text for token in reading.tokens[s.start : s.end]) for s in reading.sentences]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Paris. It is Paris!", ["Paris", "It is Paris"]),
        ("Paris? No. Lyon", ["Paris", "No", "Lyon"]),
        ("It was Dr. Clarke of St. Ives.", ["It was Dr . Clarke of St . Ives"]),
        ("By J. Austen in 1813. Yes.", ["By J . Austen in 1813", "Yes"]),
        ("about 4.8 km. Then more", ["about 4.8 km", "Then more"]),
        ("1. Paris\n2. London", ["Paris", "London"]),
        ("- Paris\n- London", ["Paris", "London"]),
        ("(b) Paris", ["Paris"]),
        ("Hmm... Paris", ["Hmm", "Paris"]),
        ("", []),
        ("?!", []),
    ],
)
def test_text_is_split_where_a_reader_stops(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_a_sentence_knows_how_it_ended() -> None:
    reading = read("Paris? Yes!\n- Lyon\nRome")
    assert [s.terminator for s in reading.sentences] == ["?", "!", "\n", ""]
    assert [s.bulleted for s in reading.sentences] == [False, False, True, False]
    assert reading.sentence_at(0) == 0
    assert reading.sentence_at(len(reading.tokens) - 1) == 3


def test_case_means_something_only_where_both_occur() -> None:
    assert read("It is Paris").looks_like_name(2)
    assert not read("It is big").looks_like_name(2)
    assert read("it is paris").looks_like_name(2)
    assert not read("it is paris").looks_like_name(1)


def test_a_text_is_read_once() -> None:
    assert read("It is Paris") is read("It is Paris")
