"""Reading that breaks off: by what a stream would give, cut and disturbed in every way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from concept_forget.errors import EngineError
from concept_forget.resuming import BrokenOffError, Part, read_on

Parts = Generator[Part[str], None, None]
JOBS = [["a0", "a1", "a2", "a3", "a4"], [], ["c0"], ["d0", "d1", "d2"]]
ALL = [(place, item) for place, items in enumerate(JOBS) for item in items]


def whole(place: int, given: int, size: int = 2) -> Iterator[Part[str]]:
    """What comes where nothing breaks: parts of a size, the last of a job marked."""
    for number in range(place, len(JOBS)):
        first = given if number == place else 0
        while len(JOBS[number]) - first >= size:
            yield Part(number, first, JOBS[number][first : first + size], False)
            first += size
        yield Part(number, first, JOBS[number][first:], True)


def disturbed(seen: list[Part[str]], fault: str, at: int) -> Parts:
    """The parts with one fault in them."""
    if fault == "swapped" and at + 1 < len(seen):
        seen[at], seen[at + 1] = seen[at + 1], seen[at]
    elif fault == "twice":
        seen.insert(at, seen[at])
    elif fault == "left out":
        del seen[at]
    elif fault == "cut":
        del seen[at:]
    elif fault == "raised":
        yield from seen[:at]
        raise BrokenOffError("the store lost a block")
    yield from seen


@settings(deadline=None)
@drawn(
    st.lists(
        st.tuples(st.sampled_from(["swapped", "twice", "left out", "cut", "raised"]), st.integers(0, 8)), max_size=12
    ),
    st.integers(1, 4),
)
def test_whatever_breaks_off_all_comes_once_and_in_order_or_an_error_says_so(
    faults: list[tuple[str, int]], size: int
) -> None:
    waiting = list(faults)

    def open_parts(place: int, given: int) -> Parts:
        seen = list(whole(place, given, size))
        if not waiting:
            yield from seen
            return
        fault, at = waiting.pop(0)
        yield from disturbed(seen, fault, at % len(seen))

    found = []
    try:
        for pair in read_on(open_parts, len(JOBS), 3):
            found.append(pair)
    except EngineError:
        assert len(faults) > 3
        assert found == ALL[: len(found)]
    else:
        assert found == ALL


def test_what_broke_off_goes_on_where_it_stood_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    starts = []

    def open_parts(place: int, given: int) -> Parts:
        starts.append((place, given))
        return disturbed(list(whole(place, given)), "raised" if len(starts) < 3 else "", 2)

    with caplog.at_level(logging.WARNING):
        assert list(read_on(open_parts, len(JOBS), 1)) == ALL
    assert starts == [(0, 0), (0, 4), (2, 0)]
    assert [record.getMessage() for record in caplog.records] == [
        "Reading broke off, and goes on where it stood: the store lost a block"
    ] * 2


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("raised", "the store lost a block"),
        ("cut", "nothing came after 0 things of job 0"),
        ("swapped", "job 0 from 2 on came where job 0 from 0 on was due"),
    ],
)
def test_what_breaks_off_again_and_again_at_one_place_is_given_up_in_words(fault: str, told: str) -> None:
    opened = []

    def open_parts(place: int, given: int) -> Parts:
        opened.append((place, given))
        return disturbed(list(whole(place, given)), fault, 0)

    with pytest.raises(EngineError, match="broke off 4 times at one place") as caught:
        list(read_on(open_parts, len(JOBS), 3))
    assert told in str(caught.value)
    assert "the same command goes on from there" in str(caught.value)
    assert opened == [(0, 0)] * 4


def test_what_is_not_read_to_its_end_is_closed() -> None:
    closed = []

    def open_parts(place: int, given: int) -> Parts:
        try:
            yield from whole(place, given)
        finally:
            closed.append(place)

    reading = read_on(open_parts, len(JOBS), 0)
    assert next(reading) == (0, "a0")
    reading.close()
    assert closed == [0]


def test_another_error_passes() -> None:
    def open_parts(place: int, given: int) -> Parts:
        yield from whole(place, given)
        raise OSError("the disk is full")

    opener: Callable[[int, int], Parts] = open_parts
    with pytest.raises(OSError, match="the disk is full"):
        list(read_on(lambda place, given: opener(place, given), len(JOBS) + 1, 3))
