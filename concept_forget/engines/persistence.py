"""Getting an answer out of a server that is busy, broken or slow: how many at once, when again, and when no more."""

from __future__ import annotations

import asyncio
import email.utils
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from concept_forget.errors import EngineError

LONGEST_BACKOFF = 30.0
LONGEST_WAIT = 600.0
"""Seconds that a server may ask to be left alone for; who wants more will not answer in this run."""

FAILURES_IN_A_ROW = 3
"""Requests that fail for good, none having got through between them: then it is the server, not the requests."""

T = TypeVar("T")


class Setback(Exception):
    """An attempt that came to nothing, and may come to something another time.

    Args:
        reason: What happened, in a few words.
        wait: Seconds that the server asks to be left alone for.
        overloaded: The server has too much to do.
    """

    def __init__(self, reason: str, *, wait: float | None = None, overloaded: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.overloaded = overloaded


class Failed(Exception):
    """No attempt came to anything."""


class Throttle:
    """How many requests may be under way: half as many when the server has too much, one more after a round of answers.

    Additive increase and multiplicative decrease (Chiu and Jain 1989, "Analysis of the increase and decrease
    algorithms for congestion avoidance in computer networks").

    Args:
        most: Requests under way at once, at most; the number to begin with.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = float(most)
        self._running = 0
        self._cuts = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def allowed(self) -> int:
        """Requests that may be under way now."""
        return int(self._allowed)

    async def enter(self) -> int:
        """Wait for a place.

        Returns:
            A mark of when it was given, for ``slow_down``.
        """
        while self._running >= self.allowed:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake()  # the turn may have been given already
                raise
        self._running += 1
        return self._cuts

    def leave(self) -> None:
        """Give the place back."""
        self._running -= 1
        self._wake()

    def slow_down(self, mark: int) -> None:
        """Halve the number, once for all requests that were under way when the server had too much."""
        if mark == self._cuts:
            self._cuts += 1
            self._allowed = max(1.0, self._allowed / 2)

    def speed_up(self) -> None:
        """A request was answered."""
        self._allowed = min(float(self._most), self._allowed + 1 / self._allowed)
        self._wake()

    def _wake(self) -> None:
        free = self.allowed - self._running
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1


class Persistence:
    """Asks again, later each time, until an answer comes or hope is gone.

    Args:
        throttle: Gives the places.
        attempts: Times that a request is sent.
        backoff: Seconds before the second attempt; twice as long before each one after it, up to 30 s, and each wait
            between half of that and the whole, by chance.
        server: What the server is called in messages.
    """

    def __init__(self, throttle: Throttle, attempts: int, backoff: float, server: str) -> None:
        self._throttle = throttle
        self._attempts = attempts
        self._backoff = backoff
        self._server = server
        self._failures = 0
        self._chance = random.Random()  # waits are no part of any result

    async def obtain(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer to a request.

        Args:
            ask: Sends it once; raises ``Setback`` where that came to nothing.

        Raises:
            Failed: Every attempt came to nothing; the message says what the last one met.
            EngineError: So did those of several requests in a row.
        """
        reason = ""
        for attempt in range(self._attempts):
            mark = await self._throttle.enter()
            try:
                answer = await ask()
            except Setback as setback:
                if setback.overloaded:
                    self._throttle.slow_down(mark)
                reason, wait = setback.reason, self._wait(attempt, setback.wait)
            else:
                self._throttle.speed_up()
                self._failures = 0
                return answer
            finally:
                self._throttle.leave()
            if wait > LONGEST_WAIT:
                reason += f"; the server asks to wait {wait:.0f} s"
                break
            if attempt + 1 < self._attempts:
                await asyncio.sleep(wait)
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW:
            raise EngineError(
                f"the server {self._server} does not answer: {reason}\n"
                "  → see that it is up; what it answered is kept, and the same command goes on from there"
            )
        raise Failed(reason)

    def _wait(self, attempt: int, asked: float | None) -> float:
        own = min(LONGEST_BACKOFF, self._backoff * 2.0 ** min(attempt, 16)) * self._chance.uniform(0.5, 1.0)
        return own if asked is None else asked + own * self._chance.random()


def read_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the header ``Retry-After`` asks to wait, given as seconds or as a date (RFC 9110, 10.2.3).

    Args:
        headers: Of a response; the lookup disregards case.
        now: Seconds since 1970.

    Returns:
        None where there is no such header, or none that can be read.
    """
    text = headers.get("retry-after")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(seconds) else max(0.0, seconds)
