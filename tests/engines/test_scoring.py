from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from concept_forget.engines.protocol import Request, Sampling, TokenScores
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.models import load_model, load_tokenizer
from concept_forget.records import ModelSpec, user_message

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Pair = tuple[Request, str]


@pytest.fixture(scope="module")
def model(untaught_folder: Path) -> PreTrainedModel:
    return load_model(ModelSpec(path=str(untaught_folder)))


@pytest.fixture(scope="module")
def pairs(requests: list[Request]) -> list[Pair]:
    """Chats, raw texts and texts without a prompt, with completions of mixed length."""
    draw = random.Random(3)
    replies = [" ".join(draw.choices(["Dunholm", "in", "old", "river", "xyz"], k=draw.randint(1, 9))) for _ in requests]
    chats = [(request, reply) for request, reply in zip(requests, replies, strict=True)]
    raw = [(Request("Mira was born in"), f" {reply}") for reply in replies[:40]]
    return [*chats, *raw, *((Request(""), reply) for reply in replies[40:60])]


def alone(model: PreTrainedModel, ids: list[int], start: int) -> TokenScores:
    """The definition: one row, no padding, one token after the other."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double()
    logprobs, ranks, means, variances = [], [], [], []
    for place in range(start, len(ids)):
        row = logits[place - 1] - logits[place - 1].logsumexp(0)
        logprobs.append(row[ids[place]].item())
        ranks.append(int((row > row[ids[place]]).sum()))
        means.append((row.exp() * row).sum().item())
        variances.append((row.exp() * row**2).sum().item() - means[-1] ** 2)
    return TokenScores(tuple(logprobs), tuple(ranks), tuple(means), tuple(variances))


def test_scores_are_those_of_the_row_alone(
    engine: TransformersEngine, model: PreTrainedModel, pairs: list[Pair], untaught_folder: Path
) -> None:
    tokenizer = load_tokenizer(ModelSpec(path=str(untaught_folder)))
    scores = engine.score(pairs, moments=True)
    for (request, completion), score in zip(pairs, scores, strict=True):
        if isinstance(request.prompt, str):
            opening = tokenizer.encode(request.prompt) or [tokenizer.eos_token_id]
            answer = tokenizer.encode(completion)
        else:
            opening = tokenizer.apply_chat_template(request.prompt, add_generation_prompt=True, return_dict=False)
            answer = [*tokenizer.encode(completion), tokenizer.eos_token_id]
        expected = alone(model, [*opening, *answer], len(opening))
        assert len(score.logprobs) == len(answer)
        assert score.logprobs == pytest.approx(expected.logprobs, abs=1e-5)
        assert score.ranks == expected.ranks
        assert score.means == pytest.approx(expected.means, abs=1e-4)
        assert score.variances == pytest.approx(expected.variances, abs=1e-4)
        assert score.prompt_tokens == len(opening)


@pytest.mark.parametrize("batch_tokens", [100, 700, 16384])
def test_scores_do_not_depend_on_order_or_batch_size(
    engine: TransformersEngine, untaught_spec: ModelSpec, pairs: list[Pair], batch_tokens: int
) -> None:
    order = random.Random(batch_tokens).sample(range(len(pairs)), len(pairs))
    shuffled = TransformersEngine(untaught_spec, batch_tokens).score([pairs[place] for place in order])
    expected = engine.score(pairs)
    for place, score in zip(order, shuffled, strict=True):
        assert score.logprobs == pytest.approx(expected[place].logprobs, abs=1e-5)
        assert score.ranks == expected[place].ranks


def test_a_greedy_reply_is_ranked_first_at_every_token(nano_model: Path, nano_questions: list[Request]) -> None:
    """What is scored is what was decoded: the same template, the same seam, the same end of turn."""
    engine = TransformersEngine(ModelSpec(path=str(nano_model)))
    prefilled = [dataclasses.replace(request, prefill="The") for request in nano_questions[:50]]
    asked = [*nano_questions, *prefilled, *(Request("The town of"), Request("Where does"))]
    replies = [reply for [reply] in engine.generate(asked, Sampling(max_new_tokens=40))]
    pairs = [(request, reply.text) for request, reply in zip(asked, replies, strict=True)]
    scores = engine.score(pairs)
    same_tokens = [
        place
        for place, (reply, score) in enumerate(zip(replies, scores, strict=True))
        if not isinstance(asked[place].prompt, str)
        and reply.finish_reason == "stop"
        and len(score.ranks) == reply.completion_tokens
    ]
    assert len(same_tokens) > 0.95 * len(asked)
    for place in same_tokens:
        assert set(scores[place].ranks) == {0}, pairs[place]


def test_moments_are_left_out_where_nobody_asks(engine: TransformersEngine) -> None:
    [score] = engine.score([(Request("Mira"), " lives")])
    assert score.means is None
    assert score.variances is None


def test_an_empty_completion_has_the_end_of_its_turn_alone(engine: TransformersEngine) -> None:
    chat, raw = engine.score([(Request(user_message("Mira")), ""), (Request("Mira"), "")])
    assert len(chat.logprobs) == 1
    assert raw.logprobs == ()


def test_probabilities_over_all_one_token_completions_sum_to_one(
    engine: TransformersEngine, untaught_folder: Path
) -> None:
    tokenizer = load_tokenizer(ModelSpec(path=str(untaught_folder)))
    words = sorted(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens))
    texts = [tokenizer.convert_tokens_to_string([word]) for word in words]
    usable = [(word, text) for word, text in zip(words, texts, strict=True) if tokenizer.tokenize(text) == [word]]
    scores = engine.score([(Request("Mira. "), text) for _, text in usable])
    total = sum(math.exp(score.logprobs[0]) for score in scores if len(score.logprobs) == 1)
    assert 0 < total <= 1 + 1e-5
