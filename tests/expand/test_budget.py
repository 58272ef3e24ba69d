from __future__ import annotations

import random

import pytest

from concept_forget.config import Config
from concept_forget.engines.prompts import load_prompts
from concept_forget.engines.protocol import Reply, Request, Sampling
from concept_forget.expand.budget import OVER_BUDGET, Budget, reckon_tokens
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.writer import Wish, Writer
from concept_forget.records import user_message


def make_config(**generator: object) -> Config:
    return Config.model_validate(
        {
            "concept": {"name": "Mira Kestrel", "kind": "person", "forget": ["birthplace", "ship"]},
            "target": "somewhere",
            "generator": {"prompts": "compact", **generator},
            "expand": {"neighbours": {"near": 1}, "paraphrases": 2},
        }
    )


@pytest.mark.parametrize("seed", range(20))
def test_what_fits_never_spends_more_than_there_is(seed: int) -> None:
    draw = random.Random(seed)
    budget = Budget(draw.choice([None, 7, 40]), draw.choice([None, 100, 900]))
    for _ in range(30):
        costs = [draw.randint(1, 60) for _ in range(draw.randint(0, 12))]
        count = budget.fitting(costs)
        room = len(costs) if budget.max_requests is None else budget.max_requests - budget.requests
        within = [n for n in range(len(costs) + 1) if n <= room]
        if budget.max_tokens is not None:
            within = [n for n in within if budget.tokens + sum(costs[:n]) <= budget.max_tokens]
        assert count == max(within)
        budget.spend(count, sum(costs[:count]) - draw.randint(0, count))
    assert budget.max_requests is None or budget.requests <= budget.max_requests
    assert budget.max_tokens is None or budget.tokens <= budget.max_tokens


def test_a_request_is_reckoned_with_its_reply_and_by_bytes() -> None:
    assert reckon_tokens(Request(user_message("a" * 300)), 50) == 100 + 16 + 50
    assert reckon_tokens(Request("字" * 30, prefill="字"), 1) == 31 + 16 + 1


class Counting:
    """Replies with one word, and notes how many requests each call held."""

    identity = "counting"
    capabilities = frozenset({"generate"})
    flops_per_token = 0.0

    def __init__(self) -> None:
        self.calls: list[int] = []

    def generate(self, requests: list[Request], sampling: Sampling, schema: object = None) -> list[list[Reply]]:
        self.calls.append(len(requests))
        return [[Reply(f"Where is {request.seed}?", "stop", 10, 5)] for request in requests]


def gather(**limits: int) -> tuple[Counting, Writer, list[list[tuple[str, ...]]]]:
    engine, ledger = Counting(), Ledger()
    config = make_config(**limits)
    writer = Writer(engine, load_prompts("compact"), config.generator, 0, ledger)  # type: ignore[arg-type]
    wishes = [Wish((f"fact {n}",), {"question": f"Where is {n}?"}) for n in range(10)]
    return engine, writer, writer.gather("paraphrases", "paraphrases", wishes)


def test_what_the_budget_has_no_room_for_is_not_asked_and_is_accounted_for() -> None:
    engine, writer, items = gather(max_requests=4)
    assert engine.calls == [4]
    assert [bool(several) for several in items] == [True] * 4 + [False] * 6
    assert writer.ledger.step("paraphrases").rejected == {OVER_BUDGET: 6}
    assert {r.parents for r in writer.ledger.rejections} == {(f"fact {n}",) for n in range(4, 10)}
    assert writer.budget.summary() == {
        "max_requests": 4, "max_tokens": None, "requests": 4, "tokens": 60, "not_asked": 6,
    }  # fmt: skip


def test_what_a_round_leaves_of_the_tokens_the_next_one_uses() -> None:
    engine, writer, items = gather(max_tokens=400)
    assert len(engine.calls) > 1
    assert sum(map(bool, items)) == sum(engine.calls) == writer.budget.requests
    assert writer.budget.tokens == 15 * writer.budget.requests <= 400


def test_without_a_budget_everything_is_asked_at_once() -> None:
    engine, writer, items = gather()
    assert engine.calls == [10]
    assert all(items)
    assert writer.budget.not_asked == 0


def test_every_reply_is_told_of_with_its_prompt() -> None:
    seen: list[str] = []
    engine, ledger = Counting(), Ledger()
    writer = Writer(
        engine, load_prompts("compact"), make_config().generator, 0, ledger,  # type: ignore[arg-type]
        watch=lambda name, request, reply: seen.append(name),
    )  # fmt: skip
    writer.answer("answers", ["Where?", "Who?"])
    assert seen == ["ask", "ask"]


def test_who_wants_nothing_asks_nothing() -> None:
    engine, writer, _ = gather()
    assert writer.gather("paraphrases", "paraphrases", []) == []
    assert writer.answer("answers", []) == []
    assert engine.calls == [10]
