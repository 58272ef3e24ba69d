"""Chunks at their places in the corpus, and those that were scored."""

from __future__ import annotations

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
