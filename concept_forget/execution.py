"""Who does the work that can be handed out: this process, or workers elsewhere while a run has some."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from concept_forget.config import ExecutionConfig

Held = TypeVar("Held")
Job = TypeVar("Job")
Result = TypeVar("Result")
Item = TypeVar("Item")


class Workers(Protocol):
    """Processes, perhaps on other machines, each of which makes what it needs once and works with it.

    All functions and values that they are handed can be pickled. A job that its worker did not live to finish is done
    by another one. What a job comes to must depend on the job alone.
    """

    @property
    def count(self) -> int:
        """How many there are."""

    def compute(
        self, key: str, make: Callable[[], Held], work: Callable[[Held, Job], Result], jobs: Sequence[Job]
    ) -> Generator[tuple[int, Result], None, None]:
        """Do each job once, several at a time.

        Args:
            key: The name of what a worker holds; it is made once in each, and again where a worker was lost.
            make: Makes it.
            work: Does one job with it.
            jobs: What is to be done, the longest first if one can choose.

        Yields:
            The place of each job and what came of it, as they are finished.

        Raises:
            EngineError: A job's workers came to an end again and again, or there are none any more.
            ConceptForgetError: What ``make`` or ``work`` raised.
        """

    def drop(self, key: str) -> None:
        """Close what the workers hold under a key, and give its memory back."""

    def read(
        self, work: Callable[[Job], Iterator[Item]], jobs: Sequence[Job]
    ) -> Generator[tuple[int, Item], None, None]:
        """What a function gives for each job, several jobs being read at a time.

        Yields:
            The job's place, and one thing that it gave; in the order in which one process would have given them.

        Raises:
            EngineError: Processes came to an end over the same job again and again, or reading broke off at one place.
            ConceptForgetError: What ``work`` raised; any other fault in it comes as this, with its traceback.
            OSError, MemoryError: As ``work`` raised it.
        """

    def describe(self) -> dict[str, Any]:
        """What they are, for the record of a run."""

    def close(self) -> None:
        """Let them go."""


_now: list[Workers] = []


def current_workers() -> Workers | None:
    """The workers of the run that is under way; None where this process does everything."""
    return _now[-1] if _now else None


@contextlib.contextmanager
def handing_out_to(workers: Workers) -> Iterator[None]:
    """Have these workers while the block runs."""
    _now.append(workers)
    try:
        yield
    finally:
        _now.remove(workers)


@contextlib.contextmanager
def working(config: ExecutionConfig) -> Iterator[None]:
    """Have the workers that a config names while the block runs. They are started when there is something to do."""
    if config.engine == "process":
        yield
        return
    from concept_forget.ray_workers import RayWorkers

    with contextlib.closing(RayWorkers(config)) as workers, handing_out_to(workers):
        yield
