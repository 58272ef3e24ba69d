"""Gates at work while the generator is: a thread for what hangs on a reply alone, whenever it is done."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Ahead:
    """One thread, which does what it is given in that order.

    Nothing may be given to it whose outcome hangs on when it is done, or that changes what others read: what is decided
    about an item in the light of others is decided afterwards, in the order of the items.

    ``seconds`` is the time that the thread was at work, ``waited`` the time that its owner stood still for it.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waited = 0.0
        self._pool: ThreadPoolExecutor | None = None
        self._given: deque[Future[None]] = deque()

    @property
    def hidden(self) -> float:
        """Seconds of work for which nobody waited."""
        return max(0.0, self.seconds - self.waited)

    def give(self, work: Callable[[], None]) -> None:
        """Have a piece of work done, after those that were given before.

        Raises:
            BaseException: What a piece has raised meanwhile.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="gates")
        while self._given and self._given[0].done():
            self._given.popleft().result()
        self._given.append(self._pool.submit(self._do, work))

    def wait(self) -> None:
        """Wait until all of it is done.

        Raises:
            BaseException: What the first piece that failed raised.
        """
        began = time.monotonic()
        try:
            while self._given:
                self._given.popleft().result()
        finally:
            self.waited += time.monotonic() - began

    def close(self) -> None:
        """Give up what has not been begun, and end the thread; it is started again when there is something to do."""
        self._given.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _do(self, work: Callable[[], None]) -> None:
        began = time.monotonic()
        try:
            work()
        finally:
            self.seconds += time.monotonic() - began
