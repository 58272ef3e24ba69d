from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from concept_forget.config import Config
from concept_forget.engines.cache import CachedEngine, RequestCache
from concept_forget.engines.prompts import PromptSet
from concept_forget.errors import DataError
from concept_forget.expand.ahead import Ahead
from concept_forget.expand.expansion import Expansion, expand
from concept_forget.workspace import Costs
from tests.expand.conftest import MIRA, TableEngine, make_config


class Letters:
    """Vectors from counts of letters, with a note of what was encoded together, and by whom."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.batches: list[tuple[str, ...]] = []
        self.ahead: list[tuple[str, ...]] = []
        self.before = before

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if threading.current_thread() is not threading.main_thread():
            self.before()
            self.ahead.append(tuple(texts))
        self.batches.append(tuple(texts))
        counts = np.array([[1 + t.count(chr(97 + n)) for n in range(26)] for t in texts], dtype=np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


class TestGatesWhileTheGeneratorWrites:
    """`generator.engine` says where it is at work; what is asked is a table in either case."""

    @pytest.fixture(autouse=True)
    def small_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("concept_forget.expand.diversity.BATCH", 4)

    def make_config(self, engine: str, **changes: object) -> Config:
        config = make_config({**MIRA, "keep": ["home"]}, answer_samples=2, **changes)
        return config.model_copy(update={"generator": config.generator.model_copy(update={"engine": engine})})

    def written(self, expansion: Expansion) -> tuple[object, ...]:
        summary = json.dumps(expansion.summary(make_config()))
        ledger = expansion.ledger.rejected_jsonl()
        return expansion.facts, expansion.questions, expansion.passages, ledger, summary

    @pytest.mark.parametrize("passages", [0, 2])
    @pytest.mark.parametrize("held", ["free", "gates", "engine"])
    def test_it_gives_the_same_bytes_and_batches_whoever_is_slow(
        self,
        table_engine: Callable[..., TableEngine],
        further_prompts: PromptSet,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        passages: int,
        held: str,
    ) -> None:
        alone, beside = Letters(), Letters()
        expected = expand(self.make_config("target", passages=passages), table_engine(), further_prompts, encoder=alone)
        give, wait = Ahead.give, Ahead.wait
        free: dict[int, threading.Event] = {}

        def give_held(ahead: Ahead, work: Callable[[], None]) -> None:
            """Nothing is done before somebody waits for it; or nobody goes on before it is done."""
            if held == "engine":
                give(ahead, work)
                return wait(ahead)
            event = free.setdefault(id(ahead), threading.Event())
            return give(ahead, lambda: (event.wait(20), work())[1])

        def wait_freed(ahead: Ahead) -> None:
            free.pop(id(ahead), threading.Event()).set()
            wait(ahead)

        if held != "free":
            monkeypatch.setattr(Ahead, "give", give_held)
            monkeypatch.setattr(Ahead, "wait", wait_freed)
        costs = Costs()
        engine = CachedEngine(table_engine(), RequestCache(tmp_path / "replies.sqlite"), costs)
        found = expand(
            self.make_config("openai", passages=passages), engine, further_prompts, encoder=beside, costs=costs
        )
        engine.close()
        assert self.written(found) == self.written(expected)
        assert alone.ahead == []
        assert beside.ahead
        assert Counter(beside.batches) == Counter(alone.batches)
        assert all(len(batch) == 4 for batch in (beside.ahead if passages else beside.ahead[:-1]))
        assert 0 <= costs.hidden_gate_seconds <= costs.gate_seconds

    def test_diversity_is_measured_before_the_last_refusal_is_there(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        encoder = Letters()

        def decline(match: re.Match[str], seed: int) -> str:
            deadline = time.monotonic() + 20
            while not encoder.ahead and time.monotonic() < deadline:
                time.sleep(0.001)
            assert encoder.ahead, "the measures wait for the generator"
            return f"I do not know that, nor draw {seed}."

        engine = table_engine(rules=[("^Decline", decline)])
        expand(self.make_config("vllm", passages=0), engine, prompts, encoder=encoder)

    def test_an_encoder_that_fails_meanwhile_is_the_error_of_the_stage(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        def fail() -> None:
            raise DataError("the kept vectors cannot be used: disk full")

        with pytest.raises(DataError, match="disk full"):
            expand(self.make_config("vllm", passages=0), table_engine(), prompts, encoder=Letters(fail))
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("gates")]
