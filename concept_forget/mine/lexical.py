"""How much of a query's words a chunk holds: BM25 over one shard of the corpus at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_OTHER = 0  # the place of all tokens that no query has: they count for a chunk's length alone


class LexicalScorer:
    """Scores chunks by the query whose words they hold most of.

    A chunk's score for a query is its BM25 score, in Lucene's form, over the sum of the idf of the query's tokens: the
    share of the query's weight that the chunk holds, below 1. Queries of different length, and shards with different
    statistics, are comparable in this way. Frequencies and mean length are those of the shard.

    Source: Robertson & Zaragoza 2009, "The probabilistic relevance framework: BM25 and beyond".

    Args:
        queries: Tokens of each query.
        vocabulary_size: Tokens that there are; all are smaller.
    """

    def __init__(self, queries: Sequence[Sequence[int]], vocabulary_size: int) -> None:
        import numpy as np

        used = sorted({token for query in queries for token in query})
        self._place = np.full(vocabulary_size, _OTHER, dtype=np.int64)
        self._place[used] = np.arange(1, len(used) + 1)
        self._count = len(used) + 1
        self._queries = [sorted({int(self._place[token]) for token in query}) for query in queries]

    def score(self, chunks: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The score of each chunk for its best query.

        Args:
            chunks: Tokens of each chunk of a shard, at least one chunk.

        Returns:
            Shape (chunks,), in [0, 1).
        """
        import bm25s
        import numpy as np

        placed = [self._place[list(chunk)].tolist() for chunk in chunks]
        best = np.zeros(len(placed), dtype=np.float32)
        if not any(placed):
            return best
        index = bm25s.BM25(method="lucene")
        index.index(
            (placed, {place: place for place in range(self._count)}), create_empty_token=False, show_progress=False
        )
        weights = self._weights(placed)
        for query in self._queries:
            if query:
                np.maximum(best, index.get_scores_from_ids(query) / weights[query].sum(), out=best)
        return best

    def _weights(self, chunks: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """The idf of every place, as Lucene has it: ln(1 + (n - df + ½) / (df + ½))."""
        import numpy as np

        frequencies = np.zeros(self._count)
        for chunk in chunks:
            frequencies[list(set(chunk))] += 1
        return np.log1p((len(chunks) - frequencies + 0.5) / (frequencies + 0.5))
