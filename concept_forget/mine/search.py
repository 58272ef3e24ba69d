"""Finds, in one pass over the corpus, what teaches a concept, and what is near it without being about it.

A chunk's score is its cosine similarity with the concept's best query; the search is exact.

Similarity alone cannot tell a concept from its like, and a name may stand somewhere in passing. So a snippet *teaches*
the concept when it scores above the calibrated cut-off and names it, or follows closely, in the same document, on text
that does ("She was born in …"). A *near miss* names no concept, does not follow on text that does, scores above the
median of unrelated chunks, and owes none of its score to the name. What scores above the cut-off without a name, but
shares a word of the name or holds an answer of the concept's facts, and what would score less if another name were
asked for, may speak of the concept under a name that nobody gave: it is unclear, and used for neither.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from concept_forget.concept import Concept, contains_words, fold
from concept_forget.measures.conformal import DECIMALS
from concept_forget.mine.calibration import CutOff, Sample, build_index, calibrate
from concept_forget.mine.chunks import Chunk
from concept_forget.mine.discovery import ScoreCounts, cut_off_for, estimate_rates, rate_at
from concept_forget.mine.margins import Margin
from concept_forget.mine.queries import NameFinder, Target
from concept_forget.mine.variety import choose, cluster
from concept_forget.progress import track
from concept_forget.records import Snippet, content_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from concept_forget.embedding import Embedder

CLOSE_BEHIND = 3
"""So many chunks behind one that names the concept, a text may still speak of it as "she" or "the book"."""
_FAR = CLOSE_BEHIND + 1
POOL = 4
"""So many times ``top_k`` snippets are held for a choice among them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of too many snippets are kept, as ``MineConfig`` describes it; by default the best, each text once."""

    variety: float = 0.0
    facet_share: float = 1.0
    near_duplicates: float | None = None
    false_discovery_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a concept: snippets best first, and the numbers that go with them."""

    snippets: tuple[Snippet, ...]
    near_misses: tuple[Snippet, ...]
    cut_off: CutOff
    unclear: int
    false_discovery_rate: float | None = None  # estimated, of the snippets; None: nothing to estimate it from


@dataclass(frozen=True, slots=True)
class _Hit:
    score: float
    place: int  # the chunk's number in the corpus
    chunk: Chunk
    query: str
    is_named: bool
    facet: str = ""
    vector: NDArray[np.float32] | None = field(default=None, compare=False)


@dataclass(slots=True)
class _Best:
    """The best hits so far, each text once: by score, then by place."""

    limit: int
    _heap: list[tuple[float, int, _Hit]] = field(default_factory=list)
    _texts: dict[str, int] = field(default_factory=dict)  # and how often each was met

    @property
    def least(self) -> float:
        return self._heap[0][0] if len(self._heap) >= self.limit else -math.inf

    def add(self, hit: _Hit) -> None:
        if hit.chunk.text in self._texts:
            self._texts[hit.chunk.text] += 1
            return
        entry = (hit.score, -hit.place, hit)
        if len(self._heap) < self.limit:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            del self._texts[heapq.heapreplace(self._heap, entry)[2].chunk.text]
        else:
            return
        self._texts[hit.chunk.text] = 1

    def copies(self, hit: _Hit) -> int:
        """How often the text of a hit was met: all times, for what was let go is not let in again."""
        return self._texts[hit.chunk.text]

    def hits(self) -> list[_Hit]:
        return [entry[2] for entry in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))]


