"""Whether intervals of rates hold what they promise: by simulation, over rates, numbers of facts and kinds of attempts.

    python tests/acceptance/coverage.py
    python tests/acceptance/coverage.py --draws 10000

Every cell draws per-fact rates, several attempts at a fact being more alike than attempts at two facts, and counts how
often the 95 % interval holds the true rate. Its mean width is divided by what Clopper and Pearson's interval for one
attempt at each fact has on average at that rate, which is worked out exactly. Prints, for each kind and number of facts,
the least coverage and the largest width over the rates, then the worst cells. Exits 1 where coverage is under 93 % or
the width above 1.3.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from concept_forget.measures.limits import mean_limits, take_moments
from concept_forget.records import named_seed

RATES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98)
FACTS = (20, 30, 50, 75, 100, 150, 200)
LEAST_COVERAGE, MOST_WIDTH = 0.93, 1.3
TAIL = 0.025

Rates = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a fact's attempts come about: 1 to ``attempts`` of them, or always as many, correlated within a fact."""

    name: str
    attempts: int
    correlation: float
    uneven: bool = False

    def draw(self, rng: np.random.Generator, rate: float, facts: int, draws: int) -> Rates:
        """Per-fact rates of mean ``rate``, shape (draws, facts)."""
        shape = (draws, facts)
        rates = np.full(shape, rate)
        if self.correlation:
            spread = (1 - self.correlation) / self.correlation
            rates = rng.beta(rate * spread, (1 - rate) * spread, shape)
        attempts = rng.integers(1, self.attempts + 1, shape) if self.uneven else self.attempts
        return rng.binomial(attempts, rates) / attempts


@dataclass(frozen=True, slots=True)
class AllOrALittle:
    """Most facts leak a little, some whole: a variance that few facts show."""

    name: str = "all or a little"

    def draw(self, rng: np.random.Generator, rate: float, facts: int, draws: int) -> Rates:
        """Per-fact rates of mean ``rate``, shape (draws, facts)."""
        little = rate / 2
        whole = (rate - little) / (1 - little)
        return np.where(rng.random((draws, facts)) < whole, 1.0, little)


KINDS: tuple[Kind | AllOrALittle, ...] = (
    Kind("1 attempt", 1, 0.0),
    Kind("2, correlation 0.3", 2, 0.3),
    Kind("4, independent", 4, 0.0),
    Kind("4, correlation 0.3", 4, 0.3),
    Kind("4, correlation 0.7", 4, 0.7),
    Kind("10, correlation 0.1", 10, 0.1),
    Kind("10, correlation 0.5", 10, 0.5),
    Kind("10, correlation 0.9", 10, 0.9),
    Kind("100, correlation 0.2", 100, 0.2),
    Kind("1 to 8, correlation 0.4", 8, 0.4, uneven=True),
    AllOrALittle(),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """What was found for one kind, number of facts and rate."""

    kind: str
    facts: int
    rate: float
    coverage: float
    width: float  # over Clopper-Pearson's with n = facts

    def __str__(self) -> str:
        return f"{self.kind:<24} {self.facts:>4} facts, rate {self.rate:.2f}: {self.coverage:.4f}, × {self.width:.3f}"


def expected_width(rate: float, facts: int) -> float:
    """The mean width of Clopper and Pearson's (1934) interval for ``facts`` attempts, each a hit with ``rate``."""
    hits = np.arange(facts + 1)
    low = np.where(hits == 0, 0.0, stats.beta.ppf(TAIL, np.maximum(hits, 1), facts - hits + 1))
    high = np.where(hits == facts, 1.0, stats.beta.ppf(1 - TAIL, hits + 1, np.maximum(facts - hits, 1)))
    return float(np.sum(stats.binom.pmf(hits, facts, rate) * (high - low)))


def simulate(kind: Kind | AllOrALittle, facts: int, rate: float, draws: int) -> Cell:
    """One cell."""
    rng = np.random.default_rng(named_seed(0, "coverage", kind.name, facts, rate))
    low, high = mean_limits(take_moments(kind.draw(rng, rate, facts, draws)), TAIL)
    held = float(np.mean((low <= rate) & (rate <= high)))
    return Cell(kind.name, facts, rate, held, float(np.mean(high - low)) / expected_width(rate, facts))


def print_tables(cells: Sequence[Cell]) -> None:
    """The least and the largest over the rates, and the worst cells."""
    print(f"{'attempts at a fact':<24} {'facts':>5}  {'least coverage':<18} largest width")
    for kind, facts in itertools.product(KINDS, FACTS):
        here = [cell for cell in cells if (cell.kind, cell.facts) == (kind.name, facts)]
        least, widest = min(here, key=lambda cell: cell.coverage), max(here, key=lambda cell: cell.width)
        print(
            f"{kind.name:<24} {facts:>5}  {least.coverage:.4f} at {least.rate:<8.2f} × {widest.width:.3f} at {widest.rate:.2f}"
        )
    print("\nworst by coverage")
    for cell in sorted(cells, key=lambda cell: cell.coverage)[:10]:
        print(cell)
    print("\nworst by width")
    for cell in sorted(cells, key=lambda cell: -cell.width)[:5]:
        print(cell)


def main() -> int:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    options = parser.parse_args()
    cells = [simulate(kind, facts, rate, options.draws) for kind, facts, rate in itertools.product(KINDS, FACTS, RATES)]
    print_tables(cells)
    failed = [cell for cell in cells if cell.coverage < LEAST_COVERAGE or cell.width > MOST_WIDTH]
    print(
        f"\n{len(cells)} cells of {options.draws} draws: {len(failed)} outside {LEAST_COVERAGE:.0%} and {MOST_WIDTH} ×"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
