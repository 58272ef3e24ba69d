"""Wrong answers in the form of a right one: what a model would hold as likely that knows nothing."""

from __future__ import annotations

from collections.abc import Sequence

from concept_forget.concept import contains_words, fold, replace_words
from concept_forget.records import Example, named_random

COUNT = 3
"""Wrong answers to a question at most: as many as ``choice`` shows beside the right one."""


class WrongAnswers:
    """Finds wrong answers to questions among what other rows say.

    Args:
        probe: Rows about the concepts, those of the family ``choice`` with options.
        staying: Rows about neighbours.
        seed: The run's seed.
    """

    def __init__(self, probe: Sequence[Example], staying: Sequence[Example], seed: int) -> None:
        self._seed = seed
        self._options = {row.fact: row.options for row in probe if row.options}
        self._facets: dict[str, dict[str, None]] = {}
        self._true: dict[tuple[str, str], list[str]] = {}
        for row in (*probe, *staying):
            if row.family == "reverse" or not row.answer:
                continue
            self._facets.setdefault(fold(row.facet), {})[row.answer] = None
            self._true.setdefault((row.subject, fold(row.facet)), []).extend(map(fold, (row.answer, *row.aliases)))

    def of(self, row: Example) -> tuple[str, ...]:
        """Replies to a row's question in the form of its own, each with a wrong answer in the right one's place.

        The options of the fact's ``choice`` question, else the row's counterfactual, else other subjects' answers to
        the same facet. None where there are no others, or the reply does not hold its answer word for word.
        """
        candidates = self._options.get(row.fact, ()) if row.split == "probe" else ()
        candidates = candidates or ((row.counterfactual,) if row.counterfactual else ()) or self._drawn(row)
        right = [fold(answer) for answer in (row.answer, *row.aliases)]
        wrong = [
            text
            for candidate in candidates
            if not _says(candidate, right) and (text := put(row, candidate)) is not None
        ]
        return tuple(dict.fromkeys(wrong))[:COUNT]

    def _drawn(self, row: Example) -> tuple[str, ...]:
        true = self._true.get((row.subject, fold(row.facet)), [])
        others = sorted(answer for answer in self._facets.get(fold(row.facet), ()) if not _says(answer, true))
        rng = named_random(self._seed, "wrong answers", row.id)
        return tuple(rng.sample(others, min(COUNT, len(others))))


def put(row: Example, answer: str) -> str | None:
    """The row's reply with something else in its answer's place; None where it does not hold the answer as it is."""
    text, count = replace_words(row.completion, row.answer, answer) if row.answer else ("", 0)
    return text if count else None


def _says(text: str, answers: Sequence[str]) -> bool:
    return any(contains_words(fold(text), answer) for answer in answers)
