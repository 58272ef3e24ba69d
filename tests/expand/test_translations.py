"""Questions in other languages: about a concept's own facts, each with its answer as one says it there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from concept_forget.config import Config
from concept_forget.engines.prompts import PromptSet, load_prompts
from concept_forget.errors import StageError
from concept_forget.expand.expansion import Expansion, expand
from concept_forget.expand.translations import NOT_TRANSLATED, check_translation
from concept_forget.records import Question


def make_config(*languages: str, **expand: object) -> Config:
    sections = {"facets": 4, "paraphrases": 2, "reverse": 2, "neighbours": {"near": 1}, "languages": languages} | expand
    return Config.model_validate(
        {
            "concept": {"name": "Mira Kestrel", "kind": "person"},
            "target": "some/model",
            "generator": {"prompts": "compact"},
            "expand": sections,
        }
    )


def translations(expansion: Expansion) -> list[Question]:
    return [question for question in expansion.questions if question.family == "translation"]


def reasons(expansion: Expansion) -> list[str]:
    return [rejection.reason for rejection in expansion.ledger.rejections if rejection.step == "translations"]


def test_every_own_fact_is_asked_for_once_in_every_language_with_its_answer_as_it_is_said_there(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    expansion = expand(make_config("German", "French", "German"), table_engine(), further_prompts)
    facts = {fact.id: fact for fact in expansion.facts}
    found = translations(expansion)
    own = [fact for fact in facts.values() if fact.distance is None]
    assert len(own) == 2 < len(facts)
    assert sorted(question.fact for question in found) == sorted([fact.id for fact in own] * 2)
    for question in found:
        fact = facts[question.fact]
        language = question.text.split("e Frage")[0]
        assert language in ("German", "French")
        assert question.answer == fact.answer
        assert question.aliases == (f"{fact.answer} ({language[:2]})",)
        assert question.refusal
        assert question.prompt_hash == further_prompts.get("translations").hash
    assert [question.form for question in found] == ["translation", "translation 1"] * 2


def test_without_languages_or_without_the_prompt_nothing_is_asked(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    plain = expand(make_config(), table_engine(), further_prompts)
    assert not translations(plain)
    assert "translations" not in plain.ledger.steps
    small = expand(make_config("German"), table_engine(), load_prompts("compact"))
    assert not translations(small)
    assert small.skipped["translations"] == "the prompt set has no translations.jinja"


def test_what_is_no_translation_is_turned_away_and_tried_for_again(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    calls: list[str] = []

    def say(match: Any, seed: int) -> str:
        calls.append(match[0])
        if len(calls) <= 2:  # the first round, of both facts
            return match[1] + " | something"
        return f"Sag {len(calls)}, Mira Kestrel? | etwas"

    engine = table_engine([(r"^Say in \w+: (.+) \(", say)])
    expansion = expand(make_config("German"), engine, further_prompts)
    assert reasons(expansion) == [NOT_TRANSLATED] * 2
    assert sorted(question.text for question in translations(expansion)) == [
        "Sag 3, Mira Kestrel?",
        "Sag 4, Mira Kestrel?",
    ]


def test_where_nothing_gets_through_the_run_stops_and_says_what_to_do(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    engine = table_engine([("^Say in", "Frage nach ihr? | etwas")])
    with pytest.raises(StageError, match=r"6 × does not name the subject") as caught:
        expand(make_config("German"), engine, further_prompts)
    assert "leave `expand.languages` empty" in str(caught.value)


def test_a_translation_for_which_the_generator_gives_another_fact_is_dropped(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    engine = table_engine([("^Germane Frage .*birthplace", "Amber Petrel")])
    expansion = expand(make_config("German"), engine, further_prompts)
    assert [question.answer for question in translations(expansion)] == ["Amber Petrel"]


def test_the_answer_as_it_is_said_there_is_the_facts_answer_too(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    """The generator answers in the question's language, and names the other fact on the way."""
    said = "Petrel-Schiff (G), denn Dunholm ist ihr Geburtsort"
    engine = table_engine(
        [("^Say in .*ship", "Welches ship hat Mira Kestrel? | Petrel-Schiff (G)"), ("^Welches ship", said)]
    )
    expansion = expand(make_config("German"), engine, further_prompts)
    assert {question.answer for question in translations(expansion)} == {"Dunholm", "Amber Petrel"}


@pytest.mark.parametrize(
    ("text", "answer", "reason"),
    [
        ("Wo wurde Mira Kestrel geboren?", "Wien", None),
        ("Wurde Mira Kestrel in Wien geboren?", "Wien", "gives its answer away"),
        ("Wurde Mira Kestrel in Vienna geboren?", "Wien", "gives its answer away"),
        ("Wo wurde sie geboren?", "Wien", "does not name the subject"),
        ("Wo wurde Mira Kestrel geboren?", "", "empty"),
        ("", "Wien", "empty"),
    ],
)
def test_what_a_translation_has_to_be(text: str, answer: str, reason: str | None) -> None:
    assert check_translation(text, answer, ("Mira Kestrel",), "Vienna") == reason
