"""The score of the NeurIPS 2023 machine unlearning challenge (Triantafillou et al. 2024, §3 and appendix A).

Two populations of models are compared: unlearned ones, and ones retrained without the forget set. For each forget
example every model gives one number, its answer's log-odds. An attacker who sees such a number guesses from which
population the model comes; how well the best of many attacks does bounds from below the ε of (ε, δ)-unlearning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DELTA = 1e-5
CAP = 50.0
"""What an infinite ε, of attacks that never err, counts as."""
BIN_WIDTH = 0.5

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ChallengeScore:
    """The score and what it is made of.

    ``epsilons`` by forget example; ``forgetting`` (F) is the mean of H over them. ``score`` is F × the ratio of the
    unlearned models' mean accuracy to the retrained ones', on retain and on test examples.
    """

    epsilons: tuple[float, ...]
    forgetting: float
    retain_ratio: float
    test_ratio: float
    score: float


def log_odds(logprob: float) -> float:
    """The log-odds of an answer, log(p / (1 - p)), from its log-probability (natural logarithm).

    Raises:
        ValueError: It is no log-probability.
    """
    if not logprob <= 1e-9:
        raise ValueError(f"a log-probability is at most 0, found {logprob}")
    return logprob - math.log(max(-math.expm1(logprob), 1e-300))


def attack_epsilon(false_positives: float, false_negatives: float, delta: float = DELTA) -> float | None:
    """The ε that an attack with these error rates shows, or None where it is discarded.

    ε = max{log((1 - δ - FPR) / FNR), log((1 - δ - FNR) / FPR)}, at least 0

    Without any error it is infinite. Where exactly one rate is zero the attack says nothing: that rate was too small
    for so few models.
    """
    if false_positives == 0 and false_negatives == 0:
        return math.inf
    if false_positives == 0 or false_negatives == 0:
        return None
    bounds = [0.0]
    for one, other in ((false_positives, false_negatives), (false_negatives, false_positives)):
        if 1 - delta - one > 0:
            bounds.append(math.log((1 - delta - one) / other))
    return max(bounds)


def example_epsilon(unlearned: Sequence[float], retrained: Sequence[float], delta: float = DELTA) -> float:
    """The largest ε over all attacks on one forget example, at most ``CAP``.

    An attack calls a model unlearned where its number lies within an interval, or where it lies outside: with one end
    open that is an attack by a single threshold, with both closed one by two. Ends lie between any two numbers seen.

    Args:
        unlearned: One number for each unlearned model.
        retrained: One for each retrained model.
        delta: δ.

    Raises:
        ValueError: One of the populations is empty, or a number is none.
    """
    own, other = np.sort(np.asarray(unlearned, float)), np.sort(np.asarray(retrained, float))
    if not len(own) or not len(other) or np.isnan(own).any() or np.isnan(other).any():
        raise ValueError("both populations need numbers")
    ends = np.unique(np.concatenate([own, other]))
    below_own, below_other = (
        np.concatenate([[0], np.searchsorted(values, ends, side="right")]) / len(values) for values in (own, other)
    )
    first, last = np.triu_indices(len(ends) + 1, k=1)
    hits, alarms = below_own[last] - below_own[first], below_other[last] - below_other[first]
    inside = _largest(alarms, 1 - hits, delta)
    return min(CAP, max(inside, _largest(1 - alarms, hits, delta)))


def _largest(false_positives: Numbers, false_negatives: Numbers, delta: float) -> float:
    """``attack_epsilon`` over many attacks: the largest, 0 where none counts."""
    tiny = 1e-12  # differences of shares that are equal
    no_alarm, no_miss = false_positives < tiny, false_negatives < tiny
    if (no_alarm & no_miss).any():
        return math.inf
    counts = ~(no_alarm | no_miss)
    one, other = false_positives[counts], false_negatives[counts]
    bounds = [
        np.log(room[room > 0] / rate[room > 0]) for room, rate in ((1 - delta - one, other), (1 - delta - other, one))
    ]
    return max([0.0, *(float(bound.max()) for bound in bounds if len(bound))])


def forgetting_quality(epsilon: float) -> float:
    """H of an example: 2^(1 - n), where ε falls into bin n of width 0.5, counted from 1."""
    return float(2.0 ** -math.floor(epsilon / BIN_WIDTH))


def challenge_score(
    unlearned: Sequence[Sequence[float]],
    retrained: Sequence[Sequence[float]],
    *,
    retain_accuracy: tuple[Sequence[float], Sequence[float]],
    test_accuracy: tuple[Sequence[float], Sequence[float]],
    delta: float = DELTA,
) -> ChallengeScore:
    """The score of an unlearning method.

    Args:
        unlearned: For each forget example, one number for each unlearned model.
        retrained: The same examples, one number for each retrained model.
        retain_accuracy: Of each unlearned and of each retrained model, on retain examples.
        test_accuracy: The same on test examples.
        delta: δ.

    Raises:
        ValueError: The examples do not match, or retrained models know nothing to compare with.
    """
    epsilons = tuple(example_epsilon(own, other, delta) for own, other in zip(unlearned, retrained, strict=True))
    if not epsilons:
        raise ValueError("there is no forget example")
    forgetting = sum(map(forgetting_quality, epsilons)) / len(epsilons)
    retain, test = _ratio(*retain_accuracy), _ratio(*test_accuracy)
    return ChallengeScore(epsilons, forgetting, retain, test, forgetting * retain * test)


def _ratio(own: Sequence[float], other: Sequence[float]) -> float:
    mean = sum(other) / len(other)
    if not mean:
        raise ValueError("the retrained models have an accuracy of 0, with which nothing can be compared")
    return sum(own) / len(own) / mean


def resolvable_epsilon(models: int, delta: float = DELTA) -> float:
    """The largest finite ε that so many models in each population can show: one of them errs on either side.

    Raises:
        ValueError: There are fewer than two.
    """
    if models < 2:
        raise ValueError("two models a side are the fewest that can err on either")
    return max(0.0, math.log((1 - delta - 1 / models) * models))
