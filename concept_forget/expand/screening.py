"""Gates that look at an item beside others: is it about its concept, is it nearly another one, has it to stay?

What needs an encoder is left out where there is none. Texts are encoded in batches, and only those whose words leave
a question open.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from concept_forget.concept import Concept
from concept_forget.config import ExpandConfig
from concept_forget.expand.facts import StatedFact
from concept_forget.expand.gates import (
    GAP,
    IRRELEVANT,
    KEPT,
    SAME_MEANING,
    SAME_WORDS,
    comparable,
    make_cloze,
)
from concept_forget.expand.ledger import Ledger
from concept_forget.measures.words import plain_words
from concept_forget.records import content_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from concept_forget.expand.neighbours import Subject
    from concept_forget.measures.gain import Gain
    from concept_forget.measures.near_duplicates import NearDuplicates
    from concept_forget.measures.near_vectors import NearVectors

STEP = "gates"
UNRELATED = 256
"""Sentences about others on which a concept's cut-off is calibrated, at most."""
SHARED_WORDS = 2 / 3
"""Two wordings with less in common are not compared by meaning: a good paraphrase means the same."""
KEPT_MARGIN = 0.05
"""By how much a fact has to be nearer to something that must stay than to the facet it was stated for."""
NO_ENCODER = (
    "no encoder: relevance and meaning were not checked, distance and Vendi score not computed; "
    "pip install 'concept-forget[offline]' or name one in `mine.embedder`"
)
_SOMETHING = "something"


class Encodes(Protocol):
    """What turns texts into vectors of length one."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of shape (texts, dimension), in the order of the texts."""


