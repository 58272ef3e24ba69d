from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import BaseModel

from concept_forget.engines.cache import CachedEngine, RequestCache
from concept_forget.engines.protocol import Reply, Request, Sampling, TokenScores
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.errors import CapabilityError
from concept_forget.records import ModelSpec, user_message
from concept_forget.workspace import Costs

BRIEF = Sampling(temperature=1.0, max_new_tokens=6)


class Interrupted(Exception):
    """Stands for whatever ends a process between two batches."""


class WatchedEngine(TransformersEngine):
    """A real engine that notes what it is asked, and can be made to fail before a batch."""

    def __init__(self, spec: ModelSpec, batch_tokens: int, fail_at: int | None = None) -> None:
        super().__init__(spec, batch_tokens)
        self.asked: list[tuple[str, ...]] = []
        self.fail_at = fail_at

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, schema: type[BaseModel] | None = None
    ) -> list[list[Reply]]:
        self._note(requests)
        return super().generate(requests, sampling, schema)

    def score(self, pairs: Sequence[tuple[Request, str]], moments: bool = False) -> list[TokenScores]:
        self._note([request for request, _ in pairs])
        return super().score(pairs, moments)

    def _note(self, requests: Sequence[Request]) -> None:
        if len(self.asked) == self.fail_at:
            raise Interrupted
        self.asked.append(tuple(str(request.prompt) for request in requests))

    @property
    def asked_in_all(self) -> int:
        return sum(len(batch) for batch in self.asked)


@pytest.fixture
def watched(untaught_spec: ModelSpec) -> WatchedEngine:
    return WatchedEngine(untaught_spec, 300)


@pytest.fixture
def costs() -> Costs:
    return Costs()


@pytest.fixture
def cached(watched: WatchedEngine, path: Path, costs: Costs) -> Iterator[CachedEngine]:
    engine = CachedEngine(watched, RequestCache(path), costs)
    yield engine
    engine.close()


def raw(texts: Sequence[str], seed: int = 0) -> list[Request]:
    return [Request(text, seed=seed) for text in texts]


# ---- what is asked, and what is not


