"""Running lists of the best, of bounded size, and the fusion of several rankings into one."""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)
SMOOTHING = 60
"""The k of reciprocal rank fusion: how little the first ranks count above the next ones."""


@dataclass(slots=True)
class Leading(Generic[Item]):
    """The items with the highest scores so far, each text once: among equals the ones that come first in the corpus."""

    limit: int
    _heap: list[tuple[float, int, str, Item]] = field(default_factory=list)
    _copies: dict[str, int] = field(default_factory=dict)  # of each text that is kept, how often it was met

    @property
    def least(self) -> float:
        """The score that an item has to reach."""
        return self._heap[0][0] if len(self._heap) >= self.limit else -math.inf

    def add(self, score: float, place: int, text: str, item: Item) -> None:
        """Offer an item.

        Args:
            score: Its score.
            place: Its place in the corpus, another one for every item.
            text: Its text.
            item: What is kept.
        """
        if text in self._copies:
            self._copies[text] += 1
            return
        entry = (score, -place, text, item)
        if len(self._heap) < self.limit:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            del self._copies[heapq.heapreplace(self._heap, entry)[2]]
        else:
            return
        self._copies[text] = 1

    def copies(self, text: str) -> int:
        """How often a text that is kept was met: all times, for what was let go is not let in again."""
        return self._copies[text]

    def items(self) -> list[Item]:
        """The items, best first."""
        return [item for _, _, _, item in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


def fuse_rankings(rankings: Sequence[Sequence[Key]]) -> list[Key]:
    """One ranking of everything that several rank: by Σ 1 / (60 + rank), the ones ranked first before their equals.

    Source: Cormack, Clarke & Büttcher 2009, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
    methods".

    Args:
        rankings: Keys, best first, each once in a ranking.
    """
    scores: dict[Key, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + 1 / (SMOOTHING + rank)
    return sorted(scores, key=lambda key: -scores[key])
