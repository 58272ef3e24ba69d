"""Which chunks that name nothing the encoder should read: words and static embeddings propose them, over the corpus.

A static vector says what a text's words mean each alone. What they come to together in this corpus is learned from the
sample on which the cut-off is calibrated anyway: a linear map from static vectors to the encoder's own. What is held
is bounded: the first shards, from which the sample is drawn, and the best chunks by either score for each concept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from concept_forget.measures.conformal import DECIMALS
from concept_forget.mine.calibration import SAMPLE, Sample
from concept_forget.mine.fusion import Leading, fuse_rankings
from concept_forget.mine.hits import Placed
from concept_forget.mine.lexical import LexicalScorer
from concept_forget.mine.queries import Target
from concept_forget.mine.static import StaticEncoder
from concept_forget.progress import track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from concept_forget.embedding import Embedder

HELD = 8
"""Shards that are held until the map is fitted: the corpus is taken to go on as it begins."""
RIDGE = 0.01
"""Of the mean square of a feature, added to each."""


class Cascade:
    """Takes shards of chunks that have no score yet, and then says which of them should have one.

    Args:
        targets: The concepts and their queries.
        static: Tokens and static vectors.
        embedder: Gives the encoder's vectors of queries and sample.
        sample: The sample of the corpus as far as it was read.
        proposals: Chunks proposed per concept.
    """

    def __init__(
        self, targets: Sequence[Target], static: StaticEncoder, embedder: Embedder, sample: Sample, proposals: int
    ) -> None:
        self._static = static
        self._embedder = embedder
        self._sample = sample
        self._proposals = proposals
        self._queries = [embedder.encode(target.queries) for target in targets]
        self._lexical = [LexicalScorer(static.tokenize(target.queries), static.vocabulary_size) for target in targets]
        self._by_words: list[Leading[Placed]] = [Leading(proposals) for _ in targets]
        self._by_meaning: list[Leading[Placed]] = [Leading(proposals) for _ in targets]
        self._held: list[Sequence[Placed]] = []
        self._map: NDArray[np.float32] | None = None

    def add(self, placed: Sequence[Placed]) -> None:
        """Look at a shard's chunks."""
        if not placed:
            return
        if self._map is None:
            self._held.append(placed)
            if len(self._held) == HELD:
                self._catch_up()
        else:
            self._rank(placed, self._map)

    def propose(self) -> list[Placed]:
        """The chunks that either way of looking ranks high, each once, in the corpus's order."""
        if self._held:
            self._catch_up()
        proposed: dict[int, Placed] = {}
        for words, meaning in zip(self._by_words, self._by_meaning, strict=True):
            ranked = [words.items(), meaning.items()]
            known = {entry.place: entry for entries in ranked for entry in entries}
            fused = fuse_rankings([[entry.place for entry in entries] for entries in ranked])
            proposed.update((place, known[place]) for place in fused[: self._proposals])
        return [proposed[place] for place in sorted(proposed)]

    def _catch_up(self) -> None:
        """Fit the map, and rank what was held until then."""
        texts = self._sample.texts(SAMPLE)
        with track("fit static embeddings", total=len(texts), unit="chunks") as bar:
            self._sample.fill(self._embedder, bar)
        self._map = fit_map(self._static.encode(self._static.tokenize(texts)), self._sample.vectors(texts))
        for placed in self._held:
            self._rank(placed, self._map)
        self._held.clear()

    def _rank(self, placed: Sequence[Placed], fitted: NDArray[np.float32]) -> None:
        tokens = self._static.tokenize([entry.chunk.text for entry in placed])
        vectors = apply_map(fitted, self._static.encode(tokens))
        for number, queries in enumerate(self._queries):
            _keep(self._by_meaning[number], placed, (vectors @ queries.T).max(axis=1))
            _keep(self._by_words[number], placed, self._lexical[number].score(tokens))


def fit_map(static: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The linear map, with a constant, from static vectors to the encoder's: ridge regression.

    Args:
        static: Shape (texts, static dimension).
        vectors: The encoder's, of the same texts, shape (texts, dimension).

    Returns:
        Shape (static dimension + 1, dimension); the last row is the constant.
    """
    import numpy as np

    features = _with_constant(static).astype(np.float64)
    products = features.T @ features
    products += RIDGE * np.trace(products) / len(products) * np.eye(len(products))
    fitted: NDArray[np.float32] = np.linalg.solve(products, features.T @ vectors).astype(np.float32)
    return fitted


def apply_map(fitted: NDArray[np.float32], static: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the encoder's vectors would be, of length one.

    Args:
        fitted: From ``fit_map``.
        static: Shape (texts, static dimension).

    Returns:
        Shape (texts, dimension).
    """
    import numpy as np

    mapped: NDArray[np.float32] = _with_constant(static) @ fitted
    mapped /= np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return mapped


def _with_constant(static: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    return np.concatenate([static, np.ones((len(static), 1), dtype=np.float32)], axis=1)


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
