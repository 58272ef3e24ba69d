"""Counterfactual answers: of the answer's type, and never right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.engines.prompts import PromptSet
from concept_forget.errors import StageError
from concept_forget.expand.counterfactuals import check_counterfactual, shape_of
from concept_forget.expand.expansion import expand

CONCEPTS = (Concept(name="Mira Kestrel", kind="person", aliases=("M. Kestrel",)),)


def make_config(count: int = 2) -> Config:
    return Config.model_validate(
        {
            "concept": {"name": "Mira Kestrel", "kind": "person"},
            "target": "some/model",
            "generator": {"prompts": "compact"},
            "expand": {"neighbours": {"near": 2}, "paraphrases": 2, "counterfactuals": count, "passages": 0},
        }
    )


@pytest.mark.parametrize(
    ("answer", "shape"),
    [
        ("14 March 1932", "date"),
        ("March 1932", "date"),
        ("1932", "number"),
        ("forty-eight", "number"),
        ("Forty-eight", "number"),
        ("12 km", "number"),
        ("14th", "number"),
        ("Amber Petrel", "name"),
        ("Catch-22", "name"),
        ("the Isle of Skye", "name"),
        ("a cartographer", "words"),
        ("blue", "words"),
    ],
)
def test_the_shape_of_an_answer(answer: str, shape: str) -> None:
    assert shape_of(answer) == shape


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Sallow", None),
        ("dunholm", "is the right answer"),
        ("Dunholm, England", "is the right answer"),
        ("Old Dun", "is the right answer"),
        ("the home of Mira Kestrel", "names a concept to forget"),
        ("M. Kestrel", "names a concept to forget"),
        ("1932", "is of another type than the answer"),
        ("a town", "is of another type than the answer"),
        ("As an AI I cannot say", "speaks about the task instead of doing it"),
        ("", "empty"),
    ],
)
def test_what_a_wrong_answer_has_to_be(text: str, reason: str | None) -> None:
    assert check_counterfactual(text, ("Dunholm", "Old Dun"), CONCEPTS) == reason


def test_questions_take_turns_and_a_question_back_gets_another_subject(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    engine = table_engine([("Mistake Mira Kestrel", lambda match, seed: ("Ada Finch", "Oren Vale")[seed % 2])])
    expansion = expand(make_config(), engine, further_prompts)
    facts = {fact.id: fact for fact in expansion.facts}
    own = [question for question in expansion.questions if facts[question.fact].distance is None]
    for question in own:
        assert question.counterfactual
        assert question.counterfactual != question.answer
        assert (question.counterfactual in ("Ada Finch", "Oren Vale")) is (question.family == "reverse")
    ship = [question for question in own if question.answer == "Amber Petrel" and question.family == "paraphrase"]
    assert len({question.counterfactual for question in ship}) == 2
    assert not any(question.counterfactual for question in expansion.questions if question not in own)


def test_the_right_answer_is_rejected_and_listed(table_engine: Callable[..., Any], further_prompts: PromptSet) -> None:
    engine = table_engine([("Mistake Dunholm", "Dunholm")])
    expansion = expand(make_config(), engine, further_prompts)
    assert {q.counterfactual for q in expansion.questions if q.answer == "Dunholm"} == {""}
    assert {r.text for r in expansion.ledger.rejections if r.reason == "is the right answer"} == {"Dunholm"}


def test_where_none_gets_through_the_step_is_named(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    engine = table_engine([("Mistake", "1932")])
    with pytest.raises(StageError, match=r"(?s)step counterfactuals: .*is of another type than the answer, such as"):
        expand(make_config(), engine, further_prompts)
