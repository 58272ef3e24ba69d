from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from concept_forget.engines.interruption import deferred_interrupt
from concept_forget.engines.streaming import stream_from_loop


def count_to(most: int, hand_over: Callable[[int], None], error: Exception | None = None) -> Callable[..., object]:
    async def work() -> None:
        for number in range(most):
            hand_over(number)
            await asyncio.sleep(0.005)
        if error is not None:
            raise ExceptionGroup("tasks", [error])

    return work


def test_everything_handed_over_comes_in_order_while_the_work_goes_on() -> None:
    groups = list(stream_from_loop(lambda take: count_to(40, take)(), threading.Event()))  # type: ignore[arg-type,return-value]
    assert [number for group in groups for number in group] == list(range(40))
    assert len(groups) > 5


def test_an_error_comes_after_the_results_and_by_itself() -> None:
    stream = stream_from_loop(lambda take: count_to(9, take, KeyError("x"))(), threading.Event())  # type: ignore[arg-type,return-value]
    taken: list[int] = []
    with pytest.raises(KeyError, match="x"):
        taken.extend(number for group in stream for number in group)
    assert taken == list(range(9))


def test_a_stop_ends_the_work_and_loses_nothing() -> None:
    stop, handed = threading.Event(), []

    def take_note(take: Callable[[int], None]) -> Callable[[int], None]:
        def both(number: int) -> None:
            handed.append(number)
            take(number)

        return both

    taken: list[int] = []
    for group in stream_from_loop(lambda take: count_to(100_000, take_note(take))(), stop):  # type: ignore[arg-type,return-value]
        taken += group
        if len(taken) > 10:
            stop.set()
    assert taken == handed
    assert len(taken) < 10_000


def test_a_closed_stream_leaves_no_thread() -> None:
    before = threading.active_count()
    stream = stream_from_loop(lambda take: count_to(100_000, take)(), threading.Event())  # type: ignore[arg-type,return-value]
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_ctrl_c_waits_for_the_end_of_the_block_and_a_second_one_does_not() -> None:
    reached: list[str] = []

    def press(times: int) -> None:
        with deferred_interrupt() as stop:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
                assert stop.wait(5)
            time.sleep(0.05)
            reached.append(f"the end, after {times}")

    for times in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            press(times)
    assert reached == ["the end, after 1"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
