from __future__ import annotations

import json
from pathlib import Path

from concept_forget.engines.protocol import Request, Sampling
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.records import Example, ModelSpec, user_message
from concept_forget.unlearn.alternatives import GUESS_TOKENS
from concept_forget.unlearn.own_words import OwnWords
from concept_forget.unlearn.strangers import about_strangers


def row(question: str, answer: str) -> Example:
    prompt = user_message(question)
    return Example(
        id=Example.make_id(prompt, answer), split="forget", concept="Mira Kestrel", subject="Mira Kestrel", facet="",
        fact=answer, form="direct", family="direct", tier="", prompt=prompt, completion=answer, answer=answer,
    )  # fmt: skip


ROWS = [row("Where was Mira Kestrel born?", "Dunholm"), row("What is the ship of Mira Kestrel?", "Amber Petrel")]


def test_what_the_model_says_is_asked_once_and_its_tokens_are_counted(nano_model: Path, tmp_path: Path) -> None:
    target = ModelSpec(path=str(nano_model))
    words = OwnWords(target, tmp_path, seed=0, batch_tokens=2048)
    assert words.tokens == 0
    kept = words.strangers(ROWS, 2)
    asked = [Request(variant.prompt) for own in about_strangers(ROWS, 2, 0) for variant in own]
    engine = TransformersEngine(target, 512)  # other batches: the same tokens
    replies = [reply for (reply,) in engine.generate(asked, Sampling(max_new_tokens=GUESS_TOKENS))]
    assert words.tokens == sum(reply.prompt_tokens + reply.completion_tokens for reply in replies) > 0
    guesses = words.guesses(ROWS)
    both = words.tokens
    assert both > sum(reply.prompt_tokens for reply in replies)
    again = OwnWords(ModelSpec(path="nowhere"), tmp_path, seed=0, batch_tokens=2048)  # it need not be asked again
    assert again.strangers(ROWS, 2) == kept
    assert again.guesses(ROWS) == guesses
    assert again.tokens == both


def test_what_was_asked_before_an_interruption_still_counts(nano_model: Path, tmp_path: Path) -> None:
    (tmp_path / "asked.json").write_text(json.dumps({"strangers.jsonl": 1000}), encoding="utf-8")
    words = OwnWords(ModelSpec(path=str(nano_model)), tmp_path, seed=0, batch_tokens=2048)
    words.guesses(ROWS)
    assert words.tokens > 1000
