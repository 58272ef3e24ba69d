from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from concept_forget.embedding import Embedder, find_encoder
from concept_forget.encoder_processes import EncoderProcesses
from concept_forget.errors import EngineError, ModelError

TEXTS = [f"The {thing} of the town is called {name} {n}." for thing in ("ship", "book") for name in ("Tern", "Moor") for n in range(12)]  # fmt: skip

pytestmark = pytest.mark.long


def test_several_processes_give_what_one_gives_and_it_is_kept_alike(tiny_encoder: Path, tmp_path: Path) -> None:
    encoder = find_encoder(str(tiny_encoder))
    one = Embedder(encoder, tmp_path / "one.sqlite", 100)
    two = Embedder(encoder, tmp_path / "two.sqlite", 100, devices=("cpu", "cpu"))
    vectors = two.encode(TEXTS)
    assert vectors == pytest.approx(one.encode(TEXTS), abs=1e-6)
    assert two.flops == one.flops > 0
    two.close()
    again = Embedder(encoder, tmp_path / "two.sqlite", 100)
    assert again.encode(TEXTS).tobytes() == vectors.tobytes()
    assert again.flops == 0


def test_a_killed_process_ends_in_one_error_and_what_came_before_is_kept(tiny_encoder: Path, tmp_path: Path) -> None:
    embedder = Embedder(find_encoder(str(tiny_encoder)), tmp_path / "vectors.sqlite", 100, devices=("cpu",))

    class Kill:
        done = 0.0

        def advance(self, amount: float = 1) -> None:
            self.done += amount
            if self.done >= 10:
                for process in multiprocessing.active_children():
                    os.kill(process.pid or 0, signal.SIGKILL)
                    process.join()

        def resize(self, total: float) -> None: ...

    progress = Kill()
    with pytest.raises(EngineError, match=r"process of `mine\.devices` was killed.*\n.*run the same command again"):
        embedder.encode(TEXTS * 100 + [f"{text} {n}" for n in range(60) for text in TEXTS], progress)
    embedder.close()
    again = Embedder(find_encoder(str(tiny_encoder)), tmp_path / "vectors.sqlite", 100)
    kept = again._store.get([again._key(text) for text in TEXTS], again.dimension)
    assert len(kept) > 0
    again.close()


def test_a_device_that_is_not_there_is_named_from_its_process(tiny_encoder: Path) -> None:
    processes = EncoderProcesses(tiny_encoder, "float32", ("cuda:99",))
    with pytest.raises(ModelError, match=r"'cuda:99'.*\n.*mine\.devices"):
        list(processes.encode([TEXTS[:2]]))
    processes.close()