class Screen:
    """The gates of one stage, with what they have let through so far.

    Args:
        config: The settings.
        concepts: The concepts to forget.
        seed: The run's seed.
        ledger: Is told of rejected facts; of other items the step that asked for them tells it.
        encoder: Gives vectors; None: what needs them is left out.
    """

    def __init__(
        self,
        config: ExpandConfig,
        concepts: Sequence[Concept],
        seed: int,
        ledger: Ledger,
        encoder: Encodes | None = None,
    ) -> None:
        self.encoder = encoder
        self.seconds = 0.0
        self.gains: dict[str, Gain] = {}
        self._config = config
        self._concepts = {concept.name: concept for concept in concepts}
        self._seed = seed
        self._ledger = ledger
        self._relevance: dict[str, tuple[NDArray[np.float32], float | None, int]] = {}
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._passages: dict[str, tuple[NearDuplicates, NearVectors | None]] = {}

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Put the time that a block takes down to the gates."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - began

    def gain(self, step: str) -> Gain:
        """The marginal gain of a step that asks in rounds; it should stop when ``is_spent``."""
        from concept_forget.measures.gain import Gain

        return self.gains.setdefault(step, Gain(self._config.stop_window, self._config.stop_gain))

    def keep_facts(self, facts: Sequence[StatedFact]) -> list[StatedFact]:
        """The facts that are about their concept and need not stay; those about neighbours all pass.

        Raises:
            StageError: No fact about any concept got through.
        """
        with self.timed():
            self._calibrate(facts)
            reasons = self._fact_reasons(facts)
        passed = []
        for stated, reason in zip(facts, reasons, strict=True):
            if reason:
                self._ledger.reject(STEP, reason, stated.fact.sentence, (stated.fact.id,))
            else:
                passed.append(stated)
        self._ledger.accept(STEP, len(passed))
        if not any(_is_to_forget(stated) for stated in passed):
            raise self._ledger.fail(
                STEP,
                "no fact about any concept got through",
                "give each concept a `description` and check its `keep`, or set `expand.gates.relevance` to null",
            )
        return passed

    def _fact_reasons(self, facts: Sequence[StatedFact]) -> list[str | None]:
        kept = {(s.fact.concept, comparable(s.fact.answer)) for s in facts if s.fact.kept}
        own = [stated for stated in facts if _is_to_forget(stated)]
        irrelevant = self._irrelevant([(s.fact.concept, s.fact.sentence) for s in own])
        found: dict[int, str] = {}
        for stated, is_irrelevant in zip(own, irrelevant, strict=True):
            if (stated.fact.concept, comparable(stated.fact.answer)) in kept or self._has_to_stay(stated):
                found[id(stated)] = KEPT
            elif is_irrelevant:
                found[id(stated)] = IRRELEVANT
        return [found.get(id(stated)) for stated in facts]

    def _has_to_stay(self, stated: StatedFact) -> bool:
        """Whether a fact, whatever its answer, says what must stay rather than what its facet asks.

        The answer does not count: many have the same birthplace, and the place itself may have to stay.
        """
        import numpy as np

        concept = self._concepts.get(stated.fact.concept)
        if self.encoder is None or concept is None or not concept.keep:
            return False
        fact = stated.fact
        open_sentence = (make_cloze(fact.sentence, fact.answer) or fact.sentence).replace(GAP, _SOMETHING)
        texts = [open_sentence, *(f"{concept.name}: {label}" for label in (fact.facet, *concept.keep))]
        vectors = self.encoder.encode(texts).astype(np.float64)
        facet, *keeps = (vectors[1:] @ vectors[0]).tolist()
        return bool(round(max(keeps) - facet, 4) > KEPT_MARGIN)

    def _calibrate(self, facts: Sequence[StatedFact]) -> None:
        """The relevance that a text about something else does not reach, for every concept.

        The unrelated text is what the same generator says about others: other concepts and neighbours.
        """
        import numpy as np

        from concept_forget.measures.conformal import DECIMALS, conformal_quantile

        if self.encoder is None or self._config.gates.relevance is None:
            return
        texts = {s.fact.sentence: s.fact.subject for s in facts if not s.fact.kept}
        mixed = sorted(texts, key=lambda text: content_hash("expand", "unrelated", self._seed, text))
        vectors: dict[str, NDArray[np.float32]] = {}  # most concepts share most of their unrelated text
        for name, concept in self._concepts.items():
            others = (text for text in mixed if texts[text] != name and not concept.mentioned_in(text))
            unrelated = list(itertools.islice(others, UNRELATED))
            fresh = [text for text in unrelated if text not in vectors]
            if fresh:
                vectors |= zip(fresh, self.encoder.encode(fresh), strict=True)
            queries = self.encoder.encode(_describe(concept))
            scores = np.empty(0, dtype=np.float32)
            if unrelated:
                scores = (np.stack([vectors[text] for text in unrelated]) @ queries.T).max(axis=1)
            cut = conformal_quantile(np.sort(np.round(scores, DECIMALS)), self._config.gates.relevance)
            self._relevance[name] = (queries, cut, len(scores))

    def _irrelevant(self, texts: Sequence[tuple[str, str]]) -> list[bool]:
        """For each (concept's name, text), whether the text is no more about the concept than unrelated text is."""
        import numpy as np

        from concept_forget.measures.conformal import DECIMALS

        if self.encoder is None or not self._relevance or not texts:
            return [False] * len(texts)
        vectors = self.encoder.encode([text for _, text in texts])
        verdicts = []
        for (name, _), vector in zip(texts, vectors, strict=True):
            queries, cut, _ = self._relevance.get(name, (None, None, 0))
            is_low = cut is not None and queries is not None and np.round((queries @ vector).max(), DECIMALS) <= cut
            verdicts.append(bool(is_low))
        return verdicts

    def prepare(self, groups: Iterable[Sequence[str]]) -> None:
        """Encode what ``near`` will want to know of wordings that are about to be compared, group by group."""
        if self.encoder is None:
            return
        with self.timed():
            wanted: dict[str, None] = {}
            for group in groups:
                words = [_words(text) for text in group]
                for number, own in enumerate(words):
                    for other in range(number):
                        if SHARED_WORDS <= _overlap(own, words[other]) < self._config.gates.wording_words:
                            wanted |= {group[number]: None, group[other]: None}
            texts = list(wanted)
            self._vectors = dict(zip(texts, self.encoder.encode(texts), strict=True)) if texts else {}

    def near(self, text: str, others: Iterable[str]) -> str | None:
        """Why a wording is nearly one of the others, which ask for the same; None where it is not."""
        from concept_forget.measures.conformal import DECIMALS

        gates = self._config.gates
        with self.timed():
            own = _words(text)
            for other in others:
                overlap = _overlap(own, _words(other))
                if overlap >= gates.wording_words:
                    return SAME_WORDS
                if overlap >= SHARED_WORDS and text in self._vectors and other in self._vectors:
                    cosine = float(self._vectors[text] @ self._vectors[other])
                    if round(cosine, DECIMALS) >= gates.wording_cosine:
                        return SAME_MEANING
        return None

    def passage_reasons(self, passages: Sequence[tuple[Subject, str]]) -> list[str | None]:
        """Why each passage is not about its subject or nearly an earlier one; None where it gets through.

        Passages that got through are remembered: later ones are compared with them.
        """
        with self.timed():
            texts = [text for _, text in passages]
            vectors = self.encoder.encode(texts) if self.encoder is not None and texts else [None] * len(texts)
            own = [(s.owner if s.distance is None else "", text) for s, text in passages]
            irrelevant = self._irrelevant(own)
            return [
                IRRELEVANT if is_irrelevant else self._near_passage(subject.name, text, vector)
                for (subject, text), vector, is_irrelevant in zip(passages, vectors, irrelevant, strict=True)
            ]

    def _near_passage(self, subject: str, text: str, vector: NDArray[np.float32] | None) -> str | None:
        from concept_forget.measures.near_duplicates import NearDuplicates
        from concept_forget.measures.near_vectors import NearVectors

        gates = self._config.gates
        if subject not in self._passages:
            near = None if vector is None else NearVectors(gates.passage_cosine, len(vector), self._seed)
            self._passages[subject] = (NearDuplicates(gates.passage_words, seed=self._seed), near)
        by_words, by_meaning = self._passages[subject]
        key = content_hash(text)
        if by_words.find(text) is not None:
            return SAME_WORDS
        if by_meaning is not None and vector is not None:
            if by_meaning.find(vector) is not None:
                return SAME_MEANING
            by_meaning.add(key, vector)
        by_words.add(key, text)
        return None

    def summary(self) -> dict[str, object]:
        """What the gates went by: cut-offs of relevance, gains of steps, and what could not be checked."""
        cuts = {name: {"cut_off": cut, "unrelated": count} for name, (_, cut, count) in self._relevance.items()}
        summary: dict[str, object] = {"relevance": cuts}
        if self.gains:
            summary["gain"] = {step: gain.summary() for step, gain in self.gains.items()}
        if self.encoder is None:
            summary["note"] = NO_ENCODER
        return summary


def _is_to_forget(stated: StatedFact) -> bool:
    return stated.fact.distance is None and not stated.fact.kept


def _describe(concept: Concept) -> list[str]:
    """What a text about the concept is like: its names, its kind and its description."""
    return [*concept.names, f"{concept.name}, {concept.kind}", *([concept.description] if concept.description else [])]


@functools.lru_cache(maxsize=4096)
def _words(text: str) -> frozenset[str]:
    return frozenset(plain_words(text))


def _overlap(first: frozenset[str], second: frozenset[str]) -> float:
    """Jaccard similarity: the share of all their words that both have."""
    union = len(first | second)
    return len(first & second) / union if union else 1.0
