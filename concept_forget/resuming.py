"""Reading that breaks off elsewhere and goes on where it stood: nothing is lost, given twice or out of its order."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Generic

from concept_forget.errors import EngineError, first_line
from concept_forget.execution import Item

_log = logging.getLogger(__name__)


class BrokenOffError(Exception):
    """Reading came to an end before its time, for a reason that a second try may not meet."""


@dataclass(frozen=True, slots=True)
class Part(Generic[Item]):
    """Some of what one job gives.

    Attributes:
        place: The job's place.
        first: How many things of this job came before these.
        items: The things, in order.
        is_last: Whether the job gives nothing after them.
    """

    place: int
    first: int
    items: Sequence[Item]
    is_last: bool


def read_on(
    open_parts: Callable[[int, int], Generator[Part[Item], None, None]], jobs: int, retries: int
) -> Generator[tuple[int, Item], None, None]:
    """What the parts hold, opened anew where they break off.

    Args:
        open_parts: Gives the parts from a job's place on, without so many things of that job. Each time it gives the
            same things.
        jobs: How many jobs there are.
        retries: Times in a row that are tried again without a part more than before.

    Yields:
        The job's place, and one thing that it gave, in order.

    Raises:
        EngineError: It broke off again and again at one place.
    """
    place = given = failed = 0
    while place < jobs:
        try:
            with contextlib.closing(open_parts(place, given)) as parts:
                for part in parts:
                    if (part.place, part.first) != (place, given):
                        raise BrokenOffError(
                            f"job {part.place} from {part.first} on came where job {place} from {given} on was due"
                        )
                    failed = 0
                    yield from ((place, item) for item in part.items)
                    given += len(part.items)
                    if part.is_last:
                        place, given = place + 1, 0
            if place < jobs:
                raise BrokenOffError(f"nothing came after {given} things of job {place}")
        except BrokenOffError as error:
            failed += 1
            if failed > retries:
                raise EngineError(
                    f"reading broke off {failed} times at one place: {first_line(error)}\n"
                    "  → see with `ray status` that the cluster is well; what was finished is kept, and the same "
                    "command goes on from there"
                ) from error
            _log.warning("Reading broke off, and goes on where it stood: %s", first_line(error))
