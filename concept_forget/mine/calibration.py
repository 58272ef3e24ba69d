"""The score that a chunk must reach to count as being about a concept, found from random queries.

The random queries are the concept's own, with random words of the corpus in place of its name. They have the number,
the wording and the subject matter of the real ones and ask about nobody, so their scores show what a chunk gets that is
not about whom it is asked for, the gain from being matched with the best of many queries included. The cut-off is the
conformal (1 - rate) quantile of these scores over chunks that neither name the concept nor hold a word of the random
name: one more unrelated chunk exceeds it with that probability at most, averaged over names (Vovk, Gammerman & Shafer
2005, ch. 2).

Random sentences of the corpus as queries would make the cut-off too high, for each is close to its own like; names from
outside the corpus would make it too low, for a real name shares words with the corpus.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from concept_forget.concept import contains_words, fold
from concept_forget.measures.conformal import DECIMALS, conformal_quantile
from concept_forget.mine.queries import Target, corpus_words, random_names, rename
from concept_forget.progress import Progress, track
from concept_forget.records import content_hash

if TYPE_CHECKING:
    import faiss
    import numpy as np
    from numpy.typing import NDArray

    from concept_forget.embedding import Embedder

SAMPLE = 1024
"""Chunks on which the cut-off is calibrated."""
RANDOM_QUERIES = 600
"""Random queries over all concepts, about; each concept gets at least four random names and at most 32."""


@dataclass(frozen=True, slots=True)
class CutOff:
    """What a chunk must score above. ``value`` is None where there were too few unrelated chunks to tell."""

    value: float | None
    median: float  # of the scores of unrelated chunks; -1 where there are none
    names: int
    scores: int
    unrelated: NDArray[np.float32] = field(compare=False, repr=False)  # their scores, sorted, shape (scores,)


class Sample:
    """The chunks with the lowest hashes: a random sample of the different texts, whatever order they come in.

    Args:
        seed: The run's seed.
        size: Texts that are kept.
    """

    def __init__(self, seed: int, size: int = SAMPLE) -> None:
        self._seed = seed
        self._limit = size
        self._heap: list[tuple[int, str]] = []
        self._vectors: dict[str, NDArray[np.float32] | None] = {}
        self._scored: set[str] = set()
        self.is_whole = True  # nothing had to be left out

    def add(self, text: str, vector: NDArray[np.float32] | None = None) -> None:
        """Offer a chunk, with its vector where it is known already."""
        if text in self._vectors:
            return
        entry = (-int(content_hash("mine", "sample", self._seed, text), 16), text)
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, entry)
        else:
            self.is_whole = False
            if entry < self._heap[0]:
                return
            dropped = heapq.heapreplace(self._heap, entry)[1]
            del self._vectors[dropped]
            self._scored.discard(dropped)
        self._vectors[text] = None if vector is None else vector.copy()

    def mark_scored(self, text: str) -> None:
        """Note that the search scores this text, which was offered before."""
        if text in self._vectors:
            self._scored.add(text)

    @property
    def size(self) -> int:
        """Texts that are kept now."""
        return len(self._heap)

    @property
    def largest(self) -> float:
        """The largest hash kept, in (0, 1]; 1 where there is none."""
        return (1 - self._heap[0][0]) / 2**64 if self._heap else 1.0

    def texts(self, count: int) -> list[str]:
        """The ``count`` texts with the lowest hashes, or all there are, sorted."""
        return sorted(text for _, text in heapq.nlargest(count, self._heap))

    def fill(self, embedder: Embedder, progress: Progress | None = None) -> None:
        """Have the vectors computed that are not known yet, of the texts that cut-offs are calibrated on."""
        absent = [text for text in self.texts(SAMPLE) if self._vectors[text] is None]
        self._vectors.update(zip(absent, embedder.encode(absent, progress), strict=True))

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of sampled texts, all of them known or filled in, shape (texts, dimension)."""
        import numpy as np

        return np.stack([vector for text in texts if (vector := self._vectors[text]) is not None])

    def was_scored(self, text: str) -> bool:
        """Whether a sampled text was marked."""
        return text in self._scored


def calibrate(targets: Sequence[Target], sample: Sample, embedder: Embedder, rate: float, seed: int) -> list[CutOff]:
    """The cut-off for every concept.

    Args:
        targets: The concepts and their queries.
        sample: Chunks of the corpus.
        embedder: Gives vectors: the random queries', and the sampled chunks' where the search needed none.
        rate: Share of unrelated chunks that may exceed it, in (0, 1).
        seed: The run's seed.
    """
    texts = sample.texts(SAMPLE)
    words = corpus_words(texts, [target.concept for target in targets])
    count = min(32, max(4, RANDOM_QUERIES // sum(len(target.queries) for target in targets)))
    names = [random_names(words, target.concept, count, seed) for target in targets]
    renamed = [
        [[rename(query, target.concept, name) for query in target.queries] for name in own]
        for target, own in zip(targets, names, strict=True)
    ]
    everything = [query for own in renamed for queries in own for query in queries]
    with track("calibrate", total=len(texts) + len(everything), unit="texts") as bar:
        sample.fill(embedder, bar)
        embedder.encode(everything, bar)
    cuts = []
    for target, own, queries in zip(targets, names, renamed, strict=True):
        unrelated = [text for text in texts if not target.concept.mentioned_in(text)]
        cuts.append(_cut_off(unrelated, own, queries, sample, embedder, rate))
    return cuts


def _cut_off(
    unrelated: Sequence[str],
    names: Sequence[str],
    queries: Sequence[Sequence[str]],
    sample: Sample,
    embedder: Embedder,
    rate: float,
) -> CutOff:
    import numpy as np

    scores = [np.empty(0, dtype=np.float32)]
    folded = {text: fold(text) for text in unrelated}
    for name, asked in zip(names, queries, strict=True):
        words = fold(name).split()
        fitting = [text for text in unrelated if not any(contains_words(folded[text], word) for word in words)]
        if fitting:
            best, _ = build_index(embedder.encode(asked)).search(sample.vectors(fitting), 1)
            scores.append(best[:, 0])
    pooled = np.sort(np.concatenate(scores))
    return CutOff(
        value=conformal_quantile(pooled, rate),
        median=round(float(np.median(pooled)), DECIMALS) if len(pooled) else -1.0,
        names=len(names),
        scores=len(pooled),
        unrelated=pooled,
    )


def build_index(vectors: NDArray[np.float32]) -> faiss.IndexFlatIP:
    """An exact inner-product index of vectors of length one, shape (queries, dimension)."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index
