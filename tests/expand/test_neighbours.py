"""Neighbours: names by sampling, kinds and distances by vote."""

from __future__ import annotations

from concept_forget.expand.neighbours import _Poll
from concept_forget.records import Distance


def draw(poll: _Poll, name: str, kind: str, distance: Distance) -> str | None:
    return poll.count(name, kind, distance, "Mira Kestrel")


def test_the_kind_and_distance_that_a_name_gets_most_often_hold() -> None:
    poll = _Poll({"near": 2, "middle": 2, "far": 2})
    assert draw(poll, "Drumquail", "town", "middle") is None
    assert draw(poll, "Dunholm", "town", "middle") is None
    assert draw(poll, "drumquail", "bird", "far") == "found already"
    assert draw(poll, "Drumquail", "Bird", "far") == "found already"
    found = [(subject.name, subject.concept.kind, subject.distance) for subject in poll.subjects()]
    assert found == [("Dunholm", "town", "middle"), ("drumquail", "bird", "far")]


def test_of_equals_the_first_holds() -> None:
    poll = _Poll({"near": 0, "middle": 2, "far": 2})
    draw(poll, "Drumquail", "town", "middle")
    draw(poll, "Drumquail", "bird", "far")
    assert [(s.concept.kind, s.distance) for s in poll.subjects()] == [("town", "middle")]


def test_no_more_names_are_taken_than_were_asked_for() -> None:
    poll = _Poll({"near": 1, "middle": 0, "far": 0})
    assert draw(poll, "Ada Finch", "person", "near") is None
    assert draw(poll, "Oren Vale", "person", "near") == "more than were asked for"
    assert poll.missing == {"near": 0, "middle": 0, "far": 0}
    assert [subject.name for subject in poll.subjects()] == ["Ada Finch"]
