"""Mines from an index: from a flat one just as from the corpus itself, from an IVF-PQ one what it proposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from concept_forget.mine.hits import CLOSE_BEHIND
from concept_forget.mine.indexes import CorpusIndex
from concept_forget.mine.queries import Target
from concept_forget.mine.search import Search
from concept_forget.mine.shards import BLOCK
from concept_forget.progress import track
from concept_forget.records import named_seed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from concept_forget.embedding import Embedder

PER_QUERY = 2
"""So many times ``top_k`` chunks are looked up per query."""
SAMPLED = 4096
"""Chunks drawn from which those are taken on which cut-offs are calibrated."""


def search_index(
    index: CorpusIndex, search: Search, targets: Sequence[Target], embedder: Embedder, top_k: int, seed: int
) -> None:
    """Give a search what an index holds.

    From a flat index all chunks, with their vectors. From an IVF-PQ index the nearest chunks to each query, behind each
    of these the chunks that stand before it, which may name of whom it speaks, and a random sample for the cut-off.

    Args:
        index: The open index; its encoder and corpus are checked.
        search: Takes the chunks.
        targets: Whose queries are looked up.
        embedder: Gives the queries' vectors.
        top_k: Snippets kept per concept.
        seed: The run's seed.
    """
    with track("mine", total=len(index.shards), unit="chunks") as bar:
        if index.manifest.kind == "flat":
            for chunks, vectors in index.shards.blocks():
                search.add(chunks, vectors)
                bar.advance(len(chunks))
            return
        _search_proposed(index, search, targets, embedder, top_k)
        rows = _draw(len(index.shards), seed)
        search.sample(index.shards.chunks(rows), index.shards.vectors(rows))
        search.go_to(len(index.shards))


def _search_proposed(
    index: CorpusIndex, search: Search, targets: Sequence[Target], embedder: Embedder, top_k: int
) -> None:
    import numpy as np

    found = [index.search(embedder.encode(target.queries), PER_QUERY * top_k)[1].ravel() for target in targets]
    wanted = np.unique(np.concatenate(found))
    wanted = wanted[wanted >= 0]
    rows = np.unique(np.clip(wanted[:, None] - np.arange(CLOSE_BEHIND + 1), 0, None))
    is_wanted = np.isin(rows, wanted)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        chunks, vectors = index.shards.chunks(part), index.shards.vectors(part)
        # Runs of rows that follow one another; a run may go on from the block before.
        breaks = np.flatnonzero(np.diff(part) != 1) + 1
        for first, last in zip([0, *breaks.tolist()], [*breaks.tolist(), len(part)], strict=True):
            if int(part[first]) != search.chunks:
                search.go_to(int(part[first]))
            run = slice(first, last)
            search.add(chunks[run], vectors[run], is_wanted[start:][run].tolist())


def _draw(count: int, seed: int) -> NDArray[np.int64]:
    import numpy as np

    rng = np.random.default_rng(named_seed(seed, "mine", "sample of an index"))
    return np.sort(rng.choice(count, size=min(count, SAMPLED), replace=False))
