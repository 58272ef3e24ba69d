"""How varied a set of texts is, kept up to date text by text: distinct-n, self-BLEU, pairwise distance, Vendi score.

Nothing is compared with everything: a text costs the same whether it is the tenth or the hundred-thousandth.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concept_forget.measures.words import plain_words
from concept_forget.records import content_hash

ORDERS = (1, 2, 3)
"""Lengths of the n-grams of distinct-n."""
SAMPLE = 100
"""Texts that self-BLEU compares each with all others: those with the lowest hashes, whatever order they come in."""
BLEU_ORDERS = 4
DECIMALS = 4
"""To which figures are rounded."""


class Diversity:
    """A set of texts that grows.

    Args:
        seed: Draws the sample on which self-BLEU is computed.
        sample: Its size.
    """

    def __init__(self, seed: int, sample: int = SAMPLE) -> None:
        self.items = 0
        self._seed = seed
        self._size = sample
        self._sample: list[tuple[int, str]] = []  # a heap: the highest hash, negated, at its top
        self._sampled: set[str] = set()
        self._seen: dict[int, set[int]] = {order: set() for order in ORDERS}
        self._total = dict.fromkeys(ORDERS, 0)
        self._spread = Spread()

    def add(self, texts: Sequence[str], vectors: NDArray[np.float32] | None = None) -> None:
        """Take texts in.

        Args:
            texts: Any texts.
            vectors: Their vectors of length one, shape (texts, dimension); None where there is no encoder.
        """
        for text in texts:
            self.items += 1
            self._count(plain_words(text))
            self._offer(text)
        if vectors is not None:
            self._spread.add(vectors)

    def _count(self, words: Sequence[str]) -> None:
        for order in ORDERS:
            grams = list(zip(*(words[start:] for start in range(order)), strict=False))
            self._total[order] += len(grams)
            # 64 bits of each instead of the words: two of ten million n-grams fall together with probability 3e-6.
            self._seen[order].update(map(hash, grams))

    def _offer(self, text: str) -> None:
        entry = (-int(content_hash("diversity", self._seed, text), 16), text)
        if text in self._sampled:
            return
        if len(self._sample) < self._size:
            heapq.heappush(self._sample, entry)
        elif entry > self._sample[0]:
            self._sampled.remove(heapq.heapreplace(self._sample, entry)[1])
        else:
            return
        self._sampled.add(text)

    def summary(self) -> dict[str, int | float | None]:
        """The figures; None where there are too few texts, or no vectors, to have one.

        ``distinct_n`` is the share of n-grams that differ, over all texts (Li et al. 2016, §5.2). ``self_bleu`` is in
        [0, 1], lower where texts differ more; ``distance`` is the mean over pairs of 1 - cosine; ``vendi`` counts the
        texts as if they were equally unlike each other.
        """
        distinct = {
            f"distinct_{order}": _rounded(len(self._seen[order]) / self._total[order]) if self._total[order] else None
            for order in ORDERS
        }
        texts = sorted(text for _, text in self._sample)
        return {
            "items": self.items,
            **distinct,
            "self_bleu": _rounded(self_bleu(texts)),
            "distance": _rounded(self._spread.distance()),
            "vendi": _rounded(self._spread.vendi()),
        }


class Spread:
    """How far apart vectors of length one lie, all pairs taken together, from two sums over them.

    The mean cosine of all pairs follows from the length of the vectors' sum; the Vendi score follows from the sum of
    their outer products, whose nonzero eigenvalues are those of the matrix of all cosines. Until there are as many
    vectors as dimensions, they are kept themselves, since the matrix would be larger.
    """

    def __init__(self) -> None:
        self._count = 0
        self._sum: NDArray[np.float64] | None = None
        self._kept: list[NDArray[np.float32]] = []
        self._outer: NDArray[np.float64] | None = None

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Take vectors in, shape (vectors, dimension)."""
        if not len(vectors):
            return
        exact = vectors.astype(np.float64)
        self._count += len(vectors)
        self._sum = exact.sum(axis=0) + (0 if self._sum is None else self._sum)
        if self._outer is not None:
            self._outer += exact.T @ exact
            return
        self._kept.append(np.array(vectors, dtype=np.float32))
        if self._count >= vectors.shape[1]:
            whole = np.concatenate(self._kept).astype(np.float64)
            self._outer = whole.T @ whole
            self._kept = []

    def distance(self) -> float | None:
        """Mean of 1 - cosine over all pairs: 1 - (|Σx|² - n) / (n (n - 1)); None of fewer than two vectors."""
        if self._count < 2 or self._sum is None:
            return None
        n = self._count
        return 1 - (float(self._sum @ self._sum) - n) / (n * (n - 1))

    def vendi(self) -> float | None:
        """The exponential of the entropy of the eigenvalues of K/n, K the matrix of all cosines; None of no vectors.

        From 1, all alike, to n, all orthogonal. Source: Friedman and Dieng 2023, "The Vendi score", definition 3.1.
        """
        if not self._count:
            return None
        if self._outer is not None:
            matrix = self._outer
        else:
            whole = np.concatenate(self._kept).astype(np.float64)
            matrix = whole @ whole.T
        values = np.linalg.eigvalsh(matrix / self._count)
        values = values[values > 0]
        return math.exp(float(-(values * np.log(values)).sum()))


