"""How many of the texts above a cut-off are there by chance, and the cut-off that keeps their share low.

The texts that name a concept, or follow closely on one that does, are tested one by one against what unrelated text
scores. With m unrelated scores, a score s has the conformal p-value (1 + #{unrelated above s}) / (m + 1) (Bates,
Candès, Lei, Romano and Sesia 2023, "Testing for outliers with conformal p-values"). Of N texts, R above the cut-off,
about π₀ · N · p are there by chance, and the false discovery rate is estimated as their share of R (Benjamini and
Hochberg 1995; π₀, the share of texts that are unrelated, as by Storey 2002 with λ = 1/2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from concept_forget.measures.conformal import DECIMALS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STEP: int = 10**DECIMALS
_BINS = 2 * _STEP + 1
LAMBDA = 0.5


class ScoreCounts:
    """How often each score in [-1, 1], to ``DECIMALS`` places, was met: a fixed amount of memory."""

    def __init__(self) -> None:
        import numpy as np

        self.total = 0
        self._counts = np.zeros(_BINS, dtype=np.int64)

    def add(self, score: float) -> None:
        """Count a score that is rounded already."""
        self.total += 1
        self._counts[_place(score)] += 1

    def above(self) -> NDArray[np.int64]:
        """For every possible score from -1 upward, how many are above it."""
        import numpy as np

        return np.asarray(self.total - np.cumsum(self._counts))


def estimate_rates(scores: ScoreCounts, unrelated: NDArray[np.float32]) -> NDArray[np.float64]:
    """The estimated false discovery rate of every possible cut-off, from -1 upward, in [0, 1].

    Args:
        scores: Of the texts that are tested.
        unrelated: Scores of unrelated texts, sorted, one at least, shape (m,).

    Returns:
        Shape (20001,); 0 where no text is above the cut-off.
    """
    import numpy as np

    grid = np.arange(_BINS) / _STEP - 1
    unrelated_above = len(unrelated) - np.searchsorted(unrelated, grid + 0.5 / _STEP, side="left")
    chance = (1 + unrelated_above) / (len(unrelated) + 1)  # p-value of a score at the cut-off
    found = scores.above()
    usual = chance > LAMBDA  # from -1 up to the median of unrelated texts
    ordinary = scores.total - int(found[usual][-1])
    # π₀ · N, with the 1 that keeps a count of nought from promising that nothing is unrelated.
    by_chance = min(scores.total, (1 + ordinary) / (1 - LAMBDA))
    rates = by_chance * chance / np.maximum(found, 1)
    return np.asarray(np.where(found > 0, np.minimum(rates, 1.0), 0.0))


def rate_at(rates: NDArray[np.float64], cut_off: float) -> float:
    """The estimate for one cut-off, of those that ``estimate_rates`` gives."""
    return round(float(rates[_place(cut_off)]), DECIMALS)


def cut_off_for(rates: NDArray[np.float64], most: float) -> float:
    """The lowest cut-off with at most this estimated rate: the one that lets most texts through.

    Where no lower one does, it is the highest score that was met: nothing is above it.
    """
    import numpy as np

    return round(int(np.flatnonzero(rates <= most)[0]) / _STEP - 1, DECIMALS)


def _place(score: float) -> int:
    return min(_BINS - 1, max(0, round((score + 1) * _STEP)))
