"""What every engine understands: requests in, replies and token scores out."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from pydantic import BaseModel

from concept_forget.errors import CapabilityError
from concept_forget.records import Chat

Capability = Literal["generate", "schema", "logprobs", "moments", "adapters", "hidden"]
FinishReason = Literal["stop", "length", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, and nothing about how.

    ``prompt`` is a chat, or raw text for a base model. ``prefill`` is the reply's forced opening. ``seed`` matters to
    sampled replies only.
    """

    prompt: Chat | str
    prefill: str = ""
    adapter: str | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How replies are drawn.

    ``temperature`` 0 is greedy; ``n`` is the number of replies per request; ``max_new_tokens`` bounds each of them.
    A model's own generation settings are not heeded, except for the tokens at which it stops.
    """

    temperature: float = 0.0
    n: int = 1
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.n < 1 or self.max_new_tokens < 1:
            raise ValueError(f"no replies can be drawn with {self}")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: the text after the prefill, without the tokens that end it.

    ``finish_reason`` is ``length`` where ``max_new_tokens`` or the model's context cut the reply off. A server may also
    have ``refused`` a request for what it asks, or ``failed`` every time; there is no text then, and ``problem`` says
    why. Both counts are in tokens; ``completion_tokens`` includes the token at which the reply stopped.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class TokenScores:
    """What a model thinks of each token of a completion.

    ``logprobs`` are natural logarithms. A rank is the number of tokens that the model holds likelier, 0 at the top.
    ``means`` and ``variances`` are those of log p(z) where z is drawn from the model's own distribution p at that
    place (Zhang et al. 2024, Min-K%++); None where nobody asked.

    The completion of a chat ends with the token that ends the assistant's turn, and its score is the last one; raw
    text ends where it ends.
    """

    logprobs: tuple[float, ...]
    ranks: tuple[int, ...]
    means: tuple[float, ...] | None = None
    variances: tuple[float, ...] | None = None
    prompt_tokens: int = 0


class Engine(Protocol):
    """A language model that replies and scores.

    ``generate`` and ``score`` do any number at once. Who keeps the results as they come asks batch by batch instead,
    in the batches that ``plan`` and ``plan_scores`` name: what is planned together is computed together, and so is
    any part of it.
    """

    @property
    def identity(self) -> str:
        """Everything about the engine that a reply depends on; part of every cache key."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the engine can do."""

    @property
    def flops_per_token(self) -> float:
        """Floating-point operations that a token costs on this machine; 0 where another machine does the work."""

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, schema: type[BaseModel] | None = None
    ) -> list[list[Reply]]:
        """``sampling.n`` replies to each request, in the requests' order.

        Args:
            requests: What is asked.
            sampling: How replies are drawn.
            schema: Replies are JSON of this model, as far as they are not cut off.

        Raises:
            CapabilityError: The engine cannot do what is asked.
            DataError: A request is too long for the model.
        """

    def score(self, pairs: Sequence[tuple[Request, str]], moments: bool = False) -> list[TokenScores]:
        """Score the completion of each (request, completion), in the order of the pairs.

        Args:
            pairs: A completion goes on where its request's prompt and prefill end.
            moments: Means and variances are wanted too.

        Raises:
            CapabilityError: The engine cannot do what is asked.
            DataError: A pair is too long for the model.
        """

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        """Batches for ``generate``, as positions in ``requests``: each position once."""

    def plan_scores(self, pairs: Sequence[tuple[Request, str]]) -> list[list[int]]:
        """Batches for ``score``, as positions in ``pairs``: each position once."""

    def close(self) -> None:
        """Give the memory back. The engine may be asked again, and then takes it anew."""


Draw = tuple[Request, int]
"""A request, and the number of one of its replies, from 0."""


@runtime_checkable
class StreamingEngine(Engine, Protocol):
    """An engine whose results come one by one: none waits for the end of a batch to be kept.

    Both methods give (position, result) in groups, as they are finished and in no order. Each position comes once.
    When ``stop`` is set, what is under way is given up, what is finished still comes, and then the iterator ends.
    """

    def stream(
        self, draws: Sequence[Draw], sampling: Sampling, schema: type[BaseModel] | None, stop: threading.Event
    ) -> Generator[list[tuple[int, Reply]], None, None]:
        """One reply to each draw; otherwise as ``generate``."""

    def stream_scores(
        self, pairs: Sequence[tuple[Request, str]], moments: bool, stop: threading.Event
    ) -> Generator[list[tuple[int, TokenScores]], None, None]:
        """Scores of each pair; otherwise as ``score``."""


@runtime_checkable
class ParallelEngine(Engine, Protocol):
    """An engine that computes several batches at the same time.

    Both methods give (number of the batch, its results) as they are finished and in no order, each batch once.
    """

    def generate_batches(
        self, batches: Sequence[Sequence[Request]], sampling: Sampling, schema: type[BaseModel] | None
    ) -> Generator[tuple[int, list[list[Reply]]], None, None]:
        """Replies to each batch; otherwise as ``generate``."""

    def score_batches(
        self, batches: Sequence[Sequence[tuple[Request, str]]], moments: bool
    ) -> Generator[tuple[int, list[TokenScores]], None, None]:
        """Scores of each batch; otherwise as ``score``."""


def check_capabilities(
    engine: Engine,
    needed: Capability,
    requests: Sequence[Request],
    *,
    schema: type[BaseModel] | None = None,
    moments: bool = False,
) -> None:
    """Refuse what an engine cannot do before any of it is done.

    Args:
        engine: The engine that is asked.
        needed: What the call is: ``generate``, or ``logprobs`` for scoring.
        requests: The requests; one with an adapter needs ``adapters``.
        schema: The replies' schema, which needs ``schema``.
        moments: Means and variances, which need ``moments``.

    Raises:
        CapabilityError: Naming what is missing and what there is.
    """
    wanted: dict[Capability, bool] = {
        needed: True,
        "schema": schema is not None,
        "moments": moments,
        "adapters": any(request.adapter is not None for request in requests),
    }
    missing = [name for name, is_wanted in wanted.items() if is_wanted and name not in engine.capabilities]
    if missing:
        raise CapabilityError(
            f"the engine {engine.identity} cannot do {', '.join(missing)}; "
            f"it can do {', '.join(sorted(engine.capabilities))}"
        )
