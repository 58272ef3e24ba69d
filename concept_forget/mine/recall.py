"""What a search that scores a part of the corpus leaves out: the texts of a random sample that it did not score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from concept_forget.measures.conformal import DECIMALS
from concept_forget.mine.calibration import Sample
from concept_forget.mine.fusion import Leading
from concept_forget.progress import track
from concept_forget.records import content_hash

if TYPE_CHECKING:
    import faiss
    import numpy as np
    from numpy.typing import NDArray

    from concept_forget.embedding import Embedder
    from concept_forget.measures.recall import Recall
    from concept_forget.mine.hits import Placed

KNOWN = 20_000
"""Different texts whose scores are held per concept, the best ones. More that pass count for nothing, which can only
make the estimate lower."""


class RecallCheck:
    """Counts what passes among scored texts, and estimates what would have passed among the others.

    Args:
        sample: The sample of the corpus, which is told what is scored.
        size: Texts of it that are looked at.
        concepts: How many concepts there are.
    """

    def __init__(self, sample: Sample, size: int, concepts: int) -> None:
        self._sample = sample
        self._size = size
        self._passing: list[Leading[float]] = [Leading(KNOWN) for _ in range(concepts)]

    def add_scores(self, concept: int, placed: Sequence[Placed], scores: NDArray[np.float32]) -> None:
        """Take the scores of chunks.

        Args:
            concept: The concept's number.
            placed: The chunks.
            scores: Theirs, shape (chunks,).
        """
        passing = self._passing[concept]
        for entry, score in zip(placed, scores.tolist(), strict=True):
            self._sample.mark_scored(entry.chunk.text)
            if score > passing.least:
                passing.add(score, entry.place, content_hash(entry.chunk.text), round(score, DECIMALS))

    def estimate(self, concept: int, queries: faiss.IndexFlatIP, embedder: Embedder, cut_off: float) -> Recall | None:
        """Recall of all different texts of the corpus that score above the cut-off.

        Args:
            concept: The concept's number.
            queries: The index of its queries.
            embedder: Gives the vectors of the sample's rejected texts.
            cut_off: What a text must score above.
        """
        import numpy as np

        from concept_forget.measures.recall import estimate_recall

        sampled = self._sample.texts(self._size)
        rejected = [text for text in sampled if not self._sample.was_scored(text)]
        missed = 0
        if rejected:
            with track("check recall", total=len(rejected), unit="chunks") as bar:
                best, _ = queries.search(embedder.encode(rejected, bar), 1)
            missed = int((np.round(best[:, 0], DECIMALS) > cut_off).sum())
        found = sum(score > cut_off for score in self._passing[concept].items())
        kept = self._sample.size
        return estimate_recall(
            found, len(sampled), len(rejected), missed, kept, self._sample.largest, is_whole=self._sample.is_whole
        )
