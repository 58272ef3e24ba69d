"""Chunks and their exact vectors on disk, in shards of which one is held at a time, however large the corpus is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from concept_forget.mine.chunks import Chunk

if TYPE_CHECKING:
    import faiss
    import numpy as np
    import pyarrow
    from numpy.typing import NDArray

ROWS = 65_536
"""Chunks in a shard."""
BLOCK = 4096
"""Chunks read at once."""
FLAT = "Flat"


def vectors_file(number: int) -> str:
    """The name of a shard's file of vectors, a flat faiss index."""
    return f"flat-{number:05}.faiss"


def chunks_file(number: int) -> str:
    """The name of a shard's file of chunks, in Arrow's format."""
    return f"chunks-{number:05}.arrow"


class ShardWriter:
    """Takes chunks with their vectors, in the corpus's order, and writes a shard whenever one is full.

    Args:
        folder: Where they go.
        dimension: Of the vectors.
        rows: Chunks in a shard.
    """

    def __init__(self, folder: Path, dimension: int, rows: int = ROWS) -> None:
        self.sizes: list[int] = []
        self._folder = folder
        self._dimension = dimension
        self._rows = rows
        self._chunks: list[Chunk] = []
        self._vectors: list[NDArray[np.float32]] = []

    def add(self, chunks: Sequence[Chunk], vectors: NDArray[np.float32]) -> None:
        """Take chunks; their vectors have length one, shape (chunks, dimension)."""
        start = 0
        while start < len(chunks):
            end = min(len(chunks), start + self._rows - len(self._chunks))
            self._chunks += chunks[start:end]
            self._vectors.append(vectors[start:end])
            start = end
            if len(self._chunks) == self._rows:
                self._write()

    def finish(self) -> list[int]:
        """Write what is left, and say how many chunks each shard has."""
        if self._chunks:
            self._write()
        return self.sizes

    def _write(self) -> None:
        import faiss
        import numpy as np
        import pyarrow

        index = faiss.index_factory(self._dimension, FLAT, faiss.METRIC_INNER_PRODUCT)
        index.add(np.concatenate(self._vectors))
        number = len(self.sizes)
        faiss.write_index(index, str(self._folder / vectors_file(number)))
        table = pyarrow.table(
            {
                "document": [chunk.document for chunk in self._chunks],
                "start": [chunk.start for chunk in self._chunks],
                "end": [chunk.end for chunk in self._chunks],
                "text": [chunk.text for chunk in self._chunks],
            }
        )
        with pyarrow.ipc.new_file(self._folder / chunks_file(number), table.schema) as file:
            file.write_table(table)
        self.sizes.append(len(self._chunks))
        self._chunks, self._vectors = [], []


class Shards:
    """Reads shards, mapped into memory one at a time; a chunk's number is its row, counted over all of them from 0.

    Args:
        folder: Where they are.
        sizes: How many chunks each has.
        dimension: Of the vectors.
    """

    def __init__(self, folder: Path, sizes: Sequence[int], dimension: int) -> None:
        self.dimension = dimension
        self._folder = folder
        self._sizes = sizes
        self._open: dict[int, faiss.Index] = {}

    def __len__(self) -> int:
        return sum(self._sizes)

    def blocks(self) -> Iterator[tuple[list[Chunk], NDArray[np.float32]]]:
        """All chunks in order with their vectors, ``BLOCK`` at a time."""
        for number, size in enumerate(self._sizes):
            index, table = self._vectors(number), self._table(number)
            for start in range(0, size, BLOCK):
                count = min(BLOCK, size - start)
                yield _chunks(table.slice(start, count)), index.reconstruct_n(start, count)

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The nearest chunks, exactly: shard by shard, with the best so far kept.

        Args:
            queries: Of length one, shape (queries, dimension).
            k: Chunks per query, at most as many as there are.

        Returns:
            Cosines, best first, and rows, each of shape (queries, k).
        """
        import faiss

        best = faiss.ResultHeap(len(queries), k, keep_max=True)
        first = 0
        for number, size in enumerate(self._sizes):
            scores, rows = self._vectors(number).search(queries, k)  # a small one has too few
            best.add_result(scores, rows + first)
            first += size
        best.finalize()
        return best.D, best.I

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of some chunks, shape (rows, dimension); the shards they lie in stay mapped."""
        import numpy as np

        found = np.empty((len(rows), self.dimension), dtype=np.float32)
        for number, own, places in self._by_shard(rows):
            if number not in self._open:
                self._open[number] = self._vectors(number)
            found[places] = self._open[number].reconstruct_batch(own)
        return found

    def chunks(self, rows: NDArray[np.int64]) -> list[Chunk]:
        """Some chunks, in the order of the rows that are asked for."""
        found: dict[int, Chunk] = {}
        for number, own, places in self._by_shard(rows):
            found.update(zip(places.tolist(), _chunks(self._table(number).take(own)), strict=True))
        return [found[place] for place in range(len(rows))]

    def _by_shard(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Of every shard that holds some of the rows: its number, the rows within it, and their places in ``rows``."""
        import numpy as np

        ends = np.cumsum(self._sizes)
        numbers = np.searchsorted(ends, rows, side="right")
        for number in np.unique(numbers).tolist():
            places = np.flatnonzero(numbers == number)
            yield number, rows[places] - (ends[number] - self._sizes[number]), places

    def _vectors(self, number: int) -> faiss.Index:
        import faiss

        return faiss.read_index(str(self._folder / vectors_file(number)), faiss.IO_FLAG_MMAP_IFC)

    def _table(self, number: int) -> pyarrow.Table:
        import pyarrow

        return pyarrow.ipc.open_file(pyarrow.memory_map(str(self._folder / chunks_file(number)))).read_all()


def _chunks(table: pyarrow.Table) -> list[Chunk]:
    columns = (table.column(name).to_pylist() for name in ("document", "start", "end", "text"))
    return [Chunk(*values) for values in zip(*columns, strict=True)]
