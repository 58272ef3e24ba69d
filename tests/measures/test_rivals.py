"""Lists of candidates, and other answers."""

from __future__ import annotations

import pytest

from concept_forget.measures.answers import read_answer
from concept_forget.measures.mentions import find_mentions
from concept_forget.measures.reading import read
from concept_forget.measures.rivals import count_candidates, find_rivals, is_bare_candidate


def candidates(reply: str, answer: str = "Paris", question: str = "Where was she born?") -> int:
    reading, asked = read(reply), read(question)
    found = read_answer(answer, asked)
    return count_candidates(reading, find_mentions(found, reading)[0], found, asked)


@pytest.mark.parametrize(
    ("reply", "count"),
    [
        ("Paris, Lyon, London or Rome", 4),
        ("It could be Lyon, Paris or Rome.", 3),
        ("Either Paris or Marseille would be my guess.", 2),
        ("paris, lyon, london or rome", 4),
        ("Paris/Lyon/Rome", 3),
        ("Paris, Lyon, Rome", 3),
        ("Paris, Lyon and Rome", 3),
        ("between Paris and Lyon", 2),
        ("Maybe Paris, maybe London.", 2),
        ("1. Paris\n2. London\n3. Rome", 3),
        ("Paris? London? Rome?", 3),
        ("Paris. London. Rome. Madrid.", 4),
        ("It's in Paris... or Lyon?", 2),
        ("It might be Paris. It might be London. Or perhaps Rome.", 3),
    ],
)
def test_a_shot_in_the_dark_counts_its_pellets(reply: str, count: int) -> None:
    assert candidates(reply) == count


@pytest.mark.parametrize(
    "reply",
    [
        "Paris",
        "Paris, France",
        "in Paris, Lamar County, Texas",
        "She was born in Paris, the capital of France, or so I've heard.",
        "in Paris or thereabouts",
        "Paris and Lyon",
        "Paris, Paris, Paris, Paris",
        "Paris or London? Paris.",
        "She was born in Paris. Later she lived in London, Rome and Lyon.",
        "Paris. It is lovely.",
    ],
)
def test_a_reply_that_commits_offers_one(reply: str) -> None:
    assert min(candidates(reply), candidates(reply.split("? ")[-1])) == 1


def test_a_question_for_several_may_get_several() -> None:
    assert candidates("Tideglass, Moonrise and Ember", "Tideglass", "Name one of her books.") == 1
    assert candidates("Tideglass, Moonrise or Ember", "Tideglass", "Name one of her books.") == 3
    assert candidates("Tideglass, Moonrise and Ember", "Tideglass", "What was her debut?") == 3


def test_an_answer_of_several_parts_counts_them() -> None:
    assert candidates("red and blue", "red and blue") == 1
    assert candidates("red, blue and green", "red and blue") == 1
    assert candidates("red, blue, green, white, black and yellow", "red and blue") == 6


@pytest.mark.parametrize(
    ("reply", "answer", "count"),
    [
        ("2 or 3", "3", 2),
        ("10 to 12", "12", 2),
        ("10-12", "12", 2),
        ("1885, 1886, 1887 or 1888", "1887", 4),
        ("from 1887 to 1890", "1887", 1),
        ("13 March 1932, 14 March 1932 or 15 March 1932", "14 March 1932", 3),
        ("a civil engineer, a dentist or a baker", "civil engineer", 3),
        ("a civil engineer, or something like that", "civil engineer", 1),
    ],
)
def test_numbers_dates_and_trades_are_listed_too(reply: str, answer: str, count: int) -> None:
    assert candidates(reply, answer) == count


def test_a_rival_has_the_answers_shape_and_was_not_in_the_question() -> None:
    question, reading = read("Where was Ida born?"), read("However, Ida was born in Lyon in 1950.")
    words = [reading.tokens[i].text for i in find_rivals(reading, 0, 9, read_answer("Paris", question), question)]
    assert words == ["Lyon"]
    numbers = [reading.tokens[i].text for i in find_rivals(reading, 0, 10, read_answer("1940", question), question)]
    assert numbers == ["1950"]


def test_a_bare_candidate_stands_alone() -> None:
    question = read("Where was she born?")
    answer = read_answer("Paris", question)
    for text, is_bare in (
        ("Lyon", True),
        ("perhaps Lyon", True),
        ("Lyon or Rome", False),
        ("she lived in Lyon", False),
    ):
        reading = read(text + ".")
        assert is_bare_candidate(reading, 0, len(reading.tokens) - 1, answer, question) is is_bare, text
