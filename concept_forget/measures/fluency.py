"""Whether a text says something or repeats itself: n-gram entropy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from concept_forget.measures.words import plain_words

WEIGHTS = {2: 2 / 3, 3: 4 / 3}
"""Length of the n-grams → its weight in the mean."""


def ngram_entropy(text: str) -> float | None:
    """The mean entropy of a text's bigrams and trigrams, weighted 2/3 and 4/3, in bits.

    Low where few n-grams make up the text. It grows with the logarithm of the length, so only texts that were cut at
    the same length compare.

    Source: Zhang et al. 2018, "Generating informative and diverse conversational responses"; Meng et al. 2022
    (ROME), for generations of an edited model. Words are split as everywhere here, not by a language's rules.

    Returns:
        At least 0; None of fewer than three words, which have no trigram.
    """
    words = plain_words(text)
    if len(words) < max(WEIGHTS):
        return None
    return math.fsum(weight * _entropy(words, order) for order, weight in WEIGHTS.items()) / len(WEIGHTS)


def _entropy(words: Sequence[str], order: int) -> float:
    counts = Counter(zip(*(words[start:] for start in range(order)), strict=False))
    total = counts.total()
    return math.fsum(count / total * math.log2(total / count) for count in counts.values())
