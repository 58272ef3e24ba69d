"""Confidence limits for the mean of values in [0, 1], one value per fact, and for the difference of two such means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

UNSEEN = 3.0
"""Facts' worth of the largest variance possible that is added to the variance seen.

The rule of three (Hanley & Lippman-Hand 1983): what n facts do not show may still befall 3 in n. Without it, a few
facts that leak a little would hide that another fact might leak whole.
"""


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and variance (divisor n) over facts; of several samples at once where the fields are arrays."""

    mean: Array
    variance: Array
    n: int

    @property
    def spread(self) -> Array:
        """The variance as a share of the largest that this mean allows, m(1 - m), kept large where little was seen.

        The bound is Bhatia and Davis' (2000). Values of 0 and 1 have a spread of exactly 1.
        """
        return (self.n * self.variance + UNSEEN) / (self.n * self.mean * (1 - self.mean) + UNSEEN)


def take_moments(values: Sequence[float] | Array) -> Moments:
    """Moments along the last axis.

    Args:
        values: (..., facts), each in [0, 1].

    Raises:
        ValueError: There is no fact, or a value is not a number in [0, 1].
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError("a rate needs at least one fact")
    if not bool(np.all((array >= -1e-9) & (array <= 1 + 1e-9))):  # false for NaN too
        raise ValueError("a fact's rate has to be a number from 0 to 1")
    array = np.clip(array, 0.0, 1.0)
    return Moments(array.mean(axis=-1), array.var(axis=-1), array.shape[-1])


def mean_limits(moments: Moments, tail: float) -> tuple[Array, Array]:
    """Lower and upper limit for the mean, each missing with probability ``tail`` at most.

    Clopper and Pearson's (1934) limits in their beta form, for an effective number of facts n / spread and as many
    successes as give the mean. With values of 0 and 1 these are the exact binomial limits. Means of several attempts
    vary less than a coin, which makes the effective number larger (Korn & Graubard 1998 do the same for surveys).
    """
    effective = moments.n / moments.spread
    hits = effective * moments.mean
    misses = np.maximum(effective - hits, 0.0)
    none, all_ = hits < 1e-9, misses < 1e-9
    low = np.where(none, 0.0, special.betaincinv(np.where(none, 1.0, hits), misses + 1, tail))
    high = np.where(all_, 1.0, special.betaincinv(hits + 1, np.where(all_, 1.0, misses), 1 - tail))
    return low, high


def difference_limits(gain: Moments, loss: Moments, tail: float) -> tuple[Array, Array]:
    """Lower and upper limit for mean(gain) - mean(loss), where no fact has both.

    The limits of the two means are combined by squaring and adding, with their correlation (Newcombe 1998, method
    10; Zou & Donner 2008, MOVER). Since one of the two is zero for every fact, their covariance is -mean · mean. Only
    facts that differ widen the limits, and when none does they are still the limits of a rate of zero, not zero.
    """
    low_gain, high_gain = mean_limits(gain, tail)
    low_loss, high_loss = mean_limits(loss, tail)
    product = gain.mean * loss.mean
    scale = gain.spread * loss.spread * product * (1 - gain.mean) * (1 - loss.mean)
    correlation = np.where(product > 0, -product / np.sqrt(np.where(scale > 0, scale, 1.0)), 0.0)
    correlation = np.clip(correlation, -1.0, 0.0)

    def combine(first: Array, second: Array) -> Array:
        return np.sqrt(first**2 - 2 * correlation * first * second + second**2)

    value = gain.mean - loss.mean
    low = value - combine(gain.mean - low_gain, high_loss - loss.mean)
    high = value + combine(high_gain - gain.mean, loss.mean - low_loss)
    return np.maximum(low, -1.0), np.minimum(high, 1.0)


def split_difference(values: Array) -> tuple[Moments, Moments]:
    """Per-fact differences in [-1, 1], shape (..., facts), as what was gained and what was lost."""
    return take_moments(np.maximum(values, 0.0)), take_moments(np.maximum(-values, 0.0))


def pair_up(*samples: Sequence[float] | NDArray[Any]) -> list[Array]:
    """Samples over the same facts as arrays.

    Raises:
        ValueError: They differ in length, are empty, or hold something outside [0, 1].
    """
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(f"paired rates need the same facts, got {[array.shape[-1] for array in arrays]} of them")
    for array in arrays:
        take_moments(array)
    return arrays
