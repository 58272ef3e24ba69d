from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from concept_forget.mine import shards as module
from concept_forget.mine.chunks import Chunk
from concept_forget.mine.shards import Shards, ShardWriter

COUNT, DIMENSION = 53, 12


@pytest.fixture
def vectors() -> NDArray[np.float32]:
    vectors = np.random.default_rng(0).standard_normal((COUNT, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def chunk(number: int) -> Chunk:
    return Chunk(f"datei/ä.jsonl:{number}", number, number + 5, f"Text “{number}”\nof\tit")


@pytest.fixture
def shards(tmp_path: Path, vectors: NDArray[np.float32]) -> Shards:
    writer = ShardWriter(tmp_path, DIMENSION, rows=10)
    for start in range(0, COUNT, 7):  # parts that fit no shard
        part = range(start, min(COUNT, start + 7))
        writer.add([chunk(number) for number in part], vectors[part.start : part.stop])
    assert writer.finish() == [10, 10, 10, 10, 10, 3]
    return Shards(tmp_path, writer.sizes, DIMENSION)


def test_what_was_written_comes_back_in_order(
    shards: Shards, vectors: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 4)
    blocks = list(shards.blocks())
    assert [len(chunks) for chunks, _ in blocks] == [4, 4, 2] * 5 + [3]
    assert [one for chunks, _ in blocks for one in chunks] == [chunk(number) for number in range(COUNT)]
    assert np.array_equal(np.concatenate([part for _, part in blocks]), vectors)
    assert len(shards) == COUNT


def test_the_search_over_all_shards_is_that_over_all_vectors(shards: Shards, vectors: NDArray[np.float32]) -> None:
    queries = np.random.default_rng(1).standard_normal((6, DIMENSION)).astype(np.float32)
    scores, rows = shards.search(queries, 25)
    exact = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    assert np.array_equal(rows, np.argsort(-exact, axis=1)[:, :25])
    assert np.allclose(scores, -np.sort(-exact, axis=1)[:, :25], atol=1e-5)


def test_rows_are_found_wherever_they_lie(shards: Shards, vectors: NDArray[np.float32]) -> None:
    rows = np.array([52, 0, 9, 10, 29, 30, 9, 51])
    assert np.array_equal(shards.vectors(rows), vectors[rows])
    assert shards.chunks(rows) == [chunk(int(row)) for row in rows]
    assert shards.chunks(rows[:0]) == []
