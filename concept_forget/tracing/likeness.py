"""Whether a sentence that names nobody says of an answer what a fact says of it: by the encoder, both hidden.

The cut-off is the conformal quantile of what unrelated sentences of the corpus score, which name nobody either. In each
of them a word is hidden as well: else to have something hidden would be a likeness.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from concept_forget.concept import replace_each
from concept_forget.measures.conformal import DECIMALS, conformal_quantile
from concept_forget.records import Fact, content_hash, named_random

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from concept_forget.embedding import Embedder

RATE = 0.01
"""Share of unrelated sentences that the cut-off lets through."""
SAMPLE = 1024
SOMEBODY, SOMETHING = "somebody", "something"


def hide(text: str, names: Sequence[str], answers: Sequence[str]) -> str:
    """A sentence with other words for the names and the answers that it holds."""
    return replace_each(replace_each(text, dict.fromkeys(answers, SOMETHING)), dict.fromkeys(names, SOMEBODY))


class Likeness:
    """Collects sentences while the corpus is read, and says afterwards which of them are alike enough.

    Args:
        sentences: Of every fact one that states it, or a question about it.
        names: Of every fact what its subject is called.
        embedder: Gives the vectors.
        seed: Draws the sample of unrelated sentences.
    """

    def __init__(
        self, sentences: dict[str, str], names: dict[str, tuple[str, ...]], embedder: Embedder, seed: int
    ) -> None:
        self._sentences = sentences
        self._names = names
        self._embedder = embedder
        self._seed = seed
        self._waiting: list[tuple[Fact, str]] = []
        self._sample: list[tuple[int, str]] = []
        self._taken: set[str] = set()

    def ask(self, fact: Fact, text: str) -> None:
        """Take a sentence that names nobody and holds the answer of a fact."""
        self._waiting.append((fact, text))

    def see(self, text: str) -> None:
        """Take a sentence that names nobody and holds no answer: the lowest hashes make a random sample."""
        entry = (-int(content_hash("trace", self._seed, text), 16), text)
        if text in self._taken or (len(self._sample) == SAMPLE and entry <= self._sample[0]):
            return
        if len(self._sample) == SAMPLE:
            self._taken.discard(heapq.heapreplace(self._sample, entry)[1])
        else:
            heapq.heappush(self._sample, entry)
        self._taken.add(text)

    def alike(self) -> list[bool]:
        """For every sentence that was asked about, in order, whether it says what its fact says."""
        if not self._waiting:
            return []
        import numpy as np

        unrelated = self._embedder.encode([self._hide_a_word(text) for text in sorted(self._taken)])
        answers = {fact.id: (fact.answer, *fact.aliases) for fact, _ in self._waiting}
        cuts: dict[str, float | None] = {}
        own: dict[str, NDArray[np.float32]] = {}
        for number, spellings in answers.items():
            if self._sentences.get(number):
                hidden = hide(self._sentences[number], self._names[number], spellings)
                own[number] = self._embedder.encode([hidden])[0]
                cuts[number] = conformal_quantile(np.sort(unrelated @ own[number]), RATE)
        texts = self._embedder.encode([hide(text, (), answers[fact.id]) for fact, text in self._waiting])
        found = []
        for (fact, _), vector in zip(self._waiting, texts, strict=True):
            cut = cuts.get(fact.id)
            found.append(cut is not None and round(float(vector @ own[fact.id]), DECIMALS) > cut)
        return found

    def _hide_a_word(self, text: str) -> str:
        words = [word for word in re.findall(r"\w+", text) if len(word) > 3]
        if not words:
            return text
        return hide(text, (), [named_random(self._seed, "trace", text).choice(words)])
