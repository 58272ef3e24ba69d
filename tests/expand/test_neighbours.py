"""Neighbours: names by sampling, kinds and distances by vote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import StageError
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.neighbours import _Poll, find_neighbours
from concept_forget.expand.writer import Wish, Writer
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


def test_what_near_neighbours_have_in_common_changes_from_one_request_to_the_next(
    table_engine: Callable[..., Any],
) -> None:
    config = Config.model_validate(
        {
            "concept": {"name": "Mira Kestrel", "kind": "person"},
            "target": "m",
            "expand": {"neighbours": {"near": 25, "middle": 25}},
        }
    )
    engine = table_engine([("Your task", '{"neighbours": [{"name": "Ilse Marlowe", "kind": "person"}]}')])
    writer = Writer(engine, load_prompts("default"), config.generator, 0, Ledger())
    find_neighbours(writer, config.concepts, config.expand)
    first = [request.prompt[-1]["content"] for request in engine.calls[0]]
    near = [text for text in first if "most like" in text]
    assert len(near) == 4
    assert len(set(near)) == 4, "same kind, same place, same period, same words"
    assert len({text for text in first if "surroundings" in text}) == 1
    again = [text for text in (r.prompt[-1]["content"] for r in engine.calls[1]) if "most like" in text]
    assert again[0] != near[0], "the next round begins with the next of them"


def test_a_prompt_that_does_not_heed_what_takes_turns_is_the_same_every_time() -> None:
    wish = Wish(("x",), {"concept": Concept(name="Mira"), "distance": "near"}, 4, turns={"aspect": ("kind", "place")})
    prompt = load_prompts("compact").get("neighbours")
    assert len({prompt.render_text(**wish.variables_of(time), n=1) for time in range(4)}) == 1


def test_where_none_is_found_a_small_models_prompts_are_named(table_engine: Callable[..., Any]) -> None:
    config = Config.model_validate({"concept": {"name": "Mira Kestrel", "kind": "person"}, "target": "m"})
    writer = Writer(table_engine([("Your task", "towns")]), load_prompts("default"), config.generator, 0, Ledger())
    with pytest.raises(StageError, match="no neighbour was found") as caught:
        find_neighbours(writer, config.concepts, config.expand)
    assert "a small model takes `generator.prompts: compact`" in str(caught.value)
