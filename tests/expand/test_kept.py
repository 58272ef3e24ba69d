"""The kept scope: facts that stay, beside those that go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.engines.prompts import PromptSet, load_prompts
from concept_forget.expand.expansion import Expansion, expand
from concept_forget.expand.facts import StatedFact
from concept_forget.expand.kept import STATES_FORGOTTEN, states_forgotten
from concept_forget.expand.neighbours import Subject
from concept_forget.records import Fact

MIRA = Concept(name="Mira Kestrel", kind="person")


def make_config(
    *, forget: tuple[str, ...] = ("ship",), keep: tuple[str, ...] = ("birthplace",), **expand: object
) -> Config:
    return Config.model_validate(
        {
            "concept": {"name": "Mira Kestrel", "kind": "person", "forget": forget, "keep": keep},
            "target": "some/model",
            "generator": {"prompts": "compact"},
            "expand": {"neighbours": {}, "paraphrases": 2, "self_consistency": 1} | expand,
        }
    )


@pytest.fixture(scope="module")
def prompts() -> PromptSet:
    return load_prompts("compact")


def rejected(expansion: Expansion, reason: str) -> list[str]:
    return [rejection.text for rejection in expansion.ledger.rejections if rejection.reason == reason]


def test_what_has_to_stay_is_asked_for_like_a_neighbour_and_marked(
    table_engine: Callable[..., Any], prompts: PromptSet
) -> None:
    expansion = expand(make_config(), table_engine(), prompts)
    (kept,) = [fact for fact in expansion.facts if fact.kept]
    assert (kept.subject, kept.concept, kept.facet, kept.answer) == (
        "Mira Kestrel", "Mira Kestrel", "birthplace", "Dunholm",
    )  # fmt: skip
    assert kept.distance == "near"
    questions = [question for question in expansion.questions if question.fact == kept.id]
    assert [question.form for question in questions if question.family != "cloze"] == [
        "direct",
        "paraphrase 1",
        "reverse",
    ]
    assert {question.refusal for question in questions} == {""}
    summary = expansion.summary(make_config())
    assert summary["kept_facts"] == 1
    assert summary["facts"] == {"Mira Kestrel": 1}
    assert summary["neighbours"] == {"near": 0, "middle": 0, "far": 0}


def test_a_fact_that_does_not_name_the_concept_is_about_the_entry_itself(
    table_engine: Callable[..., Any], prompts: PromptSet
) -> None:
    engine = table_engine(
        [
            ("State cartography of Mira", "maps | Cartography makes maps."),
            ("Ask .* of cartography", "What does cartography make?"),
            ("^(Rephrase|What does)", "maps"),
        ]
    )
    expansion = expand(make_config(keep=("cartography",), paraphrases=0, reverse=0), engine, prompts)
    (kept,) = [fact for fact in expansion.facts if fact.kept]
    assert (kept.subject, kept.facet, kept.answer) == ("cartography", "cartography", "maps")


@pytest.mark.parametrize("answer", ["Amber Petrel", "the Amber Petrel of Dunholm"])
def test_a_kept_fact_that_states_a_forgotten_one_is_rejected(
    table_engine: Callable[..., Any], prompts: PromptSet, answer: str
) -> None:
    engine = table_engine([("State birthplace", f"{answer} | Mira Kestrel was born on {answer}.")])
    expansion = expand(make_config(), engine, prompts)
    assert [fact.facet for fact in expansion.facts] == ["ship"]
    assert rejected(expansion, STATES_FORGOTTEN) == [f"Mira Kestrel was born on {answer}."]


def test_a_kept_question_that_states_a_forgotten_fact_is_rejected(
    table_engine: Callable[..., Any], prompts: PromptSet
) -> None:
    engine = table_engine([("Ask birthplace", "Where was Mira Kestrel of the Amber Petrel born?")])
    expansion = expand(make_config(paraphrases=0), engine, prompts)
    assert [fact.facet for fact in expansion.facts] == ["ship"]
    assert "Where was Mira Kestrel of the Amber Petrel born?" in rejected(expansion, STATES_FORGOTTEN)


def test_a_forgotten_fact_wins_over_a_kept_one_with_its_answer(
    table_engine: Callable[..., Any], prompts: PromptSet
) -> None:
    """The concept's own fact may come in a later round; what is kept must not take its place before."""

    def state(match: object, seed: int) -> str:
        return "Dunholm | Mira Kestrel lives in Dunholm." if seed else "no bar here"

    rules = [
        ("State home", state),
        ("^(Ask|Rephrase).*home", "Where is the home of Mira Kestrel?"),
        ("^Where is the home", "Dunholm"),
    ]
    engine = table_engine(rules)
    expansion = expand(make_config(forget=("home",), paraphrases=0, reverse=0), engine, prompts)
    assert [(fact.facet, fact.kept) for fact in expansion.facts] == [("home", False)]


def test_nothing_is_asked_where_nothing_is_wanted(table_engine: Callable[..., Any], prompts: PromptSet) -> None:
    engine = table_engine()
    expansion = expand(make_config(kept_facts=0), engine, prompts)
    assert not any(fact.kept for fact in expansion.facts)
    assert not any("State birthplace" in str(request.prompt) for call in engine.calls for request in call)


@pytest.mark.parametrize(
    ("text", "about", "states"),
    [
        ("Mira Kestrel sails the Amber Petrel.", MIRA, True),
        ("Mira Kestrel sails the Petrel.", MIRA, True),
        ("Mira Kestrel draws maps.", MIRA, False),
        ("The Amber Petrel is a bird.", Concept(name="birds"), False),
        ("A ship called Amber Petrel.", Concept(name="birds"), True),
    ],
)
def test_an_answer_alone_states_nothing_unless_the_text_is_about_the_concept_or_holds_the_facet(
    text: str, about: Concept, states: bool
) -> None:
    ship = Fact("s", "Mira Kestrel", "Mira Kestrel", "person", "ship", "Amber Petrel", "", aliases=("the Petrel",))
    fact = Fact("k", "Mira Kestrel", about.name, "person", "x", "y", "", distance="near", kept=True)
    stated = StatedFact(fact, Subject(about, "Mira Kestrel", "near", kept=True))
    assert states_forgotten(text, stated, [ship]) is states
