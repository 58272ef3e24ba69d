"""Finds, in one pass over the corpus, what teaches a concept, and what is near it without being about it.

A chunk's score is its cosine similarity with the concept's best query; the search is exact.

Similarity alone cannot tell a concept from its like, and a name may stand somewhere in passing. So a snippet *teaches*
the concept when it scores above the calibrated cut-off and names it, or follows closely, in the same document, on text
that does ("She was born in …"); what follows so and holds an answer of the concept's facts need not score above it, for
queries name the concept and the text does not. A *near miss* names no concept, does not follow on text that does,
scores above the median of unrelated chunks, and owes none of its score to the name. What scores above the cut-off
without a name, but shares a word of the name or holds an answer of the concept's facts, and what would score less if
another name were asked for, may speak of the concept under a name that nobody gave: it is unclear, and used for
neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from concept_forget.concept import contains_words, fold
from concept_forget.measures.conformal import DECIMALS
from concept_forget.mine.calibration import SAMPLE, CutOff, Sample, build_index, calibrate
from concept_forget.mine.chunks import Chunk
from concept_forget.mine.discovery import ScoreCounts, cut_off_for, estimate_rates, rate_at
from concept_forget.mine.fusion import Leading
from concept_forget.mine.hits import FAR, Hit, Placed, make_snippet, vectors_of
from concept_forget.mine.margins import Margin
from concept_forget.mine.queries import NameFinder, Target
from concept_forget.mine.recall import RecallCheck
from concept_forget.mine.reranking import Reranker
from concept_forget.mine.variety import choose, cluster
from concept_forget.progress import track
from concept_forget.records import Snippet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from concept_forget.embedding import Embedder
    from concept_forget.measures.recall import Recall

POOL = 4
"""So many times ``top_k`` snippets are held for a choice among them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of too many snippets are kept, as ``MineConfig`` describes it; by default the best, each text once."""

    variety: float = 0.0
    facet_share: float = 1.0
    near_duplicates: float | None = None
    false_discovery_rate: float | None = None
    reranker: Reranker | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a concept: snippets best first, and the numbers that go with them."""

    snippets: tuple[Snippet, ...]
    near_misses: tuple[Snippet, ...]
    cut_off: CutOff
    unclear: int
    false_discovery_rate: float | None = None  # estimated, of the snippets; None: nothing to estimate it from
    recall: Recall | None = None  # of all that scores above the cut-off; None: nobody asked for it, or everything is


