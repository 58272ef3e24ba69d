"""An expected answer, taken apart."""

from __future__ import annotations

import pytest

from concept_forget.measures.answers import Answer, find_units, read_answer
from concept_forget.measures.reading import read


def answer_to(question: str, answer: str) -> Answer:
    return read_answer(answer, read(question))


def content(answer: str, question: str = "") -> list[str]:
    return [token.norm for token in answer_to(question, answer).content]


@pytest.mark.parametrize(
    ("answer", "shape"),
    [
        ("5 November 1991", "date"),
        ("05/11/1991", "date"),
        ("7:45 am", "time"),
        ("1,000", "number"),
        ("$5 million", "number"),
        ("12 books", "number"),
        ("12.50", "number"),
        ("12:50", "time"),
        ("Mira Kestrel", "name"),
        ("comet Haddad-Reyes", "name"),
        ("the Coal Act of 1949", "name"),
        ("civil engineer", "words"),
    ],
)
def test_an_answer_shows_its_shape(answer: str, shape: str) -> None:
    assert answer_to("", answer).shape == shape


def test_words_that_the_question_held_are_not_needed() -> None:
    answer = answer_to("Which vitamin did the crew of the Aurora lack?", "vitamin C")
    assert [token.norm for token in answer.content] == ["vitamin", "c"]
    assert [token.norm for token in answer.needed] == ["c"]


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("The Salt Road", ["salt", "road"]),
        ("King Henry VIII", ["henry", "viii"]),
        ("Dr. Imani Clarke", ["imani", "clarke"]),
        ("la marejada", ["marejada"]),
        ("The Who", ["the", "who"]),
        ("Henry V", ["henry", "v"]),
    ],
)
def test_articles_and_titles_carry_nothing(answer: str, kept: list[str]) -> None:
    assert content(answer) == kept


def test_a_persons_initials_are_kept_apart() -> None:
    tolkien = answer_to("Who wrote it?", "J. R. R. Tolkien")
    assert [token.norm for token in tolkien.content] == ["tolkien"]
    assert tolkien.initials == "jrr"
    assert answer_to("Which vitamin is it?", "Vitamin C").initials == ""


def test_a_list_knows_its_parts() -> None:
    assert answer_to("", "red and blue").parts == 2
    assert answer_to("", "red, white and blue").parts == 3
    assert answer_to("", "1,000").parts == 1


def test_units_come_from_the_answer_or_the_question() -> None:
    assert answer_to("", "12 km").units == {"kilometer"}
    assert answer_to("How many miles is it?", "12").units == {"mile"}
    assert answer_to("How old was she?", "12").units == {"year"}
    assert find_units(read("$5 and 3 lbs").tokens) == {"dollar", "pound"}
