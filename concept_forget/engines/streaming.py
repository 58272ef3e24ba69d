"""Results that come one by one: gathered for those who want all of them, and carried over from an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from concept_forget.engines.interruption import deferred_interrupt
from concept_forget.engines.protocol import Reply, Request, Sampling, StreamingEngine, TokenScores

_LOOK_SECONDS = 0.1  # between two looks at whether somebody wants the work to stop
_GROUP = 256  # results handed over at once, at most
T = TypeVar("T")


def gather_replies(
    engine: StreamingEngine, requests: Sequence[Request], sampling: Sampling, schema: type[BaseModel] | None
) -> list[list[Reply]]:
    """``Engine.generate`` by way of ``stream``."""
    draws = [(request, number) for request in requests for number in range(sampling.n)]
    with deferred_interrupt() as stop:
        found = dict(item for group in engine.stream(draws, sampling, schema, stop) for item in group)
    return [[found[place * sampling.n + number] for number in range(sampling.n)] for place in range(len(requests))]


def gather_scores(engine: StreamingEngine, pairs: Sequence[tuple[Request, str]], moments: bool) -> list[TokenScores]:
    """``Engine.score`` by way of ``stream_scores``."""
    with deferred_interrupt() as stop:
        found = dict(item for group in engine.stream_scores(pairs, moments, stop) for item in group)
    return [found[place] for place in range(len(pairs))]


def stream_from_loop(
    work: Callable[[Callable[[T], None]], Coroutine[Any, Any, None]], stop: threading.Event
) -> Generator[list[T], None, None]:
    """Run a coroutine in a thread of its own, and give what it hands over while it goes on.

    Args:
        work: Is called with a function that takes each result. When it ends, so does the iterator, after all results.
        stop: Set, the coroutine is cancelled; so it is when the iterator is closed.

    Yields:
        All results that were there to be taken, at least one.

    Raises:
        BaseException: What the coroutine raised, after the results that it had handed over before.
    """
    results: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    task = loop.create_task(work(results.put))

    def run() -> None:
        error: BaseException | None = None
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        except BaseException as raised:
            error = raised
        finally:
            with contextlib.suppress(Exception):
                loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
            results.put(_End(error))

    def cancel() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the work is over
            loop.call_soon_threadsafe(task.cancel)

    thread = threading.Thread(target=run, name="event loop", daemon=True)
    thread.start()
    end: _End | None = None
    try:
        while end is None:
            if stop.is_set():
                cancel()
            group, end = _take(results)
            if group:
                yield group
    finally:
        cancel()
        thread.join()
    if end.error is not None:
        raise _innermost(end.error)


class _End:
    """Comes after the last result."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def _take(results: queue.SimpleQueue[T | _End]) -> tuple[list[T], _End | None]:
    """What is there, after a wait for the first; and the end, if it has come."""
    group: list[T] = []
    with contextlib.suppress(queue.Empty):
        while len(group) < _GROUP:
            result = results.get_nowait() if group else results.get(timeout=_LOOK_SECONDS)
            if isinstance(result, _End):
                return group, result
            group.append(result)
    return group, None


def _innermost(error: BaseException) -> BaseException:
    """The first error of a group: what one task met is what the caller is told."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