def test_cached_replies_and_scores_are_those_of_the_engine(
    cached: CachedEngine, engine: TransformersEngine, requests: list[Request]
) -> None:
    pairs = [(request, "in Dunholm") for request in requests[:20]]
    replies, scores = engine.generate(requests[:20], BRIEF), engine.score(pairs, moments=True)
    for _ in range(2):
        assert cached.generate(requests[:20], BRIEF) == replies
        again = cached.score(pairs, moments=True)
        assert [score.ranks for score in again] == [score.ranks for score in scores]
        for one, other in zip(again, scores, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_nothing_is_asked_twice_even_by_another_process(
    cached: CachedEngine, untaught_spec: ModelSpec, path: Path, requests: list[Request]
) -> None:
    pairs = [(request, "in Dunholm") for request in requests[:20]]
    replies, scores = cached.generate(requests[:20], BRIEF), cached.score(pairs, moments=True)
    cached.close()
    other = WatchedEngine(untaught_spec, 300)
    later = CachedEngine(other, RequestCache(path), Costs())
    assert later.generate(requests[:20], BRIEF) == replies
    assert later.score(pairs, moments=True) == scores
    assert other.asked == []
    later.close()


def test_equal_requests_of_one_call_are_asked_once(cached: CachedEngine, watched: WatchedEngine) -> None:
    replies = cached.generate(raw(["Mira", "Vell", "Mira", "Mira"]), BRIEF)
    assert watched.asked_in_all == 2
    assert replies[0] == replies[2] == replies[3] != replies[1]


def test_the_account_says_what_was_asked_and_what_it_took(cached: CachedEngine, costs: Costs) -> None:
    [[first], _, [second]] = cached.generate(raw(["Mira", "Mira", "the old river"]), BRIEF)
    tokens = [(reply.prompt_tokens, reply.completion_tokens) for reply in (first, second)]
    assert (costs.requests, costs.cached_requests) == (3, 1)
    assert costs.prompt_tokens == sum(prompt for prompt, _ in tokens)
    assert costs.completion_tokens == sum(completion for _, completion in tokens)
    assert costs.flops == cached.flops_per_token * (costs.prompt_tokens + costs.completion_tokens) > 0
    before = dataclasses.replace(costs)
    cached.generate(raw(["the old river"]), BRIEF)
    expected = dataclasses.replace(before, requests=4, cached_requests=2)
    assert costs == expected
    [score] = cached.score([(Request("Mira"), " lives in")])
    assert costs.completion_tokens == before.completion_tokens + len(score.logprobs)
    assert costs.prompt_tokens == before.prompt_tokens + score.prompt_tokens


class Town(BaseModel):
    town: int


@pytest.mark.parametrize(
    ("request_", "sampling", "schema"),
    [
        (Request("Vell"), BRIEF, None),
        (Request("Mira", seed=1), BRIEF, None),
        (Request("Mira", prefill=" in"), BRIEF, None),
        (Request(user_message("Mira")), BRIEF, None),
        (Request("Mira"), dataclasses.replace(BRIEF, temperature=0.9), None),
        (Request("Mira"), dataclasses.replace(BRIEF, max_new_tokens=7), None),
        (Request("Mira"), dataclasses.replace(BRIEF, n=2), None),
        (Request("Mira"), BRIEF, Town),
    ],
)
def test_whatever_can_change_a_reply_is_asked_anew(
    cached: CachedEngine,
    watched: WatchedEngine,
    request_: Request,
    sampling: Sampling,
    schema: type[BaseModel] | None,
) -> None:
    cached.generate([Request("Mira")], BRIEF)
    cached.generate([request_], sampling, schema)
    assert len(watched.asked) == 2


def test_another_model_is_asked_anew(cached: CachedEngine, untaught_spec: ModelSpec, path: Path) -> None:
    cached.generate([Request("Mira")], BRIEF)
    other = WatchedEngine(dataclasses.replace(untaught_spec, fingerprint="other"), 300)
    later = CachedEngine(other, RequestCache(path), Costs())
    later.generate([Request("Mira")], BRIEF)
    assert len(other.asked) == 1
    later.close()


def test_a_greedy_reply_is_shared_by_all_seeds(cached: CachedEngine, watched: WatchedEngine) -> None:
    cached.generate([Request("Mira", seed=1), Request("Mira", seed=2)], Sampling(max_new_tokens=4))
    assert watched.asked_in_all == 1


def test_a_request_is_not_sent_on_to_an_engine_that_cannot(cached: CachedEngine, watched: WatchedEngine) -> None:
    with pytest.raises(CapabilityError, match="adapters"):
        cached.generate([Request("Mira", adapter="other")], BRIEF)
    assert watched.asked == []


# ---- interruption


def run_from(
    path: Path, spec: ModelSpec, requests: list[Request], known: list[Request], fail_at: int | None = None
) -> tuple[list[tuple[str, ...]], list[list[Reply]] | None]:
    """The batches that a call computes which starts where some requests are known, and the replies if it ends."""
    if not path.exists():
        filling = CachedEngine(TransformersEngine(spec, 100_000), RequestCache(path), Costs())
        filling.generate(known, BRIEF)
        filling.close()
    watched = WatchedEngine(spec, 300, fail_at)
    engine = CachedEngine(watched, RequestCache(path), Costs())
    try:
        return watched.asked, engine.generate(requests, BRIEF)
    except Interrupted:
        return watched.asked, None
    finally:
        engine.close()


def test_a_call_made_again_computes_the_batches_that_the_interrupted_one_would_have(
    tmp_path: Path, untaught_spec: ModelSpec, requests: list[Request]
) -> None:
    asked, known = requests[:60] + requests[20:30], requests[5:60:7]
    whole, replies = run_from(tmp_path / "whole", untaught_spec, asked, known)
    assert len(whole) > 4
    for instant in range(len(whole)):
        path = tmp_path / f"interrupted-{instant}"
        done, nothing = run_from(path, untaught_spec, asked, known, fail_at=instant)
        rest, resumed = run_from(path, untaught_spec, asked, known)
        assert nothing is None
        assert done + rest == whole
        assert resumed == replies


def test_scores_too_are_kept_batch_by_batch(path: Path, untaught_spec: ModelSpec, requests: list[Request]) -> None:
    pairs = [(request, "in Dunholm") for request in requests[:40]]
    failing = WatchedEngine(untaught_spec, 200, fail_at=2)
    engine = CachedEngine(failing, RequestCache(path), Costs())
    with pytest.raises(Interrupted):
        engine.score(pairs)
    engine.close()
    later = WatchedEngine(untaught_spec, 200)
    engine = CachedEngine(later, RequestCache(path), Costs())
    scores = engine.score(pairs)
    engine.close()
    whole = WatchedEngine(untaught_spec, 200)
    expected = CachedEngine(whole, RequestCache(path.with_name("other")), Costs()).score(pairs)
    assert failing.asked + later.asked == whole.asked
    assert scores == expected  # to the last bit: the batches were the same


def test_who_is_told_of_replies_hears_of_known_ones_first_and_of_each_once(
    cached: CachedEngine, watched: WatchedEngine
) -> None:
    requests = [Request(user_message(f"word {number}"), seed=number) for number in (0, 1, 2, 1, 3)]
    cached.generate(requests[:1], BRIEF)
    told: list[tuple[int, Reply]] = []
    asked: list[int] = []

    def tell(replies: list[tuple[int, Reply]]) -> None:
        told.extend(replies)
        asked.append(watched.asked_in_all)

    replies = cached.generate(requests, BRIEF, told=tell)
    assert told[0] == (0, replies[0][0])
    assert asked[0] == 1  # before any other was asked for
    assert sorted(told, key=lambda entry: entry[0]) == [(place, reply) for place, (reply,) in enumerate(replies)]
    told.clear()
    cached.generate(requests, BRIEF, told=tell)
    assert told == []


def test_who_is_told_hears_what_is_kept_where_another_process_was_first(
    cached: CachedEngine, watched: WatchedEngine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, put = RequestCache(path), RequestCache.put

    def come_second(cache: RequestCache, values: dict[str, list[object]]) -> dict[str, object]:
        put(other, {key: ["theirs", *value[1:]] for key, value in values.items()})
        return put(cache, values)

    monkeypatch.setattr(RequestCache, "put", come_second)
    told: list[tuple[int, Reply]] = []
    replies = cached.generate([Request(user_message("word"))], BRIEF, told=told.extend)
    other.close()
    assert [reply.text for (reply,) in replies] == ["theirs"]
    assert told == [(0, replies[0][0])]
