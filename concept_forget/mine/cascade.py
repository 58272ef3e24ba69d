"""Which chunks that name nothing the encoder should read: words and static embeddings propose them, over the corpus.

What is held is bounded: the best chunks so far by either score, for each concept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from concept_forget.measures.conformal import DECIMALS
from concept_forget.mine.fusion import Leading, fuse_rankings
from concept_forget.mine.lexical import LexicalScorer
from concept_forget.mine.queries import Target
from concept_forget.mine.search import Placed
from concept_forget.mine.static import StaticEncoder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Cascade:
    """Takes shards of chunks that have no score yet, and then says which of them should have one.

    Args:
        targets: The concepts and their queries.
        static: Tokens and static vectors.
        proposals: Chunks proposed per concept.
    """

    def __init__(self, targets: Sequence[Target], static: StaticEncoder, proposals: int) -> None:
        self._static = static
        self._proposals = proposals
        tokens = [static.tokenize(target.queries) for target in targets]
        self._queries = [static.encode(queries) for queries in tokens]
        self._lexical = [LexicalScorer(queries, static.vocabulary_size) for queries in tokens]
        self._by_words: list[Leading[Placed]] = [Leading(proposals) for _ in targets]
        self._by_meaning: list[Leading[Placed]] = [Leading(proposals) for _ in targets]

    def add(self, placed: Sequence[Placed]) -> None:
        """Look at a shard's chunks."""
        if not placed:
            return
        tokens = self._static.tokenize([entry.chunk.text for entry in placed])
        vectors = self._static.encode(tokens)
        for number, queries in enumerate(self._queries):
            _keep(self._by_meaning[number], placed, (vectors @ queries.T).max(axis=1))
            _keep(self._by_words[number], placed, self._lexical[number].score(tokens))

    def propose(self) -> list[Placed]:
        """The chunks that either way of looking ranks high, each once, in the corpus's order."""
        proposed: dict[int, Placed] = {}
        for words, meaning in zip(self._by_words, self._by_meaning, strict=True):
            ranked = [words.items(), meaning.items()]
            known = {entry.place: entry for entries in ranked for entry in entries}
            fused = fuse_rankings([[entry.place for entry in entries] for entries in ranked])
            proposed.update((place, known[place]) for place in fused[: self._proposals])
        return [proposed[place] for place in sorted(proposed)]


def _keep(leading: Leading[Placed], placed: Sequence[Placed], scores: NDArray[np.float32]) -> None:
    """Offer the chunks that may be among the best.

    Args:
        leading: The best so far.
        placed: The chunks.
        scores: Theirs, shape (chunks,).
    """
    import numpy as np

    scores = np.round(scores, DECIMALS)  # what a batch's company changes lies further down
    for row in np.flatnonzero(scores > max(0.0, leading.least)):
        entry = placed[row]
        leading.add(float(scores[row]), entry.place, entry.chunk.text, entry)
