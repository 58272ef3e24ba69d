"""Which option a reply picks."""

from __future__ import annotations

import pytest

from concept_forget.measures.choices import find_option, read_pick
from concept_forget.measures.reading import read

OPTIONS = ("Lyon", "Dunholm", "Porto", "Graz")
QUESTION = "Which town is it?\nA) Lyon\nB) Dunholm\nC) Porto\nD) Graz"


def picks(reply: str, options: tuple[str, ...] = OPTIONS, question: str = QUESTION) -> set[str]:
    pick = read_pick(read(reply), reply, read(question), question, options)
    return {options[place] for place in pick.affirmed}


@pytest.mark.parametrize(
    "reply",
    [
        "B",
        "b",
        "(b)",
        "B.",
        "B) Dunholm",
        "B: Dunholm",
        "**B**",
        "Option B",
        "The answer is B.",
        "Answer: b",
        "I'd go with B.",
        "It's (B), I think.",
        "Dunholm",
        "dunholm!",
        "2",
        "number 2",
        "the second option",
        "The second one.",
        "Not A, so B.",
        "Dunholm, not Porto",
        "Dunhlom",
    ],
)
def test_an_option_is_picked_in_many_ways(reply: str) -> None:
    assert picks(reply) == {"Dunholm"}


@pytest.mark.parametrize(
    ("reply", "picked"),
    [
        ("A or B", {"Lyon", "Dunholm"}),
        ("Lyon and Dunholm", {"Lyon", "Dunholm"}),
        ("B) Porto", {"Dunholm", "Porto"}),
        (QUESTION, set(OPTIONS)),
        ("It's not B.", set()),
        ("A town in the north.", set()),
        ("I am not able to say.", set()),
        ("None of them", set()),
        ("The last one.", {"Graz"}),
        ("the sixth option", set()),
        ("Lisbon", set()),
    ],
)
def test_two_options_none_and_all_are_told_apart(reply: str, picked: set[str]) -> None:
    assert picks(reply) == picked


def test_labels_are_those_that_the_question_shows() -> None:
    shown = "Which?\n1) Graz\n2) Porto\n3) Lyon\n4) Dunholm"
    assert picks("2", ("Graz", "Porto", "Lyon", "Dunholm"), shown) == {"Porto"}
    assert picks("(D)", ("Graz", "Porto", "Lyon", "Dunholm"), "Which? (B) Graz (A) Porto (D) Lyon (C) Dunholm") == {
        "Lyon"
    }
    assert picks("A", ("Graz", "Porto", "Lyon", "Dunholm"), "Which? (B) Graz (A) Porto (D) Lyon (C) Dunholm") == {
        "Porto"
    }


def test_a_number_is_the_option_before_it_is_a_label() -> None:
    assert picks("3", ("2", "3", "4", "5"), "How many: 2, 3, 4 or 5?") == {"3"}
    assert picks("three", ("2", "3", "4", "5"), "How many: 2, 3, 4 or 5?") == {"3"}
    assert picks("C", ("2", "3", "4", "5"), "How many: 2, 3, 4 or 5?") == {"4"}


def test_a_word_that_only_one_option_has_picks_it() -> None:
    quills = ("the Amber Quill", "the Silver Quill", "the Golden Oar")
    assert picks("Silver", quills, "Which prize?") == {"the Silver Quill"}
    assert picks("the Quill", quills, "Which prize?") == set()


@pytest.mark.parametrize(
    ("reply", "picked"),
    [
        ("Gilded", {"Gilded Shadow"}),
        ("I think Shadow.", {"Gilded Shadow"}),
        ("the Shadow", {"Gilded Shadow"}),
        ("Dr. Kestrel", {"Mira Kestrel"}),
        ("Gilded buttons", set()),
        ("Gilded Gilded Gilded", set()),
        ("Silver Shadow", set()),
        ("Mira Thorn", set()),
        ("Peter Kestrel", set()),
        ("Kestrel wrote it", {"Mira Kestrel"}),
    ],
)
def test_a_word_within_another_name_picks_nothing(reply: str, picked: set[str]) -> None:
    assert picks(reply, ("Gilded Shadow", "Tin Whistles", "Mira Kestrel", "Odo Wren"), "Which is it?") == picked


def test_the_longer_of_two_nested_options_is_meant() -> None:
    towns = ("York", "New York", "Leeds")
    assert picks("New York", towns, "Which town?") == {"New York"}
    assert picks("York", towns, "Which town?") == {"York"}


def test_the_right_option_is_found_by_its_spelling() -> None:
    assert find_option(["silver quill"], ["Amber Quill", "The Silver Quill."]) == 1
    assert find_option(["the golden oar"], ["Amber Quill", "Silver Quill"]) is None
