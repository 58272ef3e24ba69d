"""How well scores tell members from others: area under the ROC curve, true positives at few false ones, PrivLeak."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from concept_forget.measures.limits import Array, take_moments
from concept_forget.measures.statistics import LEVEL, Interval

FALSE_POSITIVE_RATE = 0.01
"""At which true positives are counted: whoever accuses has to be right nearly always (Carlini et al. 2022)."""


def area_under_curve(members: Sequence[float], others: Sequence[float], level: float = LEVEL) -> Interval:
    """The area under the ROC curve: the probability that a member scores above another text, ties counting half.

    The interval is Wilson's (1927) for a rate, with the number of facts that amounts to the area's variance. That is
    DeLong, DeLong & Clarke-Pearson's (1988), in which what a text of each side gives by itself is kept as variable as
    a rate where little was seen of it (``limits.UNSEEN``), and at most the largest there can be, a(1 - a) over the
    smaller sample (Birnbaum & Klose 1957). So it is of no zero width where every member is above every other.

    Args:
        members: Scores of texts that were trained on, higher for a member, shape (members,).
        others: Scores of texts that were not.
        level: Coverage.

    Returns:
        The area in [0, 1]; ``n`` counts the texts of both sides.

    Raises:
        ValueError: A side is empty, or a score is not a number.
    """
    inside, outside = _check(members, "member"), _check(others, "other text")
    ranks = stats.rankdata(np.concatenate([inside, outside]))
    # of each text the share of the other side that it stands on the right side of
    above = (ranks[: len(inside)] - stats.rankdata(inside)) / len(outside)
    below = 1 - (ranks[len(inside) :] - stats.rankdata(outside)) / len(inside)
    area = min(max(float(above.mean()), 0.0), 1.0)
    spread = float(take_moments(above).spread) / len(inside) + float(take_moments(below).spread) / len(outside)
    effective = max(1 / spread, min(len(inside), len(outside)))
    low, high = _wilson(area, effective, level)
    return Interval(area, low, high, len(inside) + len(outside))


def true_positive_rate(
    members: Sequence[float], others: Sequence[float], false_positive_rate: float = FALSE_POSITIVE_RATE
) -> float:
    """The largest share of members above a cut-off that no larger share of others than allowed is above.

    Of fewer than 1 / ``false_positive_rate`` others, none may be above. Nothing is interpolated between cut-offs.

    Source: Carlini et al. 2022, "Membership inference attacks from first principles".

    Args:
        members: Scores of texts that were trained on, higher for a member, shape (members,).
        others: Scores of texts that were not.
        false_positive_rate: The share allowed, in [0, 1].

    Returns:
        In [0, 1].

    Raises:
        ValueError: A side is empty, a score is not a number, or the share lies outside [0, 1].
    """
    if not 0 <= false_positive_rate <= 1:
        raise ValueError(f"a false positive rate lies in [0, 1], found {false_positive_rate}")
    inside, outside = _check(members, "member"), _check(others, "other text")
    allowed = math.floor(false_positive_rate * len(outside) + 1e-9)
    if allowed >= len(outside):
        return 1.0
    # a cut-off lies between scores: whoever ties with the first text that may not be above is not above either
    cut_off = np.sort(outside)[len(outside) - 1 - allowed]
    return float((inside > cut_off).mean())


def privleak(unlearned: float, reference: float) -> float | None:
    """PrivLeak: how far membership inference on the unlearned model is from that on a model never trained on it.

    With 1 - AUC in place of AUC, as MUSE reports it: ((1 - u) - (1 - r)) / (1 - r), in per cent. Under 0, forgotten
    too little: the texts are still told from others. Over 0, too much: they stand out by being less likely. -100
    is the lowest.

    Source: Shi et al. 2024, "MUSE: machine unlearning six-way evaluation".

    Args:
        unlearned: Area under the curve of forget texts against holdout texts on the unlearned model, in [0, 1].
        reference: The same on the model that was trained without the forget texts.

    Returns:
        None, "not measurable", where the reference's area is 1.

    Raises:
        ValueError: An area lies outside [0, 1].
    """
    for name, area in (("unlearned", unlearned), ("reference", reference)):
        if not 0 <= area <= 1:  # true for NaN too
            raise ValueError(f"an area under the curve lies in [0, 1], found {area} for the {name} model")
    return None if reference == 1 else 100 * (reference - unlearned) / (1 - reference)


def _check(scores: Sequence[float], name: str) -> Array:
    array = np.asarray(scores, dtype=np.float64)
    if not array.size:
        raise ValueError(f"scores have to be of at least one {name}")
    if np.isnan(array).any():
        raise ValueError(f"the score of a {name} is not a number")
    return array


def _wilson(rate: float, n: float, level: float) -> tuple[float, float]:
    z2 = float(stats.norm.ppf((1 + level) / 2)) ** 2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    reach = math.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return max(centre - reach, 0.0), min(centre + reach, 1.0)
