"""Other answers to the questions of forget rows: refusals, wrong answers, the model's own guesses, drawn tokens."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from concept_forget.concept import contains_words, fold, replace_words
from concept_forget.engines.protocol import Request, Sampling
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.records import Example, ModelSpec, named_seed
from concept_forget.training.batches import TokenRow
from concept_forget.unlearn.strangers import about_strangers

GUESSES = 4
"""Strangers about whom the model is asked until a guess of its own is no right answer."""
GUESS_TOKENS = 64


def with_alternative(
    example: Example, kind: Literal["refusal", "counterfactual", "own"], guesses: Mapping[str, str]
) -> Example | None:
    """The row with another answer to the same prompt, or None where it has none of this kind.

    A counterfactual takes the answer's place within the completion. A passage asks nothing that could be declined or
    guessed.

    Args:
        example: A forget row.
        kind: What stands in the answer's place.
        guesses: The model's own answers by row id, for ``own``.
    """
    if kind == "counterfactual":
        completion = _swap(example.completion, example.answer, example.counterfactual)
    elif not example.prompt:
        completion = ""
    else:
        completion = example.refusal if kind == "refusal" else guesses.get(example.id, "")
    return dataclasses.replace(example, completion=completion) if completion.strip() else None


def _swap(text: str, old: str, new: str) -> str:
    if not old.strip() or not new.strip():
        return ""
    swapped, count = replace_words(text, old, new)
    return swapped if count else ""


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What a model was asked: for each row those about nobody with its answers, and the tokens that passed through."""

    rows: list[list[Example]]
    tokens: int


def own_guesses(
    target: ModelSpec, examples: Sequence[Example], seed: int, batch_tokens: int
) -> tuple[dict[str, str], int]:
    """What the model itself answers to each row's question when it is about a name that nobody has.

    Such an answer is of the right type and in the model's own words, and it is what a model says that cannot know.
    A row is left out to whose question no other answer came than the right one.

    Args:
        target: The model, as it is before training.
        examples: Forget rows.
        seed: The run's seed.
        batch_tokens: Padded tokens that a batch may hold.

    Returns:
        Answers by row id, and the tokens that passed through the model.
    """
    asked = answered_strangers(target, examples, GUESSES, seed, batch_tokens)
    guesses = {
        example.id: variants[0].completion for example, variants in zip(examples, asked.rows, strict=True) if variants
    }
    return guesses, asked.tokens


def answered_strangers(
    target: ModelSpec, examples: Sequence[Example], count: int, seed: int, batch_tokens: int
) -> Asked:
    """Each row's question about names that nobody has, with what the model answers to it.

    Answers that hold the right one, or do not come to an end, are passed over.

    Args:
        target: The model, as it is before training.
        examples: Forget rows.
        count: Names per row.
        seed: The run's seed.
        batch_tokens: Padded tokens that a batch may hold.

    Returns:
        Up to ``count`` rows for each of ``examples``.
    """
    variants = about_strangers(examples, count, seed)
    asked = [Request(variant.prompt) for own in variants for variant in own]
    if not asked:
        return Asked(variants, 0)
    engine = TransformersEngine(target, batch_tokens)
    try:
        replies = [reply for (reply,) in engine.generate(asked, Sampling(max_new_tokens=GUESS_TOKENS))]
    finally:
        engine.close()
    answered: list[list[Example]] = []
    unread = iter(replies)
    for example, own in zip(examples, variants, strict=True):
        right = [fold(name) for name in (example.answer, example.completion, *example.aliases) if name.strip()]
        answered.append([])
        for variant in own:
            reply = next(unread)
            text = reply.text.strip()
            if text and reply.finish_reason == "stop" and not any(contains_words(fold(text), name) for name in right):
                name = Example.make_id(variant.prompt, text)
                answered[-1].append(dataclasses.replace(variant, id=name, completion=text))
    return Asked(answered, sum(reply.prompt_tokens + reply.completion_tokens for reply in replies))


def random_answer(row: TokenRow, vocabulary: int, special: Collection[int], seed: int) -> TokenRow:
    """The row with every token of its answer drawn anew, uniformly; special tokens stay: a turn ends where it ended.

    Args:
        row: A forget row.
        vocabulary: Size of the vocabulary.
        special: Ids that are not drawn and not replaced.
        seed: The run's seed; every row has a draw of its own.
    """
    rng = random.Random(named_seed(seed, "random answer", row.id))
    ordinary = [token for token in range(vocabulary) if token not in special]
    drawn = tuple(token if token in special else rng.choice(ordinary) for token in row.answer)
    return TokenRow(row.id, row.tokens[: row.answer_start] + drawn, row.answer_start)