class Search:
    """Takes the corpus in shards, in its order, scores all of it or what the caller chooses, and says what was found.

    Args:
        targets: The concepts and their queries.
        embedder: Gives the vectors.
        top_k: Snippets, and near misses, kept per concept at most.
        false_positive_rate: Share of unrelated chunks that the cut-off lets through.
        seed: The run's seed.
        choice: Which of more than ``top_k`` snippets are kept.
        recall_check: Texts drawn to estimate what stays without a score; 0: none.
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
        recall_check: int = 0,
    ) -> None:
        self.chunks = 0
        self.scored = 0
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
        self._about = [_best(POOL * top_k) for _ in targets]
        self._tested = [ScoreCounts() for _ in targets]
        # Some of these turn out to be unclear once the cut-off is known.
        self._others = [_best(2 * top_k) for _ in targets]
        self.drawn = Sample(seed, max(SAMPLE, recall_check))
        self._check = RecallCheck(self.drawn, recall_check, len(targets)) if recall_check else None
        self._document = ""
        self._behind = [FAR] * len(targets)  # chunks since this document named the concept

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
        placed = self._place(chunks)
        if wanted is None:
            self.sample(chunks, vectors)
            self.score(placed, vectors)
            return
        rows = [row for row, is_wanted in enumerate(wanted) if is_wanted]
        self.score([placed[row] for row in rows], vectors[rows])

    def place(self, chunks: Sequence[Chunk]) -> list[Placed]:
        """Read the next shard without scoring it; unrelated chunks are sampled among all of them.

        Args:
            chunks: Chunks in the corpus's order.
        """
        for chunk in chunks:
            self.drawn.add(chunk.text)
        return self._place(chunks)

    def sample(self, chunks: Sequence[Chunk], vectors: NDArray[np.float32]) -> None:
        """Offer chunks to the sample on which cut-offs are calibrated.

        Args:
            chunks: All of the corpus, or drawn from it at random.
            vectors: Theirs, shape (chunks, dimension).
        """
        for row, chunk in enumerate(chunks):
            self.drawn.add(chunk.text, vectors[row])

    def score(self, placed: Sequence[Placed], vectors: NDArray[np.float32]) -> None:
        """Score chunks, each once; of equally good ones the first in the corpus counts, whatever order they come in.

        Args:
            placed: From ``place``.
            vectors: Theirs, shape (chunks, dimension).
        """
        if not placed:
            return
        self.scored += len(placed)
        for number, target in enumerate(self._targets):
            best, _ = self._indices[number].search(vectors, 1)  # (chunks, 1)
            if self._check is not None:
                self._check.add_scores(number, placed, best[:, 0])
            for row, entry in enumerate(placed):
                is_about = entry.behind[number] < FAR
                if not is_about and entry.is_close:
                    continue
                kept = self._about[number] if is_about else self._others[number]
                # faiss sums in float32 and in an order of its own: what may be kept is scored again, exactly.
                if is_about or best[row, 0] + 10**-DECIMALS >= kept.least:
                    score, query = exact_score(vectors[row], self._vectors[number])
                    facet = target.facets[query] if target.facets else ""
                    is_named = entry.behind[number] == 0
                    # A row of its own, or the whole shard would be held.
                    vector = vectors[row].copy() if is_about or target.rivals else None
                    hit = Hit(score, entry.place, entry.chunk, target.queries[query], is_named, facet, vector)
                    kept.add(score, entry.place, entry.chunk.text, hit)
                    if is_about:
                        self._tested[number].add(score)

    def _place(self, chunks: Sequence[Chunk]) -> list[Placed]:
        placed = [
            Placed(chunk, self.chunks + row, behind)
            for row, (chunk, behind) in enumerate(zip(chunks, self._count_behind(chunks), strict=True))
        ]
        self.chunks += len(chunks)
        return placed

    def _count_behind(self, chunks: Sequence[Chunk]) -> Iterator[tuple[int, ...]]:
        """For every chunk and concept, how many chunks ago the document named it; 0: this chunk does."""
        for chunk in chunks:
            if chunk.document != self._document:
                self._document = chunk.document
                self._behind = [FAR] * len(self._targets)
            here = self._names.find(chunk.text)
            self._behind = [0 if is_named else ago + 1 for is_named, ago in zip(here, self._behind, strict=True)]
            yield tuple(self._behind)

    def finish(self) -> list[Found]:
        """What was found for every concept."""
        cuts = calibrate(self._targets, self.drawn, self._embedder, self._rate, self._seed)
        shares: list[NDArray[np.float64] | None] = [None] * len(cuts)
        for number, cut in enumerate(cuts):
            if cut.value is None:
                continue
            shares[number] = rates = estimate_rates(self._tested[number], cut.unrelated)
            if self._choice.false_discovery_rate is not None:
                cuts[number] = replace(cut, value=cut_off_for(rates, self._choice.false_discovery_rate))
        others = [best.items() for best in self._others]
        unclear = [
            self._doubtful(target, hits, cut) for target, hits, cut in zip(self._targets, others, cuts, strict=True)
        ]
        teaching = [
            [hit for hit in best.items() if _is_above(hit, cut) or self._states_a_fact(hit, cut, target)]
            for target, best, cut in zip(self._targets, self._about, cuts, strict=True)
        ]
        # What speaks, or may speak, of one concept is no near miss of another.
        taken = {hit.chunk.text for hits in teaching for hit in hits}.union(*unclear)
        found = []
        for number, (target, cut, rates_here) in enumerate(zip(self._targets, cuts, shares, strict=True)):
            near = [hit for hit in others[number] if hit.score > cut.median and hit.chunk.text not in taken]
            found.append(
                Found(
                    self._choose(target, self._about[number], teaching[number]),
                    tuple(make_snippet(hit, target.concept, near_miss=True) for hit in near[: self._top_k]),
                    cut,
                    len(unclear[number]),
                    None if rates_here is None or cut.value is None else rate_at(rates_here, cut.value),
                    self._estimate_recall(number, cut),
                )
            )
        return found

    def _doubtful(self, target: Target, hits: Sequence[Hit], cut: CutOff) -> set[str]:
        """Texts that name no concept and may yet speak of this one."""
        unrelated = [
            text
            for text in (self.drawn.texts(SAMPLE) if target.rivals else ())
            if not target.concept.mentioned_in(text) and not may_be_about(text, target)
        ]
        vectors = self.drawn.vectors(unrelated) if unrelated else vectors_of(())
        # What one concept takes for its own is lost to all: the rate is shared among them.
        margin = Margin(target, vectors, cut.median, self._embedder, self._rate / len(self._targets))
        gaining = margin.exceeded_by(vectors_of(hits)) if target.rivals else [False] * len(hits)
        return {
            hit.chunk.text
            for hit, gains in zip(hits, gaining, strict=True)
            if gains or (_is_above(hit, cut) and may_be_about(hit.chunk.text, target))
        }

    def _states_a_fact(self, hit: Hit, cut: CutOff, target: Target) -> bool:
        """Whether what follows closely on the name holds an answer; under a false discovery rate scores alone count."""
        if hit.is_named or cut.value is None or self._choice.false_discovery_rate is not None:
            return False
        return _holds_answer(fold(hit.chunk.text), target)

    def _choose(self, target: Target, best: Leading[Hit], hits: Sequence[Hit]) -> tuple[Snippet, ...]:
        """The snippets that teach a concept, the best where they are too many."""
        import numpy as np

        texts = [hit.chunk.text for hit in hits]
        counts = [best.copies(hit.chunk.text) for hit in hits]
        heads = cluster(texts, counts, self._choice.near_duplicates, self._seed)
        scores = [hits[head.number].score for head in heads]
        if self._choice.reranker is not None:
            pairs = [(hits[head.number].query, hits[head.number].chunk.text) for head in heads]
            scores = self._choice.reranker.score(pairs)
            order = sorted(range(len(heads)), key=lambda place: -scores[place])
            heads, scores = [heads[place] for place in order], [scores[place] for place in order]
        hits = [hits[head.number] for head in heads]
        chosen = choose(
            np.array(scores),
            vectors_of(hits),
            [hit.facet for hit in hits],
            self._top_k,
            variety=self._choice.variety,
            facet_share=self._choice.facet_share,
        )
        return tuple(make_snippet(hits[n], target.concept, near_miss=False, copies=heads[n].copies) for n in chosen)

    def _estimate_recall(self, number: int, cut: CutOff) -> Recall | None:
        if self._check is None or cut.value is None:
            return None
        return self._check.estimate(number, self._indices[number], self._embedder, cut.value)


def _best(limit: int) -> Leading[Hit]:
    return Leading(limit)


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


def _holds_answer(folded: str, target: Target) -> bool:
    return any(contains_words(folded, fold(answer)) for answer in target.answers)


def _is_above(hit: Hit, cut: CutOff) -> bool:
    """Whether a hit passes the cut-off; where there is none, whether it names the concept."""
    return hit.is_named if cut.value is None else hit.score > cut.value
