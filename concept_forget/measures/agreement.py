"""How far two graders agree beyond chance, with facts as the unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from concept_forget.measures.statistics import LEVEL, Interval, rate_interval

Pairs = Sequence[Sequence[tuple[bool, bool]]]
"""For each fact what the first and the second grader say of each of its replies."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Replies by what two graders say of them: that they leak, or not."""

    both: int
    first_only: int
    second_only: int
    neither: int


def count_pairs(pairs: Pairs) -> Confusion:
    """The replies of all facts, counted."""
    said = [pair for fact in pairs for pair in fact]
    both, neither = said.count((True, True)), said.count((False, False))
    return Confusion(both, said.count((True, False)), said.count((False, True)), neither)


def cohen_kappa(pairs: Pairs, level: float = LEVEL) -> Interval | None:
    """Cohen's (1960) kappa: 1 - d/e, of the share of replies that two graders judge otherwise, and of that by chance.

    Every fact counts alike, however many replies it has. The interval is that of d (``rate_interval``, so that it keeps
    its width where the graders never differ), with e taken as it is, which is how Cohen's standard error takes it.

    Args:
        pairs: What both say; a fact without replies does not count.
        level: Coverage.

    Returns:
        In [-1, 1]; None where there is no fact, or both say the same of everything: then nothing is left to chance.
    """
    facts = [np.array(fact, dtype=float) for fact in pairs if len(fact)]
    if not facts:
        return None
    first, second = np.mean([fact.mean(axis=0) for fact in facts], axis=0)
    chance = float(first * (1 - second) + second * (1 - first))
    if chance == 0:
        return None
    differing = rate_interval([float((fact[:, 0] != fact[:, 1]).mean()) for fact in facts], level)
    value, low, high = (max(-1.0, 1 - share / chance) for share in (differing.value, differing.high, differing.low))
    return Interval(value, low, high, len(facts))
