"""Batches computed one after the other, or several at once by an engine that can."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pydantic import BaseModel

from concept_forget.engines.protocol import Engine, ParallelEngine, Reply, Request, Sampling, TokenScores


def generate_batches(
    engine: Engine, batches: Sequence[Sequence[Request]], sampling: Sampling, schema: type[BaseModel] | None
) -> Generator[tuple[int, list[list[Reply]]], None, None]:
    """The number of each batch and its replies, one batch after the other unless the engine does several at once."""
    if isinstance(engine, ParallelEngine):
        yield from engine.generate_batches(batches, sampling, schema)
        return
    for number, batch in enumerate(batches):
        yield number, engine.generate(batch, sampling, schema)


def score_batches(
    engine: Engine, batches: Sequence[Sequence[tuple[Request, str]]], moments: bool
) -> Generator[tuple[int, list[TokenScores]], None, None]:
    """``generate_batches`` for scores."""
    if isinstance(engine, ParallelEngine):
        yield from engine.score_batches(batches, moments)
        return
    for number, batch in enumerate(batches):
        yield number, engine.score(batch, moments)
