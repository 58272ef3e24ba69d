"""How much a search missed, estimated from a random sample of what it did not look at."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats

from concept_forget.measures.statistics import LEVEL


@dataclass(frozen=True, slots=True)
class Distinct:
    """How many different texts there are: the estimate, and limits that hold together with the given confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Recall:
    """Estimated recall with its two-sided interval, and what it rests on."""

    value: float
    low: float
    high: float
    found: int  # relevant ones that the search looked at
    sampled: int  # rejected ones of the sample
    missed: int  # of these, the relevant ones


def count_distinct(kept: int, largest: float, *, is_whole: bool, doubt: float) -> Distinct:
    """The number of different things, from the smallest of their hashes.

    The k-th smallest of D uniform numbers is about Gamma(k) / D; (k - 1) / u is unbiased for D.

    Source: Beyer et al. 2007, "On synopses for distinct-value estimation under multiset operations", §2.

    Args:
        kept: The k smallest hashes that were kept.
        largest: The largest of these, in (0, 1].
        is_whole: Whether there are no others, so that the number is known.
        doubt: Probability that the number lies outside the limits, half of it on each side.
    """
    if is_whole:
        return Distinct(kept, kept, kept)
    low, high = (float(stats.gamma.ppf(tail, kept)) / largest for tail in (doubt / 2, 1 - doubt / 2))
    return Distinct((kept - 1) / largest, low, high)


def estimate_recall(
    found: int, sampled: int, rejected: int, missed: int, kept: int, largest: float, *, is_whole: bool
) -> Recall | None:
    """Recall of a search over different texts, with a two-sided interval at ``LEVEL``.

    What the search found is known. What it missed is D · q: D texts, of which a share q is relevant and was rejected.
    q has the exact binomial interval (Clopper & Pearson 1934) from the sample, D that of ``count_distinct``; a tenth of
    the doubt goes to D and the rest to q (Bonferroni), so that both hold with the confidence claimed. Recall falls with
    both, and its limits are those at theirs.

    Args:
        found: Relevant texts that the search looked at.
        sampled: Texts drawn at random from all.
        rejected: Of these, the ones that the search did not look at.
        missed: Of these, the relevant ones.
        kept: Smallest hashes kept; the sampled texts are the first of them.
        largest: The largest hash kept, in (0, 1].
        is_whole: Whether ``kept`` is all there is.

    Returns:
        None where nothing relevant was found or missed, or nothing was sampled.
    """
    if not sampled or not found + missed:
        return None
    doubt = 1 - LEVEL
    distinct = count_distinct(kept, largest, is_whole=is_whole, doubt=doubt / 10)
    if is_whole and sampled == kept:  # every text was looked at
        low, high = float(missed), float(missed)
    else:
        tail = 0.9 * doubt / 2
        low = distinct.low * (float(stats.beta.ppf(tail, missed, sampled - missed + 1)) if missed else 0.0)
        high = distinct.high * (
            float(stats.beta.ppf(1 - tail, missed + 1, sampled - missed)) if missed < sampled else 1.0
        )
    likely = distinct.value * missed / sampled
    return Recall(found / (found + likely), found / (found + high), found / (found + low), found, rejected, missed)
