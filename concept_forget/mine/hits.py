"""Chunks at their places in the corpus, and the best of those that were scored."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from concept_forget.concept import Concept
from concept_forget.mine.chunks import Chunk
from concept_forget.records import Snippet, content_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLOSE_BEHIND = 3
"""So many chunks behind one that names the concept, a text may still speak of it as "she" or "the book"."""
FAR = CLOSE_BEHIND + 1


@dataclass(frozen=True, slots=True)
class Placed:
    """A chunk at its place in the corpus."""

    chunk: Chunk
    place: int
    behind: tuple[int, ...]  # for each concept, how many chunks ago the document named it; 0: this chunk does

    @property
    def is_close(self) -> bool:
        """Whether it names a concept, or follows closely on a chunk that does."""
        return min(self.behind) < FAR


@dataclass(frozen=True, slots=True)
class Hit:
    """A scored chunk, and what it scored for."""

    score: float
    place: int  # the chunk's number in the corpus
    chunk: Chunk
    query: str
    is_named: bool
    facet: str = ""
    vector: NDArray[np.float32] | None = field(default=None, compare=False)


@dataclass(slots=True)
class Best:
    """The best hits so far, each text once: by score, then by place."""

    limit: int
    _heap: list[tuple[float, int, Hit]] = field(default_factory=list)
    _texts: dict[str, int] = field(default_factory=dict)  # and how often each was met

    @property
    def least(self) -> float:
        """The score that a hit has to reach."""
        return self._heap[0][0] if len(self._heap) >= self.limit else -math.inf

    def add(self, hit: Hit) -> None:
        """Offer a hit."""
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

    def copies(self, hit: Hit) -> int:
        """How often the text of a hit was met: all times, for what was let go is not let in again."""
        return self._texts[hit.chunk.text]

    def hits(self) -> list[Hit]:
        """The hits, best first."""
        return [entry[2] for entry in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))]


def vectors_of(hits: Sequence[Hit]) -> NDArray[np.float32]:
    """The vectors of hits, shape (hits, dimension)."""
    import numpy as np

    return np.stack([hit.vector for hit in hits if hit.vector is not None]) if hits else np.empty((0, 1), np.float32)


def make_snippet(hit: Hit, concept: Concept, *, near_miss: bool, copies: int = 1) -> Snippet:
    """The record of a hit."""
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
