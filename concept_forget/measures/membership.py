"""Membership inference: how much a model's token log-probabilities look like those of a text that it was trained on.

Every score is higher for a member. One text alone says little: what scores of members and of others are worth
together is computed in ``separation``.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

from concept_forget.measures.memory import mean_logprob

SHARE = 0.2
"""Of a text's tokens, the least likely ones that Min-K% looks at: as in Shi et al. 2024."""
LEAST_VARIANCE = 1e-6
"""Under this, a variance over the vocabulary is rounding of 32-bit numbers, and would be divided by."""


def loss_score(logprobs: Sequence[float]) -> float:
    """The mean log-probability of the text's tokens in nats: minus the loss.

    Source: Yeom et al. 2018, "Privacy risk in machine learning".

    Args:
        logprobs: Token log-probabilities (natural logarithm), shape (tokens,).

    Raises:
        ValueError: There is no token, or something is not a log-probability.
    """
    return mean_logprob(logprobs)


def zlib_score(logprobs: Sequence[float], text: str) -> float:
    """The mean log-probability per byte of the compressed text: what is likely although it is not repetitive.

    Source: Carlini et al. 2021, "Extracting training data from large language models", §5.2.

    Args:
        logprobs: Token log-probabilities (natural logarithm), shape (tokens,).
        text: What the tokens say.

    Raises:
        ValueError: The text is empty, there is no token, or something is not a log-probability.
    """
    if not text:
        raise ValueError("an empty text has no compressed length to compare with")
    return mean_logprob(logprobs) / len(zlib.compress(text.encode()))


def reference_score(logprobs: Sequence[float], reference: Sequence[float]) -> float:
    """How much likelier, in nats per token, the text is than under a model that never saw it.

    The two models may split the text into different tokens; with the same ones this is the log likelihood ratio per
    token.

    Source: Carlini et al. 2021, §5.2, with a smaller model; Mireshghallah et al. 2022.

    Args:
        logprobs: Token log-probabilities (natural logarithm), shape (tokens,).
        reference: Those of the reference model.

    Raises:
        ValueError: A side has no token, or something is not a log-probability, or the text is impossible under both.
    """
    own, other = mean_logprob(logprobs), mean_logprob(reference)
    if own == other == -math.inf:
        raise ValueError("the text is impossible under both models: it is likelier under neither")
    return own - other


def min_k_score(logprobs: Sequence[float], share: float = SHARE) -> float:
    """Min-K%: the mean log-probability of the least likely tokens, in nats.

    A text that was never seen holds a few tokens that surprise; its mean over all tokens hides them.

    Source: Shi et al. 2024, "Detecting pretraining data from large language models".

    Args:
        logprobs: Token log-probabilities (natural logarithm), shape (tokens,).
        share: Of the tokens, rounded down, but one at least; in (0, 1].

    Raises:
        ValueError: There is no token, something is not a log-probability, or ``share`` lies outside (0, 1].
    """
    mean_logprob(logprobs)  # refuses what is none
    return _mean_of_lowest(logprobs, share)


def min_k_plus_plus_score(
    logprobs: Sequence[float], means: Sequence[float], variances: Sequence[float], share: float = SHARE
) -> float:
    """Min-K%++: as Min-K%, with each log-probability standardised by what the model expects at its place.

    (log p(x) - μ) / σ, where μ and σ² are mean and variance of log p(z), z drawn from the model's own distribution.

    Source: Zhang et al. 2024, "Min-K%++".

    Args:
        logprobs: Token log-probabilities (natural logarithm), shape (tokens,).
        means: μ at each place, in nats, at most 0.
        variances: σ² at each place, at least 0.
        share: Of the tokens, rounded down, but one at least; in (0, 1].

    Returns:
        In standard deviations.

    Raises:
        ValueError: There is no token, the lengths differ, something is not a log-probability, a mean or a variance, or
            ``share`` lies outside (0, 1].
    """
    mean_logprob(logprobs)
    if not len(logprobs) == len(means) == len(variances):
        raise ValueError(
            f"every token needs a mean and a variance: {len(logprobs)} tokens, {len(means)} means, "
            f"{len(variances)} variances"
        )
    for mean, variance in zip(means, variances, strict=True):
        if not -math.inf < mean <= 1e-6:
            raise ValueError(f"a mean log-probability is finite and at most 0, found {mean}")
        if not 0 <= variance < math.inf:
            raise ValueError(f"a variance is finite and at least 0, found {variance}")
    standardised = [
        (logprob - mean) / math.sqrt(max(variance, LEAST_VARIANCE))
        for logprob, mean, variance in zip(logprobs, means, variances, strict=True)
    ]
    return _mean_of_lowest(standardised, share)


def _mean_of_lowest(values: Sequence[float], share: float) -> float:
    if not 0 < share <= 1:
        raise ValueError(f"a share of the tokens lies in (0, 1], found {share}")
    count = max(1, math.floor(share * len(values) + 1e-9))  # 0.29 of 100 is 28.999… in floating point
    return math.fsum(sorted(values)[:count]) / count
