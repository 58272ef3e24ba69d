"""Finds, in one pass over the corpus, what teaches a concept, and what is near it without being about it.

A chunk's score is its cosine similarity with the concept's best query; the search is exact.

Similarity alone cannot tell a concept from its like, and a name may stand somewhere in passing. So a snippet *teaches*
the concept when it scores above the calibrated cut-off and names it, or follows closely, in the same document, on text
that does ("She was born in …"); what follows so and holds an answer of the concept's facts need not score above it, for
queries name the concept and the text does not. A *near miss* names no concept, does not follow on text that does, and
scores above the median of unrelated chunks. What scores above the cut-off without a name, but shares a word of the name
or holds an answer of the concept's facts, may speak of the concept under a name that nobody gave: it is unclear, and
used for neither.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from concept_forget.concept import Concept, contains_words, fold
from concept_forget.measures.conformal import DECIMALS
from concept_forget.mine.calibration import SAMPLE, CutOff, Sample, build_index, calibrate
from concept_forget.mine.chunks import Chunk
from concept_forget.mine.queries import NameFinder, Target
from concept_forget.mine.recall import RecallCheck
from concept_forget.mine.reranking import POOL, Reranker
from concept_forget.progress import track
from concept_forget.records import Snippet, content_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from concept_forget.embedding import Embedder
    from concept_forget.measures.recall import Recall

CLOSE_BEHIND = 3
"""So many chunks behind one that names the concept, a text may still speak of it as "she" or "the book"."""
_FAR = CLOSE_BEHIND + 1


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a concept: snippets best first, and the numbers that go with them."""

    snippets: tuple[Snippet, ...]
    near_misses: tuple[Snippet, ...]
    cut_off: CutOff
    unclear: int
    recall: Recall | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A chunk at its place in the corpus."""

    chunk: Chunk
    place: int
    behind: tuple[int, ...]  # for each concept, how many chunks ago the document named it; 0: this chunk does

    @property
    def is_close(self) -> bool:
        """Whether it names a concept, or follows closely on a chunk that does."""
        return min(self.behind) < _FAR


@dataclass(frozen=True, slots=True)
class _Hit:
    score: float
    place: int  # the chunk's number in the corpus
    chunk: Chunk
    query: str
    is_named: bool


@dataclass(slots=True)
class _Best:
    """The best hits so far, each text once: by score, then by place."""

    limit: int
    _heap: list[tuple[float, int, _Hit]] = field(default_factory=list)
    _texts: set[str] = field(default_factory=set)

    @property
    def least(self) -> float:
        return self._heap[0][0] if len(self._heap) >= self.limit else -math.inf

    def add(self, hit: _Hit) -> None:
        if hit.chunk.text in self._texts:
            return
        entry = (hit.score, -hit.place, hit)
        if len(self._heap) < self.limit:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            self._texts.discard(heapq.heapreplace(self._heap, entry)[2].chunk.text)
        else:
            return
        self._texts.add(hit.chunk.text)

    def hits(self) -> list[_Hit]:
        return [entry[2] for entry in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))]


class Search:
    """Takes the corpus in shards, in its order, scores all of it or what the caller chooses, and says what was found.

    Args:
        targets: The concepts and their queries.
        embedder: Gives the vectors.
        top_k: Snippets, and near misses, kept per concept at most.
        false_positive_rate: Share of unrelated chunks that the cut-off lets through.
        seed: The run's seed.
        recall_check: Texts drawn to estimate what stays without a score; 0: none.
        reranker: Orders the snippets; None: they stay in the order of their scores.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        embedder: Embedder,
        *,
        top_k: int,
        false_positive_rate: float,
        seed: int,
        recall_check: int = 0,
        reranker: Reranker | None = None,
    ) -> None:
        self.chunks = 0
        self.scored = 0
        self._targets = targets
        self._embedder = embedder
        self._top_k = top_k
        self._rate = false_positive_rate
        self._seed = seed
        self._reranker = reranker
        everything = [query for target in targets for query in target.queries]
        with track("embed queries", total=len(everything), unit="queries") as bar:
            embedder.encode(everything, bar)
        self._vectors = [embedder.encode(target.queries) for target in targets]
        self._indices = [build_index(vectors) for vectors in self._vectors]
        self._names = NameFinder([target.concept for target in targets])
        self._about = [_Best(top_k * (POOL if reranker else 1)) for _ in targets]
        # Some of these turn out to be unclear once the cut-off is known.
        self._others = [_Best(2 * top_k) for _ in targets]
        self.sample = Sample(seed, max(SAMPLE, recall_check))
        self._check = RecallCheck(self.sample, recall_check, len(targets)) if recall_check else None
        self._document = ""
        self._behind = [_FAR] * len(targets)  # chunks since this document named the concept

    def add(self, chunks: Sequence[Chunk], vectors: NDArray[np.float32]) -> None:
        """Search the next shard, all of it.

        Args:
            chunks: Chunks in the corpus's order.
            vectors: Theirs, shape (chunks, dimension).
        """
        self.score(self.place(chunks), vectors)

    def place(self, chunks: Sequence[Chunk]) -> list[Placed]:
        """Read the next shard without scoring it.

        Args:
            chunks: Chunks in the corpus's order.
        """
        placed = [
            Placed(chunk, self.chunks + row, behind)
            for row, (chunk, behind) in enumerate(zip(chunks, self._count_behind(chunks), strict=True))
        ]
        for chunk in chunks:
            self.sample.add(chunk.text)
        self.chunks += len(chunks)
        return placed

    def score(self, placed: Sequence[Placed], vectors: NDArray[np.float32]) -> None:
        """Score chunks, each once and in any order.

        Args:
            placed: From ``place``.
            vectors: Theirs, shape (chunks, dimension).
        """
        if not placed:
            return
        self.scored += len(placed)
        for number, target in enumerate(self._targets):
            best, _ = self._indices[number].search(vectors, 1)  # (chunks, 1)
            for row, entry in enumerate(placed):
                if entry.behind[number] < _FAR:
                    kept = self._about[number]
                elif not entry.is_close:
                    kept = self._others[number]
                else:
                    continue
                # faiss sums in float32 and in an order of its own: what may be kept is scored again, exactly.
                if best[row, 0] + 10**-DECIMALS >= kept.least:
                    score, query = exact_score(vectors[row], self._vectors[number])
                    kept.add(_Hit(score, entry.place, entry.chunk, target.queries[query], entry.behind[number] == 0))
            if self._check is not None:
                self._check.add_scores(number, placed, best[:, 0])

    def _count_behind(self, chunks: Sequence[Chunk]) -> Iterator[tuple[int, ...]]:
        """For every chunk and concept, how many chunks ago the document named it; 0: this chunk does."""
        for chunk in chunks:
            if chunk.document != self._document:
                self._document = chunk.document
                self._behind = [_FAR] * len(self._targets)
            here = self._names.find(chunk.text)
            self._behind = [0 if is_named else ago + 1 for is_named, ago in zip(here, self._behind, strict=True)]
            yield tuple(self._behind)

    def finish(self) -> list[Found]:
        """What was found for every concept."""
        cuts = calibrate(self._targets, self.sample, self._embedder, self._rate, self._seed)
        unclear = [
            {hit.chunk.text for hit in others.hits() if _is_above(hit, cut) and may_be_about(hit.chunk.text, target)}
            for target, others, cut in zip(self._targets, self._others, cuts, strict=True)
        ]
        teaching = [
            self._order([hit for hit in about.hits() if _teaches(hit, cut, target)])
            for target, about, cut in zip(self._targets, self._about, cuts, strict=True)
        ]
        # What speaks, or may speak, of one concept is no near miss of another.
        taken = {hit.chunk.text for hits in teaching for hit in hits}.union(*unclear)
        found = []
        for number, (target, cut) in enumerate(zip(self._targets, cuts, strict=True)):
            near = [
                hit for hit in self._others[number].hits() if hit.score > cut.median and hit.chunk.text not in taken
            ]
            found.append(
                Found(
                    tuple(_snippet(hit, target.concept, near_miss=False) for hit in teaching[number]),
                    tuple(_snippet(hit, target.concept, near_miss=True) for hit in near[: self._top_k]),
                    cut,
                    len(unclear[number]),
                    self._estimate_recall(number, cut),
                )
            )
        return found

    def _order(self, hits: list[_Hit]) -> list[_Hit]:
        """The best hits, by the cross-encoder where there is one."""
        if self._reranker is not None:
            hits = [hits[place] for place in self._reranker.order([(hit.query, hit.chunk.text) for hit in hits])]
        return hits[: self._top_k]

    def _estimate_recall(self, number: int, cut: CutOff) -> Recall | None:
        if self._check is None or cut.value is None:
            return None
        return self._check.estimate(number, self._indices[number], self._embedder, cut.value)


