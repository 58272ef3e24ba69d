"""From token log-probabilities to numbers: perplexity, and the probability of a whole sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence


def perplexity(replies: Sequence[Sequence[float]]) -> float:
    """Perplexity: exp of minus the mean log-probability over all tokens of all replies, long ones for their length.

    Args:
        replies: Each reply's token log-probabilities (natural logarithm).

    Returns:
        At least 1; infinite where a token is impossible.

    Raises:
        ValueError: There is no token, or something is not a log-probability.
    """
    tokens = [value for reply in replies for value in _check(reply)]
    if not tokens:
        raise ValueError("perplexity needs at least one token")
    mean = math.fsum(tokens) / len(tokens) if -math.inf not in tokens else -math.inf
    return math.exp(-mean) if mean > -700 else math.inf


def sequence_probability(logprobs: Sequence[float]) -> float:
    """The probability of a whole sequence: exp of the sum of its tokens' log-probabilities; 1 for an empty one.

    Raises:
        ValueError: Something is not a log-probability.
    """
    return math.exp(sum(_check(logprobs)))


def _check(logprobs: Sequence[float]) -> Sequence[float]:
    for value in logprobs:
        if not value <= 1e-6:  # true for NaN too
            raise ValueError(f"a log-probability is at most 0, found {value}")
    return logprobs