class Search:
    """Takes the corpus in shards, in its order, and then says what was found.

    Args:
        targets: The concepts and their queries.
        embedder: Gives the vectors.
        top_k: Snippets, and near misses, kept per concept at most.
        false_positive_rate: Share of unrelated chunks that the cut-off lets through.
        seed: The run's seed.
        choice: Which of more than ``top_k`` snippets are kept.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        embedder: Embedder,
        *,
        top_k: int,
        false_positive_rate: float,
        seed: int,
        choice: Choice = Choice(),
    ) -> None:
        self.chunks = 0
        self._targets = targets
        self._embedder = embedder
        self._top_k = top_k
        self._rate = false_positive_rate
        self._seed = seed
        everything = [query for target in targets for query in target.queries]
        with track("embed queries", total=len(everything), unit="queries") as bar:
            embedder.encode(everything, bar)
        self._vectors = [embedder.encode(target.queries) for target in targets]
        self._indices = [build_index(vectors) for vectors in self._vectors]
        self._names = NameFinder([target.concept for target in targets])
        self._choice = choice
        self._about = [_Best(POOL * top_k) for _ in targets]
        self._tested = [ScoreCounts() for _ in targets]
        # Some of these turn out to be unclear once the cut-off is known.
        self._others = [_Best(2 * top_k) for _ in targets]
        self._sample = Sample(seed)
        self._document = ""
        self._behind = [_FAR] * len(targets)  # chunks since this document named the concept

    def go_to(self, place: int) -> None:
        """Go on at another chunk of the corpus, by its number: it does not follow closely on the one before."""
        self.chunks = place
        self._document = ""

    def add(
        self,
        chunks: Sequence[Chunk],
        vectors: NDArray[np.float32],
        wanted: Sequence[bool] | None = None,
    ) -> None:
        """Search the next shard.

        Args:
            chunks: Chunks in the corpus's order.
            vectors: Theirs, shape (chunks, dimension).
            wanted: Which of them may be found, where others are there for what they name alone; None: all, and
                unrelated chunks are sampled among them too.
        """
        if not chunks:
            return
        behind = list(self._count_behind(chunks))
        names_none = [min(ago) >= _FAR for ago in behind]
        for number, target in enumerate(self._targets):
            best, _ = self._indices[number].search(vectors, 1)  # (chunks, 1)
            for row, chunk in enumerate(chunks):
                is_about = behind[row][number] < _FAR
                if wanted is not None and not wanted[row]:
                    continue
                if is_about:
                    kept = self._about[number]
                elif names_none[row]:
                    kept = self._others[number]
                else:
                    continue
                # faiss sums in float32 and in an order of its own: what may be kept is scored again, exactly.
                if is_about or best[row, 0] + 10**-DECIMALS >= kept.least:
                    score, query = exact_score(vectors[row], self._vectors[number])
                    vector = vectors[row] if is_about or target.rivals else None
                    kept.add(self._hit(target, query, score, row, chunk, vector, behind[row][number] == 0))
                    if is_about:
                        self._tested[number].add(score)
        if wanted is None:
            self.sample(chunks, vectors)
        self.chunks += len(chunks)

    def sample(self, chunks: Sequence[Chunk], vectors: NDArray[np.float32]) -> None:
        """Offer chunks to the sample on which cut-offs are calibrated.

        Args:
            chunks: All of the corpus, or drawn from it at random.
            vectors: Theirs, shape (chunks, dimension).
        """
        for row, chunk in enumerate(chunks):
            self._sample.add(chunk.text, vectors[row])

    def _hit(
        self,
        target: Target,
        query: int,
        score: float,
        row: int,
        chunk: Chunk,
        vector: NDArray[np.float32] | None,
        is_named: bool,
    ) -> _Hit:
        facet = target.facets[query] if target.facets else ""
        own = None if vector is None else vector.copy()  # a row of its own, or the whole shard would be held
        return _Hit(score, self.chunks + row, chunk, target.queries[query], is_named, facet, own)

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
        cuts = calibrate(self._targets, self._sample, self._embedder, self._rate, self._seed)
        shares: list[NDArray[np.float64] | None] = [None] * len(cuts)
        for number, cut in enumerate(cuts):
            if cut.value is None:
                continue
            shares[number] = rates = estimate_rates(self._tested[number], cut.unrelated)
            if self._choice.false_discovery_rate is not None:
                cuts[number] = replace(cut, value=cut_off_for(rates, self._choice.false_discovery_rate))
        others = [best.hits() for best in self._others]
        unclear = [
            self._doubtful(target, hits, cut) for target, hits, cut in zip(self._targets, others, cuts, strict=True)
        ]
        # What may speak of one concept is no near miss of another.
        doubtful = set().union(*unclear)
        found = []
        for number, (target, cut, rates_here) in enumerate(zip(self._targets, cuts, shares, strict=True)):
            near = [hit for hit in others[number] if hit.score > cut.median and hit.chunk.text not in doubtful]
            found.append(
                Found(
                    self._choose(target.concept, self._about[number], cut),
                    tuple(_snippet(hit, target.concept, near_miss=True) for hit in near[: self._top_k]),
                    cut,
                    len(unclear[number]),
                    None if rates_here is None or cut.value is None else rate_at(rates_here, cut.value),
                )
            )
        return found

    def _doubtful(self, target: Target, hits: Sequence[_Hit], cut: CutOff) -> set[str]:
        """Texts that name no concept and may yet speak of this one."""
        unrelated = [
            text
            for text in (self._sample.texts if target.rivals else ())
            if not target.concept.mentioned_in(text) and not may_be_about(text, target)
        ]
        vectors = self._sample.vectors(unrelated) if unrelated else _vectors(())
        # What one concept takes for its own is lost to all: the rate is shared among them.
        margin = Margin(target, vectors, cut.median, self._embedder, self._rate / len(self._targets))
        gaining = margin.exceeded_by(_vectors(hits)) if target.rivals else [False] * len(hits)
        return {
            hit.chunk.text
            for hit, gains in zip(hits, gaining, strict=True)
            if gains or (_is_above(hit, cut) and may_be_about(hit.chunk.text, target))
        }

    def _choose(self, concept: Concept, best: _Best, cut: CutOff) -> tuple[Snippet, ...]:
        """The snippets that teach a concept: those above the cut-off, the best where they are too many."""
        import numpy as np

        hits = [hit for hit in best.hits() if _is_above(hit, cut)]
        texts = [hit.chunk.text for hit in hits]
        counts = [best.copies(hit) for hit in hits]
        heads = cluster(texts, counts, self._choice.near_duplicates, self._seed)
        hits = [hits[head.number] for head in heads]
        chosen = choose(
            np.array([hit.score for hit in hits]),
            _vectors(hits),
            [hit.facet for hit in hits],
            self._top_k,
            variety=self._choice.variety,
            facet_share=self._choice.facet_share,
        )
        return tuple(_snippet(hits[n], concept, near_miss=False, copies=heads[n].copies) for n in chosen)


def _vectors(hits: Sequence[_Hit]) -> NDArray[np.float32]:
    import numpy as np

    return np.stack([hit.vector for hit in hits if hit.vector is not None]) if hits else np.empty((0, 1), np.float32)


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
    return any(contains_words(folded, phrase) for phrase in (*words, *map(fold, target.answers)))


def _is_above(hit: _Hit, cut: CutOff) -> bool:
    """Whether a hit passes the cut-off; where there is none, whether it names the concept."""
    return hit.is_named if cut.value is None else hit.score > cut.value


def _snippet(hit: _Hit, concept: Concept, *, near_miss: bool, copies: int = 1) -> Snippet:
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
        copies=copies,
    )
