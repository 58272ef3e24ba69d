"""Micro-batches as small as memory needs: of a step of training, and of rows that are only scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from concept_forget.out_of_memory import tell_halved, too_little, unless_out_of_memory
from concept_forget.training.batches import Item, MicroBatch, Step, StepPlan, split_by_length
from concept_forget.training.processes import process_count
from concept_forget.workspace import read_json, write_json

KEY = "unlearn.batch_tokens"
_REMEDY = "lower `unlearn.max_tokens`, set `unlearn.gradient_checkpointing`, or take an `unlearn.adapter`"
T = TypeVar("T")


class ShrinkingSteps:
    """The steps of a fit, cut into smaller micro-batches from the step on at which memory did not suffice.

    A step is the sum of its micro-batches, so that what it comes to is what a smaller ``batch_tokens`` gives. The
    bounds are kept beside the checkpoints: a resumed fit cuts every step as the first one did.

    Args:
        plan: The steps as they are meant.
        folder: The fit's.
    """

    def __init__(self, plan: StepPlan, folder: Path) -> None:
        self._plan = plan
        self._path = folder / "batch_tokens.json"
        self._bounds: dict[int, int] = {}
        if self._path.is_file():
            self._bounds = {int(step): bound for step, bound in read_json(self._path).items()}
            for bound in self._bounds.values():
                tell_halved("the batches of an earlier try", _rest(bound))

    def __call__(self, step: int) -> Step:
        """The rows of step ``step``, counted from 0."""
        return dataclasses.replace(self._plan, batch_tokens=self._bound(step))(step)

    @property
    def shrunk(self) -> bool:
        """Whether steps are cut smaller than they were meant."""
        return bool(self._bounds)

    def halve(self, step: int, batch: MicroBatch) -> Step:
        """The step cut anew, after memory did not suffice for one of its micro-batches.

        Raises:
            OutOfMemoryError: The batch cannot be smaller.
            MemoryError: Other processes have gone on with theirs.
        """
        rows, width = batch.tokens.shape
        bound = _halved(rows, width, self._bound(step))
        self._bounds[step] = bound
        write_json(self._path, self._bounds)
        tell_halved(f"{rows} rows of {width} tokens at step {step + 1}", _rest(bound))
        return self(step)

    def _bound(self, step: int) -> int:
        begun = [at for at in self._bounds if at <= step]
        return self._bounds[max(begun)] if begun else self._plan.batch_tokens


@dataclasses.dataclass(slots=True)
class PartBound:
    """Padded tokens that a part may hold; less from the part on for which memory did not suffice."""

    tokens: int


def over_parts(
    items: Sequence[Item], bound: PartBound, compute: Callable[[list[Item]], T]
) -> Iterator[tuple[list[Item], T]]:
    """Compute rows in parts of like length, in smaller ones from where memory does not suffice.

    Args:
        items: The rows.
        bound: Of a part; lowered here.
        compute: Is handed a part.

    Yields:
        Each part, and what was computed of it.

    Raises:
        OutOfMemoryError: A part cannot be smaller.
        MemoryError: Other processes have gone on with theirs.
    """
    waiting = split_by_length(items, bound.tokens)
    while waiting:
        part = waiting[0]
        done = unless_out_of_memory(lambda part=part: compute(part))  # type: ignore[misc]  # bound at once
        if done is not None:
            waiting.pop(0)
            yield part, done[0]
            continue
        rows, width = len(part), max(len(item.row.tokens) for item in part)
        bound.tokens = _halved(rows, width, bound.tokens)
        tell_halved(f"{rows} rows of {width} tokens", _rest(bound.tokens))
        waiting = split_by_length([item for part in waiting for item in part], bound.tokens)


def _halved(rows: int, width: int, bound: int) -> int:
    smaller = rows // 2 * width
    if process_count() > 1:
        # None of the program's own errors: with those a process waits for the first, which is waiting for it.
        raise MemoryError(f"{rows} rows of {width} tokens are too many; lower `{KEY}`")
    if not 0 < smaller < bound:
        raise too_little(f"for {rows} rows of {width} tokens, which have to pass together", _REMEDY)
    return smaller


def _rest(bound: int) -> str:
    return f"batches of {bound} padded tokens. A lower `{KEY}` saves the attempt."
