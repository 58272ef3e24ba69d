"""Which of many fitting texts are kept: varied ones, copies of a better one counted, no facet crowding out the rest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from concept_forget.measures.conformal import DECIMALS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Cluster:
    """A text by its number, and how many texts say the same, itself among them."""

    number: int
    copies: int


def cluster(texts: Sequence[str], copies: Sequence[int], threshold: float | None, seed: int) -> list[Cluster]:
    """Put each text to the earlier one that it nearly repeats.

    Args:
        texts: Different texts, the best first.
        copies: How often each is said to the letter.
        threshold: Jaccard similarity of the runs of three words from which on two texts say the same; None: never.
        seed: Draws the hash functions.

    Returns:
        One entry for every text that repeats no earlier one, in order.
    """
    if threshold is None:
        return [Cluster(number, count) for number, count in enumerate(copies)]
    from concept_forget.measures.near_duplicates import NearDuplicates

    seen = NearDuplicates(threshold, seed=seed)
    heads: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for number, text in enumerate(texts):
        like = seen.add(str(number), text)
        heads[str(number)] = str(number) if like is None else heads[like]
        counts[heads[str(number)]] += copies[number]
    return [Cluster(int(head), count) for head, count in counts.items()]


def choose(
    scores: NDArray[np.float64],
    vectors: NDArray[np.float32],
    facets: Sequence[str],
    count: int,
    *,
    variety: float,
    facet_share: float,
) -> list[int]:
    """Choose texts one by one, each for its score and against its likeness to those chosen before.

    The next one has the greatest (1 - variety) · score - variety · (greatest cosine with one chosen already): maximal
    marginal relevance (Carbonell and Goldstein 1998). A facet that has filled its share waits until the others have no
    candidate left.

    Args:
        scores: Shape (texts,), best first.
        vectors: Of length one, shape (texts, dimension).
        facets: What each text tells of.
        count: How many to choose; where there are no more than that, all are.
        variety: In [0, 1]; 0: by score alone.
        facet_share: Share of ``count`` that one facet may fill, in (0, 1].

    Returns:
        Numbers of the chosen texts, ascending, and so best first again.
    """
    import numpy as np

    if len(scores) <= count:
        return list(range(len(scores)))
    kinds = np.unique(np.asarray(facets, dtype=str), return_inverse=True)[1]
    room = np.full(kinds.max() + 1, math.ceil(facet_share * count))
    likeness = np.zeros(len(scores))
    left = np.ones(len(scores), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < count:
        open_to = left & (room[kinds] > 0)
        if not open_to.any():
            open_to = left
        # Rounded, so that the last bits of a sum decide nothing: of equals the better one comes first.
        worth = np.round((1 - variety) * scores - variety * likeness, DECIMALS)
        best = int(np.argmax(np.where(open_to, worth, -np.inf)))
        chosen.append(best)
        left[best] = False
        room[kinds[best]] -= 1
        near = vectors @ vectors[best]
        likeness = near if len(chosen) == 1 else np.maximum(likeness, near)
    return sorted(chosen)
