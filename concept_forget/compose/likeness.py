"""Rows to train on that nearly repeat a question which another set asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from concept_forget.compose.clozes import ClozePrompt
from concept_forget.compose.rows import asked_text
from concept_forget.compose.verbatim import FAMILY as COMPLETION
from concept_forget.records import Example

if TYPE_CHECKING:
    from concept_forget.measures.near_duplicates import NearDuplicates

NEARLY_ASKED = "nearly repeats a question that another set asks"


class Likeness:
    """Compares rows to train on with the questions that validation, probe and collateral ask.

    Args:
        asked: Rows that are only asked.
        cloze: The prompt whose frame all sentences with a gap share, which says nothing about them.
        threshold: Jaccard similarity from which on a question is nearly another; None: none is.
        seed: The run's seed.
    """

    def __init__(self, asked: Sequence[Example], cloze: ClozePrompt, threshold: float | None, seed: int) -> None:
        self._cloze = cloze
        self._seen: NearDuplicates | None = None
        if threshold is not None:
            from concept_forget.measures.near_duplicates import NearDuplicates  # loads numpy

            self._seen = NearDuplicates(threshold, seed=seed)
            for row in asked:
                if row.family not in ("choice", COMPLETION):
                    self._seen.add(row.id, self._text(row))

    def violation(self, row: Example) -> str | None:
        """Why a row must not be trained on, or None; a passage asks nothing."""
        if self._seen is None or not row.prompt or self._seen.find(self._text(row)) is None:
            return None
        return NEARLY_ASKED

    def _text(self, row: Example) -> str:
        asked = asked_text(row)
        return self._cloze.sentence(asked) if row.family == "cloze" else asked
