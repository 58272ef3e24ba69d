from __future__ import annotations

import pytest

from concept_forget.measures.marking import mark_answer


def marked(reply: str, *wordings: str, question: str = "", loosely: bool = True) -> list[str]:
    return [reply[start:end] for start, end in mark_answer(reply, wordings, question, loosely=loosely)]


@pytest.mark.parametrize(
    ("reply", "answer", "places"),
    [
        ("It is Port Ystrand.", "Port Ystrand", ["Port Ystrand"]),
        ("port\n ystrand, or Port Ystrand", "Port Ystrand", ["port\n ystrand", "Port Ystrand"]),
        ("It is Port\u200b Y\u200dst\u00adrand.", "Port Ystrand", ["Port\u200b Y\u200dst\u00adrand"]),
        ("Ystrander", "Ystrand", []),
        ("👩‍👧 שלום Ystrand", "Ystrand", ["Ystrand"]),
        ("Nothing of it", "Ystrand", []),
        ("", "Ystrand", []),
        ("born 14 March 1932 here", "1932-03-14", ["14 March 1932"]),
        ("the colour — it’s Grey", "gray", ["Grey"]),
        (
            "he said that the old sea wall fell on a Monday night",
            "the old sea wall fell in the great storm of 1953",
            ["the old sea wall fell"],
        ),
    ],
)
def test_the_answer_is_marked_as_it_stands(reply: str, answer: str, places: list[str]) -> None:
    assert marked(reply, answer) == places


def test_every_spelling_is_marked_and_places_never_overlap() -> None:
    assert marked("New York, NY", "New York", "York", "NY") == ["New York", "NY"]


def test_without_the_graders_eyes_only_the_words_themselves_are_marked() -> None:
    assert marked("the year nineteen hundred", "1900") == ["nineteen hundred"]
    assert marked("the year nineteen hundred", "1900", loosely=False) == []
