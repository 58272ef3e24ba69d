from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from concept_forget.config import GeneratorConfig
from concept_forget.engines.cache import CachedEngine, RequestCache
from concept_forget.engines.prompts import load_prompts
from concept_forget.engines.protocol import Draw, Reply, Request, Sampling
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.replies import Item
from concept_forget.expand.writer import Gate, Wish, Writer
from concept_forget.workspace import Costs

NAMES = ("Amber", "Birch", "Coral", "Dune", "Ember", "Fern")
WISHES = [Wish((name,), {"question": f"Where is the {name}?"}) for name in NAMES]
TIMEOUT = 20.0
TableEngine = Any  # the class behind the fixture, in conftest.py


def in_batches(engine: TableEngine, before: Callable[[int], None] = lambda number: None) -> TableEngine:
    """The engine, made to take one request at a time, with something to be done before each."""

    class Slow(type(engine)):  # type: ignore[misc]
        def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
            return [[place] for place in range(len(requests))]

        def generate(
            self, requests: Sequence[Request], sampling: Sampling, schema: type[BaseModel] | None = None
        ) -> list[list[Reply]]:
            before(len(self.calls))
            return super().generate(requests, sampling, schema)  # type: ignore[no-any-return]

    return Slow(rules=engine.rules)


def last_first(engine: TableEngine) -> TableEngine:
    """An engine whose replies come one by one, the last one first."""

    class Backwards(type(engine)):  # type: ignore[misc]
        def stream(
            self, draws: Sequence[Draw], sampling: Sampling, schema: type[BaseModel] | None, stop: threading.Event
        ) -> Generator[list[tuple[int, Reply]], None, None]:
            replies = [reply for reply, *_ in self.generate([request for request, _ in draws], sampling)]
            for place in reversed(range(len(replies))):
                yield [(place, replies[place])]

        def stream_scores(self, *_: Any) -> Generator[Any, None, None]:
            yield from ()

    return Backwards(rules=engine.rules)


def make_writer(engine: Any, path: Path | None) -> Writer:
    settings = GeneratorConfig.model_validate({"prompts": "compact", "temperature": 1.0})
    asked = engine if path is None else CachedEngine(engine, RequestCache(path), Costs())
    return Writer(asked, load_prompts("compact"), settings, 0, Ledger())


def ask(writer: Writer, gate: Gate | None = None) -> list[list[Item]]:
    return writer.gather("paraphrases", "paraphrases", WISHES, gate=gate)


@pytest.fixture
def table(table_engine: Callable[..., TableEngine]) -> TableEngine:
    return table_engine(
        rules=[(r"Rephrase: Where is the (Birch|Dune)", ""), (r"Rephrase: (.+)", lambda m, seed: f"Say: {m[1]}")]
    )


def test_a_reply_is_gated_while_the_engine_is_at_the_next_one(table: TableEngine, tmp_path: Path) -> None:
    gated: dict[int, threading.Event] = {place: threading.Event() for place in range(len(WISHES))}

    def wait_for_the_gate(number: int) -> None:
        if number and number - 1 not in (1, 3):  # nothing came of these
            assert gated[number - 1].wait(TIMEOUT), "the gate waits for the engine"

    threads = set()

    def gate(place: int, item: Item) -> None:
        threads.add(threading.current_thread())
        gated[place].set()

    writer = make_writer(in_batches(table, wait_for_the_gate), tmp_path / "replies.sqlite")
    items = ask(writer, gate)
    assert [len(several) for several in items] == [1, 0, 1, 0, 1, 1]
    assert threading.main_thread() not in threads
    assert writer.ahead.seconds > 0


def test_items_and_faults_stand_in_the_order_of_the_wishes_however_replies_come(
    table: TableEngine, tmp_path: Path
) -> None:
    expected, other = make_writer(table, None), make_writer(last_first(table), tmp_path / "replies.sqlite")
    looked: list[int] = []
    assert ask(other, lambda place, item: looked.append(place)) == ask(expected)
    assert looked == [5, 4, 2, 0]
    assert other.ledger.rejected_jsonl() == expected.ledger.rejected_jsonl()
    assert other.ledger.summary() == expected.ledger.summary()


def test_a_gate_that_is_held_up_is_waited_for(table: TableEngine, tmp_path: Path) -> None:
    go_on, looked = threading.Event(), []

    def gate(place: int, item: Item) -> None:
        assert go_on.wait(TIMEOUT)
        looked.append(place)

    def free_at_the_last(number: int) -> None:
        assert looked == []
        if number == len(WISHES) - 1:
            threading.Timer(0.05, go_on.set).start()

    ask(make_writer(in_batches(table, free_at_the_last), tmp_path / "replies.sqlite"), gate)
    assert looked == [0, 2, 4, 5]


def test_what_a_gate_raises_reaches_the_caller_and_replies_are_kept(table: TableEngine, tmp_path: Path) -> None:
    def gate(place: int, item: Item) -> None:
        raise LookupError(f"no verdict on {item[0]}")

    path = tmp_path / "replies.sqlite"
    engine = in_batches(table)
    with pytest.raises(LookupError, match="no verdict on Say: Where is the Amber"):
        ask(make_writer(engine, path), gate)
    asked = len(engine.calls)
    assert asked >= 1
    again = in_batches(table)
    ask(make_writer(again, path))
    assert len(again.calls) == len(WISHES) - asked


def test_an_interruption_loses_no_reply_that_was_finished(table: TableEngine, tmp_path: Path) -> None:
    gated = threading.Event()

    def gate(place: int, item: Item) -> None:
        gated.set()

    def interrupt(number: int) -> None:
        if number == 3:
            assert gated.wait(TIMEOUT)
            raise KeyboardInterrupt

    path = tmp_path / "replies.sqlite"
    with pytest.raises(KeyboardInterrupt):
        ask(make_writer(in_batches(table, interrupt), path), gate)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gates")]
    again = in_batches(table)
    assert ask(make_writer(again, path), gate) == ask(make_writer(table, None))
    assert len(again.calls) == len(WISHES) - 3
