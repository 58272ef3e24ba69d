"""Progress bars with rate and time left, on the standard error stream, silent when it is no terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
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
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task(description, total=total)

        class _Shown:
            def advance(self, amount: float = 1) -> None:
                bars.advance(task, amount)

            def resize(self, total: float) -> None:
                bars.update(task, total=total)

        yield _Shown()


def _RateColumn(unit: str) -> object:  # noqa: N802  # stands for a class whose import must stay lazy
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.1f} {unit}/s".replace(" /s", "/s") if speed else "")

    return Rate()
