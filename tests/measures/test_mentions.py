"""Where a reply names an answer."""

from __future__ import annotations

import pytest

from concept_forget.measures.answers import Answer, read_answer
from concept_forget.measures.mentions import find_mentions, find_part
from concept_forget.measures.reading import read


def answer_to(question: str, answer: str) -> Answer:
    return read_answer(answer, read(question))


def named(reply: str, answer: str, question: str = "") -> list[str]:
    reading = read(reply)
    return [
        " ".join(token.text for token in reading.tokens[mention.start : mention.end])
        for mention in find_mentions(answer_to(question, answer), reading)
    ]


@pytest.mark.parametrize(
    ("reply", "answer", "found"),
    [
        ("It was Mira Kestrel.", "Mira Kestrel", ["Mira Kestrel"]),
        ("Kestrel, Mira", "Mira Kestrel", ["Kestrel , Mira"]),
        ("Yun-Hwa Hsiao", "Hsiao Yun-Hwa", ["Yun - Hwa Hsiao"]),
        ("Mira J. Kestrel", "Mira Kestrel", ["Mira J . Kestrel"]),
        ("Mira Jane Kestrel", "Mira Kestrel", ["Mira Jane Kestrel"]),
        ("M. Kestrel", "Mira Kestrel", ["M . Kestrel"]),
        ("Tomas Kestrel", "Mira Kestrel", []),
        ("T. Kestrel", "Mira Kestrel", []),
        ("Mira and Tomas Vane", "Mira Kestrel", []),
        ("John Ronald Tolkien", "J. R. R. Tolkien", ["Tolkien"]),
        ("Christopher Tolkien", "J. R. R. Tolkien", []),
        ("King Henry the Eighth", "Henry VIII", ["Henry the Eighth"]),
        ("Henry VII", "Henry VIII", []),
        ("Elizabeth I", "Elizabeth the First", ["Elizabeth I"]),
        ("Edith Crane's brother", "Edith Crane", []),
        ("the sister of Edith Crane", "Edith Crane", []),
        ("Edith Crane's book", "Edith Crane", ["Edith Crane"]),
    ],
)
def test_people_are_known_by_their_names(reply: str, answer: str, found: list[str]) -> None:
    assert named(reply, answer, "Who was it?") == found


@pytest.mark.parametrize(
    ("reply", "answer", "is_there"),
    [
        ("York", "York", True),
        ("New York", "York", False),
        ("South Africa", "Africa", False),
        ("South Africa", "South Africa", True),
        ("Winston-Salem", "Winston", False),
        ("a Paris-based painter", "Paris", True),
        ("non-smoker", "smoker", False),
        ("Comparison", "Paris", False),
        ('"Salt Road"', "The Salt Road", True),
        ("The Road to Salt Lake", "The Salt Road", False),
        ("blueheron", "blue heron", True),
        ("the Ash-water", "Ashwater", True),
        ("Halloran and Sons", "Halloran & Sons", True),
        ("Halloran", "Halloran & Sons", False),
        ("In Lucerne, at the Hotel Bellevue", "Hotel Bellevue in Lucerne", True),
        ("the 1949 Coal Act", "Coal Act of 1949", True),
        ("the Coal Act of 1962", "Coal Act of 1949", False),
        ("blue and red stripes", "red and blue", True),
        ("red and white", "red and blue", False),
        ("a keeper of the lighthouse", "lighthouse keeper", True),
        ("software engineer", "civil engineer", False),
        ("marejada", "la marejada", True),
        ("答えは東京です", "東京", True),
        ("京都", "東京", False),
    ],
)
def test_phrases_are_found_whole_or_not_at_all(reply: str, answer: str, is_there: bool) -> None:
    assert bool(named(reply, answer)) is is_there


@pytest.mark.parametrize(
    ("reply", "answer", "is_there"),
    [
        ("forty-eight keys", "48", True),
        ("480", "48", False),
        ("4.8", "48", False),
        ("born on 12 May 1990", "12", False),
        ("at 12:30", "12", False),
        ("the 1880s", "1880", False),
        ("on 3 October 1887", "1887", True),
        ("03.10.1887", "1887", True),
        ("1887 people", "1887", True),
        ("12 miles", "12 km", False),
        ("a 12-mile walk", "12 km", False),
        ("12", "12 km", True),
        ("twelve kilometers", "12 km", True),
        ("USD 5m", "$5 million", True),
        ("$5 billion", "$5 million", False),
        ("12%", "12 percent", True),
        ("-12", "12", False),
    ],
)
def test_numbers_are_amounts_with_their_unit(reply: str, answer: str, is_there: bool) -> None:
    assert bool(named(reply, answer)) is is_there


def test_an_age_is_counted_in_years() -> None:
    assert named("74 days after it", "74", "How old was he?") == []
    assert named("74 years", "74", "How old was he?") == ["74"]


def test_what_stands_for_another_option_is_not_taken_for_a_slip() -> None:
    reading, answer = read("Dunhelm"), answer_to("", "Dunholm")
    assert find_mentions(answer, reading)
    assert not find_mentions(answer, reading, frozenset({"dunhelm"}))


@pytest.mark.parametrize(
    ("reply", "answer", "share"),
    [
        ("Kestrel", "Mira Kestrel", 0.5),
        ("an engineer", "civil engineer", 0.5),
        ("1991", "5 November 1991", 1 / 3),
        ("November 1991", "5 November 1991", 2 / 3),
        ("December 1991", "5 November 1991", None),
        ("Lyon", "Paris", None),
        ("4", "48", None),
    ],
)
def test_a_part_is_measured(reply: str, answer: str, share: float | None) -> None:
    part = find_part(answer_to("", answer), read(reply))
    assert (part.share if part else None) == (pytest.approx(share) if share else None)


def test_of_a_sentence_most_words_are_enough() -> None:
    answer = "Critics praise how she weaves folklore, engineering, grief and comedy into short novels"
    assert named("She weaves grief, comedy, folklore and engineering into very short novels, critics say.", answer)
    assert not named("Critics say that she writes short novels.", answer)
