"""What the last texts added to those before them: whether it is worth going on."""

from __future__ import annotations

import itertools
from collections import deque

from concept_forget.measures.words import plain_words

DECIMALS = 4


class Gain:
    """The marginal gain of a stream of texts: the mean, over the last ones, of the share of word pairs that are new.

    A text that was rejected gained nothing. The gain lies in [0, 1] and costs the same however many texts came before.

    Args:
        window: Texts over which the mean is taken.
        least: Gain under which it is not worth going on; 0: it always is.
    """

    def __init__(self, window: int, least: float) -> None:
        self.texts = 0
        self._least = least
        self._recent: deque[float] = deque(maxlen=window)
        self._seen: set[str] = set()

    def add(self, text: str, *, accepted: bool = True) -> None:
        """Take note of a text that came."""
        self.texts += 1
        words = plain_words(text) if accepted else []
        pairs = {f"{one} {other}" for one, other in itertools.pairwise(words)} or set(words)
        self._recent.append(len(pairs - self._seen) / len(pairs) if pairs else 0.0)
        self._seen |= pairs

    @property
    def value(self) -> float | None:
        """The gain over the last texts; None before there are as many as the window holds."""
        if len(self._recent) < (self._recent.maxlen or 0):
            return None
        return round(sum(self._recent) / len(self._recent), DECIMALS)

    @property
    def is_spent(self) -> bool:
        """Whether the gain has fallen under the least that is worth going on for."""
        value = self.value
        return value is not None and value < self._least

    def summary(self) -> dict[str, object]:
        """What the summary says of it."""
        return {"texts": self.texts, "gain": self.value, "stopped": self.is_spent}
