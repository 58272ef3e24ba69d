"""From a model's scores of given tokens to numbers: perplexity, probability, memorisation, extraction.

All tokens are teacher-forced: each is scored after the true ones before it. Every token given counts alike in every
score, the one that ends the text among them. An engine scores that one in a chat and has none in raw text, so an
answer's figures rest on the same tokens whichever of them is looked at.
"""

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


def answer_probability(logprobs: Sequence[float]) -> float:
    """The probability of an answer, normalised by its length: the geometric mean of its tokens' probabilities.

    P(a|q)^(1/|a|), which does not fall with every further token as ``sequence_probability`` does.

    Source: Maini et al. 2024 (TOFU), §2.2.

    Args:
        logprobs: The answer's token log-probabilities (natural logarithm), shape (tokens,).

    Returns:
        In [0, 1].

    Raises:
        ValueError: There is no token, or something is not a log-probability.
    """
    return min(math.exp(mean_logprob(logprobs)), 1.0)


def mean_logprob(logprobs: Sequence[float]) -> float:
    """The mean log-probability of a text's tokens in nats, minus infinity where one is impossible.

    Raises:
        ValueError: There is no token, or something is not a log-probability.
    """
    if not len(logprobs):
        raise ValueError("a text needs at least one token to have a probability")
    return math.fsum(_check(logprobs)) / len(logprobs)


def exact_memorisation(ranks: Sequence[int]) -> float:
    """The share of an answer's tokens that the model holds likeliest, each after the true ones before it.

    Source: Tirumala et al. 2022, "Memorization without overfitting" (exact memorization).

    Args:
        ranks: For each token the number of tokens that the model holds likelier, 0 at the top, shape (tokens,).

    Returns:
        In [0, 1].

    Raises:
        ValueError: There is no token, or something is not a rank.
    """
    return sum(rank == 0 for rank in _check_ranks(ranks)) / len(ranks)


def extraction_strength(ranks: Sequence[int]) -> float:
    """The share of an answer that greedy decoding gives back to its end, from the shortest start that makes it do so.

    1 - k / n, where k is the smallest number of tokens after which all others are the likeliest ones. 0 where the last
    token is wrong: then no start is enough but the whole answer. Some programs give 1/n there, which is more for
    short answers, although nothing was extracted.

    Source: Carlini et al. 2021, "Extracting training data from large language models", for the idea; Dorna et al. 2025
    (OpenUnlearning), for the share.

    Args:
        ranks: For each token the number of tokens that the model holds likelier, 0 at the top, shape (tokens,).

    Returns:
        In [0, 1], never more than ``exact_memorisation``.

    Raises:
        ValueError: There is no token, or something is not a rank.
    """
    extracted = 0
    for rank in reversed(_check_ranks(ranks)):
        if rank:
            break
        extracted += 1
    return extracted / len(ranks)


def _check_ranks(ranks: Sequence[int]) -> Sequence[int]:
    if not len(ranks):
        raise ValueError("an answer needs at least one token to be memorised")
    for rank in ranks:
        if rank < 0 or rank != int(rank):
            raise ValueError(f"a rank is a whole number from 0, found {rank}")
    return ranks


def _check(logprobs: Sequence[float]) -> Sequence[float]:
    for value in logprobs:
        if not value <= 1e-6:  # true for NaN too
            raise ValueError(f"a log-probability is at most 0, found {value}")
    return logprobs
