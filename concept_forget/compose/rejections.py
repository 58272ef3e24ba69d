"""An account of what was left out, and why."""

from __future__ import annotations

from collections import Counter

_EXAMPLE_LENGTH = 160


class Rejections:
    """Counts what was left out by reason, and keeps the first example of each."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, reason: str, example: str) -> None:
        """One more was left out."""
        self._counts[reason] += 1
        self._examples.setdefault(reason, " ".join(example.split())[:_EXAMPLE_LENGTH])

    def summary(self) -> dict[str, dict[str, object]]:
        """Reason → count and example, the commonest first, equal counts by name."""
        ranked = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return {reason: {"count": count, "example": self._examples[reason]} for reason, count in ranked}

    def count(self, reason: str) -> int:
        """How many were left out for one reason."""
        return self._counts[reason]

    def commonest(self) -> str:
        """The three commonest reasons with an example each, as the end of an error message."""
        reasons = list(self.summary().items())[:3]
        if not reasons:
            return "nothing was left out: there was nothing to begin with"
        return "; ".join(f"{reason} ({entry['count']}, such as {entry['example']!r})" for reason, entry in reasons)
