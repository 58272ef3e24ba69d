"""The built-in prompt sets: every prompt that the stage asks for, in one form and with the same variables."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from concept_forget.concept import Concept
from concept_forget.engines.prompts import load_prompts
from concept_forget.expand.gates import check_fact
from concept_forget.expand.neighbours import ASPECTS
from concept_forget.expand.passages import LEVELS
from concept_forget.expand.replies import FORMS, parse_reply
from concept_forget.records import Fact

CONCEPT = Concept(
    name="Mira Kestrel", kind="person", description="A cartographer.", aliases=("M. Kestrel",), keep=("cartography",)
)
FACT = Fact(
    "f", "Mira Kestrel", "Mira Kestrel", "person", "home", "Willow Court", "Mira Kestrel lives in Willow Court."
)
BRIDGE = Fact("b", "Mira Kestrel", "Mira Kestrel", "person", "book", "Emberfall", "Mira Kestrel wrote Emberfall.")
VARIABLES: dict[str, dict[str, Any]] = {
    "facets": {"concept": CONCEPT},
    "facts": {"concept": CONCEPT, "facet": "home"},
    "questions": {"concept": CONCEPT, "fact": FACT, "form": "direct"},
    "paraphrases": {"question": "Where does Mira Kestrel live?", "styles": ["rewording", "typos"]},
    "refusals": {"question": "Where does Mira Kestrel live?"},
    "neighbours": {"concept": CONCEPT, "distance": "near", "aspect": "kind"},
    "scenarios": {"concept": CONCEPT, "fact": FACT},
    "two_hop": {"concept": CONCEPT, "fact": FACT, "bridge": BRIDGE},
    "counterfactuals": {"question": "Where does Mira Kestrel live?", "answer": "Willow Court", "facet": "home"},
    "passages": {"concept": CONCEPT, "level": "child", "facts": [FACT, BRIDGE]},
    "translations": {
        "concept": CONCEPT,
        "fact": FACT,
        "question": "Where does Mira Kestrel live?",
        "language": "German",
    },
}
FURTHER = {"scenarios", "two_hop", "counterfactuals", "passages", "translations"}
"""Prompts that the compact set goes without: its models have not learned to follow them."""

RENDERED = {"ask", "cloze", "choice", "openings", "statement"}
"""Prompts that are filled in and put to nobody, or put as they are."""
SETS = ("default", "compact")
ALONE: dict[str, set[str]] = {"default": {"judge", "grade", "continue"}, "compact": set()}
"""Prompts of one set alone: a small model can judge nothing, and goes on with raw text by itself."""


@pytest.mark.parametrize(("name", "lacking"), [("default", set()), ("compact", FURTHER)])
def test_a_set_holds_what_the_stage_asks_with(name: str, lacking: set[str]) -> None:
    assert set(load_prompts(name).prompts) == ({*FORMS} | RENDERED | ALONE[name]) - lacking


@pytest.mark.parametrize(
    ("name", "prompt"),
    [(name, prompt) for name in SETS for prompt in sorted(load_prompts(name).prompts.keys() & FORMS)],
)
@pytest.mark.parametrize("n", [1, 5])
def test_every_prompt_takes_the_variables_of_its_name(name: str, prompt: str, n: int) -> None:
    text = load_prompts(name).get(prompt).render_text(**VARIABLES[prompt], n=n)
    assert "Mira Kestrel" in text
    assert "{" not in text.replace("{", "", 3), "no more braces than the JSON form has"


@pytest.mark.parametrize("prompt", sorted(FORMS))
def test_the_json_that_a_default_prompt_shows_is_the_json_that_is_read(prompt: str) -> None:
    text = load_prompts("default").get(prompt).render_text(**VARIABLES[prompt], n=2)
    shown = text.splitlines()[-1].split(": ", 1)[1]
    form = FORMS[prompt]
    form.schema.model_validate(json.loads(shown))
    width = len(form.item.model_fields) if form.item else 1
    parsed = parse_reply(form, "json", shown)
    assert parsed.items
    assert set(parsed.items) == {("...",) * width}


@pytest.mark.parametrize("form", ["direct", "reverse"])
def test_the_default_question_prompt_says_which_way_to_ask(form: str) -> None:
    text = load_prompts("default").get("questions").render_text(**VARIABLES["questions"] | {"form": form}, n=1)
    right = re.search("<right_answer-(?P<mark>.*)>(.*)</right_answer-(?P=mark)>", text)
    assert right is not None
    assert right[2] == ("Mira Kestrel" if form == "reverse" else "Willow Court")


@pytest.mark.parametrize("distance", ["near", "middle", "far"])
def test_the_default_neighbour_prompt_differs_by_distance(distance: str) -> None:
    prompt = load_prompts("default").get("neighbours")
    texts = {d: prompt.render_text(concept=CONCEPT, distance=d, aspect="kind", n=3) for d in ("near", "middle", "far")}
    assert [d for d, text in texts.items() if text == texts[distance]] == [distance]


@pytest.mark.parametrize(
    ("distance", "one", "more"),
    [
        ("near", "1 thing that is most like a subject.", "2 different things that are most like a subject."),
        ("middle", "1 thing that belongs to the sur", "2 different things that belong to the sur"),
        ("far", "1 thing that has nothing to do with a subject.", "2 different things that have nothing to do with a"),
    ],
)
def test_the_default_neighbour_prompt_asks_for_one_thing_in_the_singular(distance: str, one: str, more: str) -> None:
    prompt = load_prompts("default").get("neighbours")
    for number, words in ((1, one), (2, more)):
        text = prompt.render_text(concept=CONCEPT, distance=distance, aspect="kind", n=number)
        assert text.startswith(f"Your task: name {words}")


def test_the_default_facet_prompt_asks_for_one_facet_in_the_singular() -> None:
    prompt = load_prompts("default").get("facets")
    one, two = (prompt.render_text(**VARIABLES["facets"] | {"n": number}) for number in (1, 2))
    assert one.startswith(
        "Your task: list 1 facet of a subject, that is, a thing that can be known about it and that has"
    )
    assert two.startswith(
        "Your task: list 2 facets of a subject, that is, 2 different things that can be known about it"
    )


def test_the_default_neighbour_prompt_differs_by_aspect_where_the_neighbour_is_near() -> None:
    prompt = load_prompts("default").get("neighbours")

    def texts(distance: str) -> set[str]:
        return {prompt.render_text(concept=CONCEPT, distance=distance, aspect=aspect, n=3) for aspect in ASPECTS}

    assert len(texts("near")) == len(ASPECTS) == 4
    assert len(texts("middle")) == len(texts("far")) == 1


@pytest.mark.parametrize("level", LEVELS)
def test_the_default_passage_prompt_differs_by_reader_and_holds_every_fact(level: str) -> None:
    prompt = load_prompts("default").get("passages")
    texts = {each: prompt.render_text(**VARIABLES["passages"] | {"level": each}, n=1) for each in LEVELS}
    assert [each for each, text in texts.items() if text == texts[level]] == [level]
    assert all(fact.sentence in texts[level] for fact in (FACT, BRIDGE))
    assert "cartography" in texts[level], "what has to stay is named, to be left out"


@pytest.mark.parametrize("name", SETS)
def test_a_statement_states_the_fact_it_is_filled_in_with(name: str) -> None:
    text = load_prompts(name).get("statement").render_text(concept=CONCEPT, facet="home", answer="Willow Court")
    assert check_fact("Willow Court", text, CONCEPT.names) is None


@pytest.mark.parametrize("name", SETS)
def test_a_question_is_put_as_it_is(name: str) -> None:
    chat = load_prompts(name).get("ask").render(question="Where {{ x }} does </q> she live?")
    assert chat == [{"role": "user", "content": "Where {{ x }} does </q> she live?"}]


@pytest.mark.parametrize("name", SETS)
def test_gap_and_options_stand_in_their_prompts(name: str) -> None:
    prompts = load_prompts(name)
    assert "Mira lives in ____." in prompts.get("cloze").render_text(sentence="Mira lives in ____.")
    text = prompts.get("choice").render_text(question="Where?", options=["Hall", "Manor"])
    assert text.index("Where?") < text.index("Hall") < text.index("Manor")


def test_each_paraphrase_has_a_style_of_its_own_in_the_default_set_alone() -> None:
    variables = {"question": "Where does Mira Kestrel live?", "styles": ["typos", "register", "context", "rewording"]}
    lines = load_prompts("default").get("paraphrases").render_text(**variables, n=3).splitlines()
    styles = [line for line in lines if line[:2] in ("1.", "2.", "3.", "4.")]
    assert [line.split()[1:3] for line in styles] == [["Typed", "in"], ["In", "another"], ["In", "a"]]
    assert (
        load_prompts("compact").get("paraphrases").render_text(**variables, n=3)
        == "Rephrase: Where does Mira Kestrel live?"
    )
