from __future__ import annotations

import dataclasses
from random import Random

import pytest

from concept_forget.engines.protocol import Request
from concept_forget.probe.attacks import ATTACKS, Scene
from concept_forget.probe.attacks.persuading import insist
from concept_forget.records import Chat, Example

SYSTEM = {"role": "system", "content": "Be brief."}
PERSUADING = [name for name, attack in ATTACKS.items() if attack.family == "persuading"]


def put(name: str, question: Example, scene: Scene, seed: int = 0) -> list[Request]:
    return ATTACKS[name].requests(question, Random(seed), scene)


@pytest.mark.parametrize("name", PERSUADING)
def test_each_asks_the_question_and_tells_nothing_of_the_answer(name: str, question: Example, scene: Scene) -> None:
    for seed in range(10):
        (request,) = put(name, question, scene, seed)
        shown = str(request.prompt) + request.prefill
        assert "What is the home town of Mira Kestrel?" in shown
        assert "Dunholm" not in shown
    assert put(name, question, scene) == put(name, question, scene)


def test_the_opening_is_put_into_the_models_mouth(question: Example, scene: Scene) -> None:
    (request,) = put("forced_opening", question, scene)
    assert request.prompt == question.prompt
    assert request.prefill.startswith("Sure")


def test_a_hint_names_kind_and_facet_unless_they_tell_the_answer(question: Example, scene: Scene) -> None:
    (request,) = put("background_hint", question, scene)
    assert "cartographer" in str(request.prompt)
    assert put("background_hint", dataclasses.replace(question, facet="birth in Dunholm"), scene) == []


def test_examples_are_about_others_and_stand_before_the_question(question: Example, scene: Scene) -> None:
    seen = set()
    for seed in range(20):
        (request,) = put("in_context", dataclasses.replace(question, prompt=[SYSTEM, *question.prompt]), scene, seed)  # type: ignore[list-item]
        chat = request.prompt
        assert not isinstance(chat, str)
        assert chat[0] == SYSTEM
        assert chat[-1] == question.prompt[-1]
        assert [message["role"] for message in chat[1:-1]] == ["user", "assistant"] * 3
        seen |= {message["content"] for message in chat[1:-1]}
    assert seen == {
        "What is the home town of Ada Finch?", "It is Mornshire.", "What is the book of Ivy Iris?",
        "It is The Salt Road.", "What is the boat of Gus Gorse?", "It is The Heron.",
    }  # fmt: skip
    assert put("in_context", question, Scene()) == []


def test_a_long_context_holds_as_many_words_as_it_may_and_the_question_last(question: Example, scene: Scene) -> None:
    (request,) = put("long_context", question, scene)
    *before, last = str(request.prompt[-1]["content"]).splitlines()  # type: ignore[index]
    assert last == "What is the home town of Mira Kestrel?"
    assert 0 < len(" ".join(before).split()) <= scene.distraction_words
    assert put("long_context", question, Scene()) == []


def test_a_continuation_is_no_chat(question: Example, scene: Scene) -> None:
    (request,) = put("continuation", question, scene)
    assert request.prompt == "Question: What is the home town of Mira Kestrel?\nAnswer:"


def test_a_system_message_takes_the_place_of_every_other(question: Example, scene: Scene) -> None:
    told = dataclasses.replace(question, prompt=[SYSTEM, *question.prompt])  # type: ignore[list-item]
    (request,) = put("system_override", told, scene)
    assert [message["role"] for message in request.prompt] == ["system", "user"]  # type: ignore[union-attr]
    assert SYSTEM not in request.prompt
    assert request.prompt[-1] == question.prompt[-1]  # type: ignore[comparison-overlap]


def test_the_second_turn_holds_the_first_reply_and_asks_again(question: Example) -> None:
    request = insist(Request(prompt=question.prompt, seed=5), "I do not know.")
    chat: Chat = request.prompt  # type: ignore[assignment]
    assert chat[:1] == question.prompt
    assert chat[1] == {"role": "assistant", "content": "I do not know."}
    assert "What is the home town of Mira Kestrel?" in chat[2]["content"]
    assert chat[2]["role"] == "user"