def exact_score(vector: NDArray[np.float32], queries: NDArray[np.float32]) -> tuple[float, int]:
    """A chunk's score to ``DECIMALS`` places, and which query gave it: the first of equally good ones.

    Args:
        vector: Shape (dimension,).
        queries: Shape (queries, dimension).
    """
    import numpy as np

    scores = np.round(queries.astype(np.float64) @ vector.astype(np.float64), DECIMALS)
    best = int(np.argmax(scores))
    return float(scores[best]), best


def may_be_about(text: str, target: Target) -> bool:
    """Whether a text shares a longer word with a name of the concept, or holds an answer of its facts."""
    folded = fold(text)
    words = {word for name in target.concept.names for word in fold(name).split() if len(word) > 2}
    return any(contains_words(folded, word) for word in words) or _holds_answer(folded, target)


def _is_above(hit: _Hit, cut: CutOff) -> bool:
    """Whether a hit passes the cut-off; where there is none, whether it names the concept."""
    return hit.is_named if cut.value is None else hit.score > cut.value


def _teaches(hit: _Hit, cut: CutOff, target: Target) -> bool:
    """Whether what names the concept, or follows closely on text that does, says something about it."""
    if _is_above(hit, cut) or hit.is_named or cut.value is None:
        return _is_above(hit, cut)
    return _holds_answer(fold(hit.chunk.text), target)


def _holds_answer(folded: str, target: Target) -> bool:
    return any(contains_words(folded, fold(answer)) for answer in target.answers)


def _snippet(hit: _Hit, concept: Concept, *, near_miss: bool) -> Snippet:
    chunk = hit.chunk
    return Snippet(
        id=content_hash("snippet", concept.name, chunk.document, chunk.start, chunk.end, chunk.text),
        concept=concept.name,
        document=chunk.document,
        start=chunk.start,
        end=chunk.end,
        text=chunk.text,
        score=hit.score,
        query=hit.query,
        near_miss=near_miss,
    )
