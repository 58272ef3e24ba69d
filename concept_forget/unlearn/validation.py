"""How far forgetting has come, and what it has cost so far: from validation rows alone, without a reference model.

A row counts by the geometric mean of its answer's token probabilities, g. Of a row to forget, g₀ is what the base
model gives and the floor f what it gives when the question is about a name that nobody has:

    leak = (g - f) / (g₀ - f), within [0, 1]       1: known as before; 0: no more than a guess, or less
    forgotten = 1 - mean leak                      the mean over tiers of the mean over rows
    kept = mean of min(1, g / g₀) over retain rows
    score = forgotten × kept

Below the floor nothing is gained, so the score never asks for more than the level of a model that cannot know.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from concept_forget.training.batches import TokenRow
from concept_forget.training.processes import from_first
from concept_forget.training.scores import RowScore, score_rows

RETAIN_TIER = "retain"
KNOWN_MARGIN = 0.1
"""How far above its floor (a retain row: above zero) a row must stand in the base model to tell anything."""


@dataclass(frozen=True, slots=True)
class ValidationRow:
    """A row with its place: ``tier`` as in the data set; ``strangers`` are the same question about invented names."""

    tier: str
    row: TokenRow
    strangers: tuple[TokenRow, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What validation shows after some step.

    ``leak`` and ``greedy`` by tier: the mean leak as defined above, and the share of rows whose answer greedy decoding
    still gives. ``below`` is the share of rows to forget whose answer is less than half as likely as about a stranger,
    in the geometric mean: over-unlearning.
    """

    forgotten: float
    kept: float
    leak: dict[str, float]
    greedy: dict[str, float]
    below: float

    @property
    def score(self) -> float:
        """The product of ``forgotten`` and ``kept``, in [0, 1]."""
        return self.forgotten * self.kept


class Validation:
    """Validation rows with their levels in the base model, ready to be asked of the model under way.

    Args:
        rows: Rows to forget and rows to keep.
        base: The model before training.
        pad_token: Fills up shorter rows.
        batch_tokens: Padded tokens that a batch may hold.
        floor: A model that never learned what is to be forgotten: a row's floor is then what it gives to that row.
    """

    def __init__(
        self,
        rows: Sequence[ValidationRow],
        base: nn.Module,
        *,
        pad_token: int,
        batch_tokens: int,
        floor: nn.Module | None = None,
    ) -> None:
        self._batching = {"pad_token": pad_token, "batch_tokens": batch_tokens}
        strangers = [stranger for row in rows for stranger in row.strangers]
        everything = [*(row.row for row in rows), *strangers]
        scores = self._score(base, everything)
        guesses = iter(scores[len(rows) :])
        floors = [_mean_or_zero([level(next(guesses)) for _ in row.strangers]) for row in rows]
        if floor is not None:
            to_forget = [row.row for row in rows if row.tier != RETAIN_TIER]
            given = iter(self._score(floor, to_forget))
            floors = [level(next(given)) if row.tier != RETAIN_TIER else 0.0 for row in rows]
        known = [
            (row, level(score), own)
            for row, score, own in zip(rows, scores, floors, strict=False)
            if level(score) > own + KNOWN_MARGIN
        ]
        self._forget = [entry for entry in known if entry[0].tier != RETAIN_TIER]
        self._retain = [entry for entry in known if entry[0].tier == RETAIN_TIER]
        self.counts = {"rows": len(rows), "known_forget": len(self._forget), "known_retain": len(self._retain)}
        self.floor = _mean_or_zero([own for _, _, own in self._forget])
        self.tokens = sum(len(row.tokens) for row in everything)

    def _score(self, model: nn.Module | Sequence[nn.Module], rows: Sequence[TokenRow]) -> list[RowScore]:
        """Asked by all processes, for each may hold a part of the model; decided by what the first one was told."""
        return from_first(score_rows(model, rows, **self._batching))

    @property
    def tells(self) -> bool:
        """Whether there is anything to forget among the rows: else no step is better than another."""
        return bool(self._forget)

    def look(self, model: nn.Module | Sequence[nn.Module]) -> Look:
        """Ask the model as it is now, or several as a logit ensemble."""
        rows = [row.row for row, _, _ in (*self._forget, *self._retain)]
        self.tokens += sum(len(row.tokens) for row in rows)
        scores = self._score(model, rows)
        forget = list(zip(self._forget, scores, strict=False))
        retain = list(zip(self._retain, scores[len(forget) :], strict=True))
        leaks: dict[str, list[float]] = {}
        greedy: dict[str, list[float]] = {}
        for (row, before, floor), score in forget:
            leak = (level(score) - floor) / (before - floor)
            leaks.setdefault(row.tier, []).append(min(1.0, max(0.0, leak)))
        for (row, _, _), score in (*forget, *retain):
            greedy.setdefault(row.tier, []).append(float(score.greedy))
        leak_by_tier = {tier: statistics.fmean(values) for tier, values in leaks.items()}
        return Look(
            forgotten=1 - _mean_or_zero(list(leak_by_tier.values())),
            kept=statistics.fmean([min(1.0, level(score) / before) for (_, before, _), score in retain])
            if retain
            else 1.0,
            leak=leak_by_tier,
            greedy={tier: statistics.fmean(values) for tier, values in greedy.items()},
            below=_mean_or_zero([float(level(score) < floor / 2) for (_, _, floor), score in forget]),
        )


def level(score: RowScore) -> float:
    """The geometric mean of the answer's token probabilities."""
    return math.exp(score.mean)


def _mean_or_zero(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else 0.0
