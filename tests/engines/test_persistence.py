from __future__ import annotations

import asyncio
import time

import pytest

from concept_forget.engines.persistence import Failed, Persistence, Setback, Throttle, read_retry_after
from concept_forget.errors import EngineError


def test_the_throttle_halves_once_per_round_and_climbs_by_one() -> None:
    async def work() -> list[int]:
        throttle = Throttle(16)
        marks = [await throttle.enter() for _ in range(16)]
        for mark in marks:  # all were under way when the server had too much: one halving
            throttle.slow_down(mark)
            throttle.leave()
        seen = [throttle.allowed]
        for _ in range(8 + 1):
            throttle.speed_up()
        seen.append(throttle.allowed)
        for _ in range(10):
            throttle.slow_down(await throttle.enter())
            throttle.leave()
        seen.append(throttle.allowed)
        for _ in range(1000):
            throttle.speed_up()
        return [*seen, throttle.allowed]

    assert asyncio.run(work()) == [8, 9, 1, 16]


def test_never_more_are_under_way_than_allowed_and_all_get_their_turn() -> None:
    async def work() -> tuple[int, int]:
        throttle, running, most, done = Throttle(5), 0, 0, 0

        async def one(number: int) -> None:
            nonlocal running, most, done
            await throttle.enter()
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001 * (number % 3))
            running -= 1
            throttle.leave()
            done += 1

        tasks = [asyncio.create_task(one(number)) for number in range(60)]
        await asyncio.sleep(0.002)
        for task in tasks[20:40]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert running == 0
        return most, done

    most, done = asyncio.run(asyncio.wait_for(work(), 20))
    assert most == 5
    assert done >= 40


def test_an_answer_that_comes_in_the_end_is_given() -> None:
    async def work() -> tuple[str, int]:
        asked = 0

        async def ask() -> str:
            nonlocal asked
            asked += 1
            if asked < 4:
                raise Setback("not yet")
            return "here"

        return await Persistence(Throttle(1), 4, 0.001, "S").obtain(ask), asked

    assert asyncio.run(work()) == ("here", 4)


def test_requests_that_fail_in_a_row_are_the_servers_fault_and_single_ones_are_not() -> None:
    async def work() -> None:
        persistence = Persistence(Throttle(2), 2, 0.001, "S")

        async def fail() -> str:
            raise Setback("broken")

        async def succeed() -> str:
            return "here"

        for _ in range(3):
            for _ in range(2):
                with pytest.raises(Failed, match="broken"):
                    await persistence.obtain(fail)
            await persistence.obtain(succeed)
        for _ in range(2):
            with pytest.raises(Failed):
                await persistence.obtain(fail)
        with pytest.raises(EngineError, match="the server S does not answer: broken"):
            await persistence.obtain(fail)

    asyncio.run(work())


def test_waits_grow_vary_and_are_never_shorter_than_asked() -> None:
    persistence = Persistence(Throttle(1), 9, 0.5, "S")
    for attempt in range(12):
        waits = [persistence._wait(attempt, None) for _ in range(200)]
        whole = min(30.0, 0.5 * 2**attempt)
        assert whole / 2 <= min(waits) < max(waits) <= whole
        assert max(waits) - min(waits) > whole / 4
        assert min(persistence._wait(attempt, 7.0) for _ in range(50)) >= 7.0


def test_a_server_that_asks_for_an_hour_is_given_up() -> None:
    async def work() -> None:
        async def ask() -> str:
            raise Setback("busy", wait=3600.0)

        with pytest.raises(Failed, match="asks to wait 36"):
            await Persistence(Throttle(1), 5, 0.001, "S").obtain(ask)

    began = time.monotonic()
    asyncio.run(work())
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 10.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(text: str, seconds: float | None) -> None:
    now = 784111767.0  # 1994-11-06 08:49:27 GMT
    assert read_retry_after({"retry-after": text}, now) == seconds
    assert read_retry_after({}, now) is None
