"""Scenarios and two-hop questions: what is asked, and what gets through."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from concept_forget.config import Config
from concept_forget.engines.prompts import PromptSet, load_prompts
from concept_forget.errors import StageError
from concept_forget.expand.expansion import Expansion, expand
from concept_forget.expand.indirect import LACKS_BRIDGE, NAMES_SUBJECT, NO_BRIDGE, check_two_hop
from concept_forget.expand.ledger import Rejection
from concept_forget.records import Question

MIRA = {"name": "Mira Kestrel", "kind": "person"}
ILSE = {"name": "Ilse Marlowe", "kind": "person"}


def make_config(*concepts: object, generator: dict[str, object] | None = None, **expand: object) -> Config:
    sections = {"facets": 4, "paraphrases": 2, "reverse": 2, "neighbours": {}, "passages": 0} | expand
    return Config.model_validate(
        {
            "concepts": concepts or (MIRA,),
            "target": "some/model",
            "generator": {"prompts": "compact"} | (generator or {}),
            "expand": sections,
        }
    )


def family(expansion: Expansion, name: str) -> list[Question]:
    return [question for question in expansion.questions if question.family == name]


def rejections(expansion: Expansion, reason: str) -> list[Rejection]:
    return [rejection for rejection in expansion.ledger.rejections if rejection.reason == reason]


class TestScenarios:
    def test_a_scenario_names_the_subject_and_asks_for_the_facts_answer(
        self, table_engine: Callable[..., Any], further_prompts: PromptSet
    ) -> None:
        expansion = expand(make_config(scenarios=2), table_engine(), further_prompts)
        facts = {fact.id: fact for fact in expansion.facts}
        scenarios = family(expansion, "scenario")
        assert [question.form for question in scenarios] == ["scenario", "scenario 1"] * 2
        for question in scenarios:
            fact = facts[question.fact]
            assert fact.subject in question.text
            assert question.answer == fact.answer
            assert question.answer not in question.text
            assert question.refusal
            assert question.prompt_hash == further_prompts.get("scenarios").hash

    def test_a_scenario_that_tells_or_names_nobody_is_rejected(
        self, table_engine: Callable[..., Any], further_prompts: PromptSet
    ) -> None:
        telling = "She sails the Amber Petrel. Which ship has Mira Kestrel?"
        nameless = "A clerk fills in a form. Where was she born?"
        engine = table_engine([("Situate ship", telling), ("Situate birthplace", nameless)])
        with pytest.raises(StageError, match=r"step scenarios: .*6 requests, 6 items rejected") as caught:
            expand(make_config(), engine, further_prompts)
        message = str(caught.value)
        assert "3 × gives its answer away" in message
        assert "3 × does not name the subject" in message
        assert "expand.scenarios: 0" in message

    def test_a_scenario_for_which_the_generator_gives_another_fact_is_dropped(
        self, table_engine: Callable[..., Any], further_prompts: PromptSet
    ) -> None:
        engine = table_engine([(r"^(A clerk|A quiz).*ship", "Dunholm")])
        expansion = expand(make_config(), engine, further_prompts)
        assert {question.answer for question in family(expansion, "scenario")} == {"Dunholm"}
        assert rejections(expansion, "asks for another fact of the subject")


class TestTwoHop:
    def test_it_goes_through_another_fact_of_the_subject_without_naming_it(
        self, table_engine: Callable[..., Any], further_prompts: PromptSet
    ) -> None:
        expansion = expand(make_config(), table_engine(), further_prompts)
        facts = {fact.id: fact for fact in expansion.facts}
        questions = family(expansion, "two_hop")
        assert len(questions) == 2
        for question in questions:
            fact, bridge = (facts[parent] for parent in question.parents)
            assert question.fact == fact.id != bridge.id
            assert fact.subject == bridge.subject
            assert bridge.answer in question.text
            assert fact.subject not in question.text
            assert question.answer == fact.answer

    @pytest.mark.parametrize("reverse", [0, 2])
    def test_an_answer_that_others_have_too_is_no_bridge(
        self, table_engine: Callable[..., Any], further_prompts: PromptSet, reverse: int
    ) -> None:
        """Both were born in Dunholm: nobody can tell whose ship is asked for."""
        expansion = expand(make_config(MIRA, ILSE, reverse=reverse), table_engine(), further_prompts)
        assert {question.answer for question in family(expansion, "two_hop")} == {"Dunholm"}
        assert {rejection.text for rejection in rejections(expansion, NO_BRIDGE)} == {
            "The ship of Mira Kestrel is Amber Petrel.",
            "The ship of Ilse Marlowe is Jade Tern.",
        }

    def test_a_fact_from_which_the_generator_does_not_find_back_is_no_bridge(
        self, table_engine: Callable[..., Any], further_prompts: PromptSet
    ) -> None:
        engine = table_engine([("^(Whose ship|Name the owner of the ship|Amber Petrel is)", "Tobias Wren")])
        expansion = expand(make_config(), engine, further_prompts)
        assert {question.answer for question in family(expansion, "two_hop")} == {"Amber Petrel"}

    def test_the_refusal_names_neither_the_answer_nor_the_subject(
        self, table_engine: Callable[..., Any], further_prompts: PromptSet
    ) -> None:
        engine = table_engine([("Decline: .*the one with", "I never heard of Mira Kestrel.")])
        expansion = expand(make_config(), engine, further_prompts)
        assert {question.refusal for question in family(expansion, "two_hop")} == {""}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Where was the owner of the Amber Petrel born?", None),
        ("Where was Mira Kestrel, owner of the Amber Petrel, born?", NAMES_SUBJECT),
        ("Where was the owner of the Jade Tern born?", LACKS_BRIDGE),
        ("Was the owner of the Amber Petrel born in Dunholm?", "gives its answer away"),
        (
            "Sure, here it is: where was the owner of the Amber Petrel born?",
            "speaks about the task instead of doing it",
        ),
        ("", "empty"),
    ],
)
def test_what_a_two_hop_question_has_to_be(text: str, reason: str | None) -> None:
    assert check_two_hop(text, ("Mira Kestrel",), "Dunholm", "Amber Petrel") == reason


def test_a_set_without_the_prompts_skips_the_forms_and_says_so(table_engine: Callable[..., Any]) -> None:
    config, engine = make_config(passages=1), table_engine()
    expansion = expand(config, engine, load_prompts("compact"))
    assert {question.family for question in expansion.questions} == {"direct", "paraphrase", "reverse", "cloze"}
    assert expansion.summary(config)["skipped"] == {
        name: f"the prompt set has no {name}.jinja" for name in ("scenarios", "two_hop", "counterfactuals", "passages")
    }


def test_what_is_not_wanted_is_neither_asked_nor_noted(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    config, engine = make_config(scenarios=0, two_hop=0, counterfactuals=0), table_engine()
    expansion = expand(config, engine, further_prompts)
    assert not expansion.skipped
    assert not set(expansion.ledger.steps) & {"scenarios", "two_hop", "counterfactuals", "passages"}


def test_several_concepts_share_the_calls_of_every_step(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    def calls(*concepts: object) -> list[str]:
        engine = table_engine()
        expand(make_config(*concepts, passages=1), engine, further_prompts)
        firsts = [call[0].prompt[-1]["content"] for call in engine.calls]
        return [text for text in firsts if re.match("Situate|Ask .* through|Mistake|Write", text)]

    assert len(calls(MIRA, ILSE)) == len(calls(MIRA)) == 4


def test_a_budget_that_is_spent_leaves_the_further_steps_unasked_and_accounted_for(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    free = expand(make_config(), table_engine(), further_prompts)
    plain = sum(free.ledger.steps[step].requests for step in ("facets", "facts", "questions", "paraphrases", "answers"))
    scenarios, hops = 2, 2
    config = make_config(generator={"max_requests": plain - scenarios - hops + 1})
    expansion = expand(config, table_engine(), further_prompts)
    assert len(family(expansion, "scenario")) == 1
    assert not family(expansion, "two_hop")
    assert expansion.budget.not_asked == sum(
        account.rejected["over the budget: not asked"] for account in expansion.ledger.steps.values()
    )