def self_bleu(texts: Sequence[str]) -> float | None:
    """The mean BLEU-4 of each text against all the others, in [0, 1]; None of fewer than two texts.

    The weights are uniform over the n-gram lengths that a text has; a length without a match counts half a match, so
    that one absent n-gram does not hide all that is shared (Chen and Cherry 2014, smoothing 1, with ε = 1/2).

    Source: Zhu et al. 2018, "Texygen", §3.2; Papineni et al. 2002.
    """
    if len(texts) < 2:
        return None
    words = [plain_words(text) for text in texts]
    grams = [[_grams(each, order) for order in range(1, BLEU_ORDERS + 1)] for each in words]
    rivals = [_highest(grams, order) for order in range(BLEU_ORDERS)]
    lengths = [len(each) for each in words]
    scores = [_bleu(number, own, rivals, lengths) for number, own in enumerate(grams)]
    return sum(scores) / len(scores)


def _bleu(
    number: int, own: list[Counter[Any]], rivals: list[Mapping[Any, tuple[int, int, int]]], lengths: list[int]
) -> float:
    logs = []
    for order, counts in enumerate(own):
        total = counts.total()
        if not total:
            continue
        shared = 0
        for gram, count in counts.items():
            most, owner, second = rivals[order][gram]
            shared += min(count, second if owner == number else most)
        if order == 0 and not shared:
            return 0.0
        logs.append(math.log((shared or 0.5) / total))
    if not logs:
        return 0.0
    others = lengths[:number] + lengths[number + 1 :]
    closest = min(others, key=lambda length: (abs(length - lengths[number]), length))
    penalty = min(0.0, 1 - closest / lengths[number])
    return math.exp(penalty + sum(logs) / len(logs))


def _highest(grams: list[list[Counter[Any]]], order: int) -> Mapping[Any, tuple[int, int, int]]:
    """Of each n-gram its highest count in a text, which text that is, and the highest count in any other."""
    highest: dict[Any, tuple[int, int, int]] = {}
    for number, own in enumerate(grams):
        for gram, count in own[order].items():
            most, owner, second = highest.get(gram, (0, -1, 0))
            if count > most:
                highest[gram] = (count, number, most)
            else:
                highest[gram] = (most, owner, max(second, count))
    return highest


def _grams(words: Sequence[str], order: int) -> Counter[Any]:
    return Counter(zip(*(words[start:] for start in range(order)), strict=False))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)
