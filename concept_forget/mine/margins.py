"""What a concept's name adds to a text's score: nothing where the text, in the same words, has another subject.

A text scores for a query by its words and by its name. The same queries about others of the concept's kind show the
words alone; names of no kind at all would not, for a text about any person is nearer to a person's name. What scores
clearly higher for the concept than for them is taken to speak of it, under whatever name, and protects nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from concept_forget.measures.conformal import DECIMALS, conformal_quantile
from concept_forget.mine.queries import Target, rename

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from concept_forget.embedding import Embedder


class Margin:
    """Says of a text that does not name a concept whether the concept's name adds to its score all the same.

    Args:
        target: The concept, its queries, and others of its kind; none: nothing is ever above the margin.
        unrelated: Vectors of texts that have nothing to do with the concept, shape (texts, dimension). Those count that
            score more than the median of unrelated texts: the others are near nobody.
        median: That median.
        embedder: Gives the queries' vectors, those about others as well.
        rate: Share of unrelated texts that may be taken to speak of it, in (0, 1).
    """

    def __init__(
        self, target: Target, unrelated: NDArray[np.float32], median: float, embedder: Embedder, rate: float
    ) -> None:
        import numpy as np

        self.bound: float | None = None
        if not target.rivals or not len(unrelated):
            return
        self._queries = embedder.encode(target.queries)
        self._others = [embedder.encode([rename(q, target.concept, o) for q in target.queries]) for o in target.rivals]
        near = unrelated[(unrelated @ self._queries.T).max(axis=1) > median]
        if len(near):
            self.bound = conformal_quantile(np.sort(self.gains(near)), rate)

    def gains(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """How much more texts score for the concept's best query than, on average, for the best one about another.

        Args:
            vectors: Shape (texts, dimension).

        Returns:
            Shape (texts,), to ``DECIMALS`` places.
        """
        import numpy as np

        own = (vectors @ self._queries.T).max(axis=1)
        others = np.mean([(vectors @ queries.T).max(axis=1) for queries in self._others], axis=0)
        return np.asarray(np.round(own - others, DECIMALS), dtype=np.float32)

    def exceeded_by(self, vectors: NDArray[np.float32]) -> list[bool]:
        """Whether each text gains more than all but a share ``rate`` of unrelated ones do."""
        if self.bound is None or not len(vectors):
            return [False] * len(vectors)
        return [bool(gain > self.bound) for gain in self.gains(vectors)]
