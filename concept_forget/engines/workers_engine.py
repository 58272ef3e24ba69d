"""An engine whose batches are computed elsewhere: each of several workers holds the real one."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import uuid4

from pydantic import BaseModel

from concept_forget.engines.protocol import (
    Capability,
    Engine,
    Reply,
    Request,
    Sampling,
    StreamingEngine,
    TokenScores,
)
from concept_forget.execution import Workers

_SLICES = 4  # of what an engine would do at once, for each worker: who is done early takes another
_LEAST, _MOST = 256, 1024  # requests in a slice; an engine that does all at once is fast with hundreds


@dataclass(frozen=True, slots=True)
class _Generate:
    requests: tuple[Request, ...]
    sampling: Sampling
    schema: type[BaseModel] | None


@dataclass(frozen=True, slots=True)
class _Score:
    pairs: tuple[tuple[Request, str], ...]
    moments: bool


class WorkersEngine:
    """An engine that several workers hold, each of them all of it.

    Batches are those of the one engine, planned here without its weights, so that replies and scores are the ones that
    it would give alone. An engine that does everything at once, such as vLLM, gets it in slices.

    Args:
        make: Makes the engine, without loading anything; can be pickled.
        workers: Who computes.
    """

    def __init__(self, make: Callable[[], Engine], workers: Workers) -> None:
        self._make = make
        self._workers = workers
        self._planner = make()
        self._key = f"engine {uuid4().hex}"
        self._flops_per_token = 0.0

    @cached_property
    def _facts(self) -> tuple[str, frozenset[Capability]]:
        """Identity and capabilities as they are where the engine is: there may be accelerators there, and none here."""
        ((_, facts),) = self._workers.compute(self._key, self._make, _look, [None])
        return facts

    @property
    def identity(self) -> str:
        """The engine's, on the workers' devices."""
        return self._facts[0]

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The engine's."""
        return self._facts[1]

    @property
    def flops_per_token(self) -> float:
        """The engine's, once something was computed."""
        return self._flops_per_token or self.here.flops_per_token

    @property
    def here(self) -> Engine:
        """The engine in this process, for what has to see the model itself. Its weights are read when that is asked."""
        return self._planner

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, schema: type[BaseModel] | None = None
    ) -> list[list[Reply]]:
        """Replies to each request; see ``Engine.generate``."""
        plan = self.plan(requests, sampling)
        found: dict[int, list[Reply]] = {}
        for number, replies in self.generate_batches(
            [[requests[p] for p in batch] for batch in plan], sampling, schema
        ):
            found.update(zip(plan[number], replies, strict=True))
        return [found[place] for place in range(len(requests))]

    def score(self, pairs: Sequence[tuple[Request, str]], moments: bool = False) -> list[TokenScores]:
        """Scores of each completion; see ``Engine.score``."""
        plan = self.plan_scores(pairs)
        found: dict[int, TokenScores] = {}
        for number, scores in self.score_batches([[pairs[place] for place in batch] for batch in plan], moments):
            found.update(zip(plan[number], scores, strict=True))
        return [found[place] for place in range(len(pairs))]

    def generate_batches(
        self, batches: Sequence[Sequence[Request]], sampling: Sampling, schema: type[BaseModel] | None
    ) -> Generator[tuple[int, list[list[Reply]]], None, None]:
        """Replies to each batch; see ``ParallelEngine.generate_batches``."""
        jobs = [_Generate(tuple(batch), sampling, schema) for batch in batches]
        for number, (cost, replies) in self._workers.compute(self._key, self._make, _generate, jobs):
            self._flops_per_token = cost
            yield number, replies

    def score_batches(
        self, batches: Sequence[Sequence[tuple[Request, str]]], moments: bool
    ) -> Generator[tuple[int, list[TokenScores]], None, None]:
        """Scores of each batch; see ``ParallelEngine.score_batches``."""
        jobs = [_Score(tuple(batch), moments) for batch in batches]
        for number, (cost, scores) in self._workers.compute(self._key, self._make, _score, jobs):
            self._flops_per_token = cost
            yield number, scores

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        """The engine's batches."""
        return self._sliced(self._planner.plan(requests, sampling))

    def plan_scores(self, pairs: Sequence[tuple[Request, str]]) -> list[list[int]]:
        """The engine's batches."""
        return self._sliced(self._planner.plan_scores(pairs))

    def close(self) -> None:
        """Give the memory back, here and where the workers are."""
        self._planner.close()
        self._workers.drop(self._key)

    def _sliced(self, plan: list[list[int]]) -> list[list[int]]:
        if not isinstance(self._planner, StreamingEngine):
            return plan
        count = self._workers.count
        return [part for batch in plan for part in slices(batch, count)]


def slices(batch: Sequence[int], workers: int) -> list[list[int]]:
    """Parts of what an engine would do at once: several for each worker, unless they become too small to be fast."""
    fair = math.ceil(len(batch) / workers)
    size = min(_MOST, max(math.ceil(fair / _SLICES), min(fair, _LEAST)))
    return [list(batch[start : start + size]) for start in range(0, len(batch), size)] if batch else []


def _look(engine: Engine, nothing: None) -> tuple[str, frozenset[Capability]]:
    return engine.identity, engine.capabilities


def _generate(engine: Engine, job: _Generate) -> tuple[float, list[list[Reply]]]:
    replies = engine.generate(job.requests, job.sampling, job.schema)
    return engine.flops_per_token, replies


def _score(engine: Engine, job: _Score) -> tuple[float, list[TokenScores]]:
    scores = engine.score(job.pairs, job.moments)
    return engine.flops_per_token, scores
