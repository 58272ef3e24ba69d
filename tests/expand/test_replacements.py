"""Stale knowledge: facts whose answer gives way to a new one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from concept_forget.config import Config
from concept_forget.engines.prompts import PromptSet, load_prompts
from concept_forget.errors import StageError
from concept_forget.expand.expansion import expand
from concept_forget.expand.replacements import IS_NEW


def make_config(*entries: dict[str, str], **expand: object) -> Config:
    return Config.model_validate(
        {
            "concept": {"name": "Mira Kestrel", "kind": "person", "replace": entries},
            "target": "some/model",
            "generator": {"prompts": "compact"},
            "expand": {"neighbours": {}, "paraphrases": 2, "passages": 0} | expand,
        }
    )


@pytest.fixture(scope="module")
def prompts() -> PromptSet:
    return load_prompts("compact")


@pytest.mark.parametrize("facet", ["", "ship", "her ship"])
def test_a_stated_fact_gets_the_new_answer_and_its_questions_with_it(
    table_engine: Callable[..., Any], further_prompts: PromptSet, facet: str
) -> None:
    config = make_config({"old": "the amber petrel", "new": "Jade Tern", "facet": facet})
    expansion = expand(config, table_engine(), further_prompts)
    replaced = {fact.answer: fact.replacement for fact in expansion.facts}
    assert replaced == {"Dunholm": "", "Amber Petrel": "Jade Tern"}
    ids = {fact.id for fact in expansion.facts if fact.replacement}
    for question in expansion.questions:
        if question.fact in ids and question.family != "reverse":
            assert question.counterfactual == "Jade Tern"
        else:
            assert question.counterfactual not in ("", "Jade Tern")
    assert expansion.summary(config)["replaced_facts"] == 1


def test_a_fact_that_nobody_states_is_made_from_the_entry_and_vouched_for(
    table_engine: Callable[..., Any], prompts: PromptSet
) -> None:
    """The generator may be newer than the target: that it does not give the old answer is no reason to drop it."""
    config = make_config({"old": "Bram Sorrel", "new": "Linnea Vance", "facet": "mentor"}, answer_samples=3)
    expansion = expand(config, table_engine(), prompts)
    (fact,) = [fact for fact in expansion.facts if fact.replacement]
    assert (fact.facet, fact.answer, fact.replacement) == ("mentor", "Bram Sorrel", "Linnea Vance")
    assert fact.sentence == "The mentor of Mira Kestrel is Bram Sorrel."
    assert fact.source == "user"
    assert fact.prompt_hash == prompts.get("statement").hash
    assert {q.family for q in expansion.questions if q.fact == fact.id} >= {"direct", "cloze"}


def test_a_fact_of_another_facet_with_the_old_answer_stays_as_it_is(
    table_engine: Callable[..., Any], prompts: PromptSet
) -> None:
    config = make_config({"old": "Dunholm", "new": "Sallow", "facet": "seat"})
    expansion = expand(config, table_engine(), prompts)
    assert {(fact.facet, fact.replacement) for fact in expansion.facts if fact.answer == "Dunholm"} == {
        ("birthplace", ""), ("seat", "Sallow"),
    }  # fmt: skip


def test_the_new_answer_is_nothing_to_forget(table_engine: Callable[..., Any], prompts: PromptSet) -> None:
    config = make_config({"old": "Coral Heron", "new": "Amber Petrel", "facet": "ship"})
    expansion = expand(config, table_engine(), prompts)
    assert {fact.answer for fact in expansion.facts} == {"Dunholm", "Coral Heron"}
    assert [r.text.split(" | ")[0] for r in expansion.ledger.rejections if r.reason == IS_NEW] == ["Amber Petrel"]


def test_an_entry_that_meets_no_fact_and_names_no_facet_is_an_error_that_says_so(
    table_engine: Callable[..., Any], prompts: PromptSet
) -> None:
    with pytest.raises(StageError, match=r"no fact about 'Mira Kestrel' has the answer 'Bram Sorrel'") as caught:
        expand(make_config({"old": "Bram Sorrel", "new": "Linnea Vance"}), table_engine(), prompts)
    assert "`facet`" in str(caught.value)


def test_an_entry_that_makes_no_statement_is_an_error_that_says_why(
    table_engine: Callable[..., Any], prompts: PromptSet
) -> None:
    config = make_config({"old": "Mira Kestrel", "new": "Linnea Vance", "facet": "mentor"})
    with pytest.raises(StageError, match=r"(?s)step replacements: .*the answer is the subject itself"):
        expand(config, table_engine(), prompts)


def test_where_nothing_else_is_known_the_entry_alone_will_do(
    table_engine: Callable[..., Any], prompts: PromptSet
) -> None:
    config = make_config({"old": "Bram Sorrel", "new": "Linnea Vance", "facet": "mentor"}, paraphrases=0, reverse=0)
    expansion = expand(config, table_engine([("State", "no bar here")]), prompts)
    assert [fact.facet for fact in expansion.facts] == ["mentor"]
