"""Cut-offs with a promise: what one more score of the same kind exceeds with a given probability at most."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DECIMALS = 4
"""To which a similarity is rounded; what a batch's company changes in a vector lies three digits further down."""


def conformal_quantile(scores: NDArray[np.float32], rate: float) -> float | None:
    """What one more score of the same kind exceeds with probability ``rate`` at most; None from too few scores.

    The ⌈(n + 1)(1 - rate)⌉-th smallest of n (Vovk, Gammerman & Shafer 2005, ch. 2).

    Args:
        scores: Sorted, shape (n,).
        rate: In (0, 1).
    """
    rank = math.ceil((len(scores) + 1) * (1 - rate))
    return round(float(scores[rank - 1]), DECIMALS) if rank <= len(scores) else None
