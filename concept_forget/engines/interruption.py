"""Ctrl-C at a moment of the program's own choosing, so that nothing finished is lost to it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C inside the block into an event; the block ends in order, and then is interrupted.

    A second Ctrl-C interrupts at once. Outside the main thread, where signals do not come, and where the program has
    a handler of its own for them, the event is never set.

    Raises:
        KeyboardInterrupt: At the end of the block, if Ctrl-C came.
    """
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield stop
        return

    def remember(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGINT, remember)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
    if stop.is_set():
        raise KeyboardInterrupt
