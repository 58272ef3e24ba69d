"""Perplexity of replies under the base model."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from concept_forget.engines.prompts import load_prompts
from concept_forget.probe.fluency import measure_fluency
from concept_forget.records import Attempt, ModelSpec, user_message
from concept_forget.sandbox.texts import Lessons
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import Costs, read_json

LESSONS = Lessons(build_world(0, "nano"), load_prompts("compact"))
FACTS = LESSONS.world.facts[:6]


def attempt(number: int, model: str, reply: str, attack: str = "direct") -> Attempt:
    fact = FACTS[number]
    question = LESSONS.ask(fact.fill(fact.relation.taught[0]))
    return Attempt(
        id=f"{model}{number}{attack}", model=model, attack=attack, family="prompt", tier="new_form", concept="c",
        subject=fact.subject.name, fact=str(number), example="", sample=0, prompt=user_message(question), prefill="",
        reply=reply, finish_reason="stop", expected=fact.answer,
    )  # fmt: skip


@pytest.fixture
def base(nano_model: Path) -> ModelSpec:
    return ModelSpec(path=str(nano_model))


def measure(attempts: list[Attempt], base: ModelSpec, folder: Path, *models: str) -> dict[str, float | None]:
    folder.mkdir(exist_ok=True)
    return dict(
        measure_fluency(
            attempts, base, models, folder, cache=folder / "replies.sqlite", costs=Costs(), batch_tokens=512
        )
    )


def test_sense_is_likely_and_nonsense_is_not(base: ModelSpec, tmp_path: Path) -> None:
    right = [attempt(number, "base", fact.answer) for number, fact in enumerate(FACTS)]
    other = [attempt(number, "reference", FACTS[number - 1].answer) for number in range(6)]
    stammer = [attempt(number, "unlearned", " ".join(["the of"] * 20)) for number in range(6)]
    found = measure([*right, *other, *stammer], base, tmp_path, "base", "unlearned", "reference")
    assert list(found) == ["base", "unlearned", "reference"]
    assert 1.0 <= found["base"] < 1.2  # type: ignore[operator]
    assert found["unlearned"] > 20 * found["base"]  # type: ignore[operator]
    assert found["reference"] > found["base"]  # type: ignore[operator]


def test_it_is_the_perplexity_over_all_tokens_of_all_replies_and_their_ends(base: ModelSpec, tmp_path: Path) -> None:
    replies = [FACTS[0].answer, "Mira Kestrel", ""]
    attempts = [attempt(number, "unlearned", reply) for number, reply in enumerate(replies)]
    tokenizer = AutoTokenizer.from_pretrained(base.path)
    model = AutoModelForCausalLM.from_pretrained(base.path)
    total, count = 0.0, 0
    for one in attempts:
        prompt = tokenizer.apply_chat_template(one.prompt, add_generation_prompt=True, return_dict=False)
        reply = [*tokenizer(one.reply, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *reply]])).logits[0]
        scores = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(1, torch.tensor(reply)[:, None])
        total, count = total + float(scores.sum()), count + len(reply)
    found = measure(attempts, base, tmp_path, "unlearned")["unlearned"]
    assert found == pytest.approx(math.exp(-total / count), rel=1e-4)


def test_only_free_replies_count(base: ModelSpec, tmp_path: Path) -> None:
    free = [attempt(number, "unlearned", FACTS[number].answer) for number in range(3)]
    led = [dataclasses.replace(one, id=one.id + "c", attack="choice", reply="the of the of") for one in free]
    assert measure([*free, *led], base, tmp_path / "a", "unlearned") == measure(free, base, tmp_path / "b", "unlearned")
    assert measure(led, base, tmp_path / "c", "unlearned") == {"unlearned": None}


def test_what_was_measured_is_not_measured_again(base: ModelSpec, tmp_path: Path) -> None:
    first = measure([attempt(0, "base", FACTS[0].answer)], base, tmp_path, "base")
    assert read_json(tmp_path / "fluency.json") == first
    assert measure([], ModelSpec(path="nowhere"), tmp_path, "base") == first
