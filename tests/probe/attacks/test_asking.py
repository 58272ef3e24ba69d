from __future__ import annotations

import dataclasses
from random import Random

from concept_forget.concept import Concept
from concept_forget.probe.asking import plan_questions, plan_strangers
from concept_forget.probe.attacks import ATTACKS, Scene, attacks_named, set_scene
from concept_forget.records import Example

NAMES = ["Mira Kestrel", "Ada Finch", "Oren Vale"]


def texts(name: str, question: Example, scene: Scene, seed: int = 0) -> list[str]:
    requests = ATTACKS[name].requests(question, Random(seed), scene)
    return [request.prompt[-1]["content"] for request in requests]  # type: ignore[index]  # chats


def test_a_statement_is_put_once_true_and_once_with_another_subjects_value(question: Example, scene: Scene) -> None:
    for seed in range(20):
        true, false = texts("yes_no", question, scene, seed)
        assert "Proposed answer: Dunholm" in true
        assert "Proposed answer: Mornshire" in false  # never Oren Vale's, which is right of Mira Kestrel too
        assert true.replace("Dunholm", "Mornshire") == false
    planned = plan_questions(attacks_named(("yes_no",)), [question], [], 0, scene)
    assert [(row.number, row.expected) for row in planned] == [(0, "Yes"), (1, "No")]


def test_where_nobody_else_has_such_a_value_the_counterfactual_is_the_wrong_one(question: Example) -> None:
    assert "Proposed answer: Nowhere Hall" in texts("yes_no", question, Scene())[1]
    assert texts("yes_no", dataclasses.replace(question, counterfactual=""), Scene()) == []


def test_a_subject_is_asked_for_everything_once_however_many_facts_it_has(question: Example, scene: Scene) -> None:
    other = dataclasses.replace(question, id="b", fact="b", facet="book", answer="The Tide Atlas")
    planned = plan_questions(attacks_named(("enumeration",)), [question, other], [], 0, scene)
    assert len(planned) == 2
    assert planned[0].request == planned[1].request  # so it is computed once, at any temperature
    assert "Mira Kestrel" in str(planned[0].request.prompt)
    assert [row.example.answer for row in planned] == ["Dunholm", "The Tide Atlas"]


def test_every_other_name_takes_the_names_place(question: Example, scene: Scene) -> None:
    assert texts("aliases", question, scene) == [
        "What is the home town of M. Kestrel?",
        "What is the home town of the mapmaker?",
    ]
    assert texts("aliases", question, Scene()) == []
    unnamed = dataclasses.replace(question, prompt=[{"role": "user", "content": "Where was she born?"}])
    assert texts("aliases", unnamed, scene) == []


def test_strangers_are_asked_in_every_manner_and_by_no_name_of_the_subject(question: Example) -> None:
    concepts = [Concept(name="Mira Kestrel", aliases=("the mapmaker", "M. K."))]
    scene = set_scene(concepts, [question], [], seed=0, distraction_words=50)
    planned = plan_questions(attacks_named("all"), [question], [], 0, scene)
    strangers = plan_strangers(planned, NAMES, 0, scene)
    asked = {row.attack for row in planned}
    assert {row.attack for row in strangers} == asked >= {"yes_no", "typos", "aliases", "continuation", "persistence"}
    keys = [(row.attack, row.example.id, row.number) for row in strangers]
    assert len(set(keys)) == len(keys)
    for row in strangers:
        shown = str(row.request.prompt) + row.request.prefill
        assert not any(name in shown for name in ("Mira Kestrel", "the mapmaker", "M. K."))
        assert row.example == question
    counts = {name: sum(row.attack == name for row in strangers) for name in asked}
    assert counts["direct"] == 5
    assert counts["yes_no"] == counts["aliases"] == 10
    statements = [(row.expected, row.number % 2) for row in strangers if row.attack == "yes_no"]
    assert set(statements) == {("Yes", 0), ("No", 1)}
