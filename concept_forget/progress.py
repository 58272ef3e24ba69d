"""Progress bars with rate and time left, on the standard error stream, silent when it is no terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol


class Progress(Protocol):
    """Something that is told how far the work is."""

    def advance(self, amount: float = 1) -> None:
        """``amount`` more units are done."""

    def resize(self, total: float) -> None:
        """The work turned out to have ``total`` units."""


class _Silent:
    def advance(self, amount: float = 1) -> None:
        return None

    def resize(self, total: float) -> None:
        return None


@contextlib.contextmanager
def track(description: str, total: float | None, unit: str = "") -> Iterator[Progress]:
    """Show a bar while the block runs.

    Args:
        description: What is being done, in a few words.
        total: Units of work, or None where the number is not known.
        unit: What a unit is called, for the rate.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Silent()
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.1f} {unit}/s".replace(" /s", "/s") if speed else "")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        task = bars.add_task(description, total=total)

        class Shown:
            def advance(self, amount: float = 1) -> None:
                bars.advance(task, amount)

            def resize(self, total: float) -> None:
                bars.update(task, total=total)

        yield Shown()


@contextlib.contextmanager
def track_steps(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar of steps; the block gets a function that takes how many are done, and how many there are."""
    with track(description, total=None, unit="steps") as bar:
        shown = 0

        def show(done: int, total: int) -> None:
            nonlocal shown
            bar.resize(total)
            bar.advance(done - shown)
            shown = done

        yield show
