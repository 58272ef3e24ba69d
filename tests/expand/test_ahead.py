from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from concept_forget.expand.ahead import Ahead


@pytest.fixture
def ahead() -> Iterator[Ahead]:
    made = Ahead()
    yield made
    made.close()


def gate_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("gates")]


def test_pieces_are_done_in_their_order_in_one_other_thread(ahead: Ahead) -> None:
    done: list[tuple[int, int]] = []
    for number in range(50):
        ahead.give(lambda number=number: done.append((number, threading.get_ident())))
    ahead.wait()
    assert [number for number, _ in done] == list(range(50))
    assert len({thread for _, thread in done}) == 1
    assert threading.get_ident() not in {thread for _, thread in done}


def test_the_owner_goes_on_while_a_piece_is_under_way(ahead: Ahead) -> None:
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(10)
        done.set()

    ahead.give(work)
    assert begun.wait(10)
    assert not done.is_set()
    go_on.set()
    ahead.wait()
    assert done.is_set()


def test_what_a_piece_raised_reaches_who_waits_and_those_after_it_are_given_up(ahead: Ahead) -> None:
    all_given, hold, later = threading.Event(), threading.Event(), []

    def fail() -> None:
        assert all_given.wait(10)
        raise ValueError("no such facet: ship")

    ahead.give(fail)
    ahead.give(lambda: hold.wait(10))
    ahead.give(lambda: later.append(1))
    all_given.set()
    with pytest.raises(ValueError, match="no such facet: ship"):
        ahead.wait()
    threading.Timer(0.05, hold.set).start()
    ahead.close()
    assert later == []
    assert gate_threads() == []


def test_what_a_piece_raised_reaches_who_has_more_to_give(ahead: Ahead) -> None:
    done = threading.Event()

    def fail() -> None:
        raise ValueError("no such facet: ship")

    ahead.give(fail)
    ahead._given[0].add_done_callback(lambda _: done.set())
    assert done.wait(10)
    with pytest.raises(ValueError, match="no such facet: ship"):
        ahead.give(lambda: None)


def test_time_that_nobody_waited_for_is_hidden_and_other_time_is_not(
    ahead: Ahead, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, waiting, first_done = [0.0], threading.Event(), threading.Event()

    def clock() -> float:
        read = now[0]
        if threading.current_thread() is threading.main_thread():
            waiting.set()
        return read

    def first() -> None:
        now[0] += 3

    def second() -> None:
        first_done.set()
        assert waiting.wait(10)
        now[0] += 2

    monkeypatch.setattr("concept_forget.expand.ahead.time.monotonic", clock)
    ahead.give(first)
    ahead.give(second)
    assert first_done.wait(10)
    ahead.wait()
    assert (ahead.seconds, ahead.waited, ahead.hidden) == (5.0, 2.0, 3.0)
