"""What a reference says about rows: parted row by row to be kept, and joined again for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from concept_forget.training.batches import Item
from concept_forget.training.distributions import Distribution


@dataclass(frozen=True, slots=True)
class ReferenceScores:
    """The reference's view of some rows' answer tokens, as far as it was asked for.

    ``logprobs`` (tokens,), distributions over the vocabulary, and ``hidden`` states (tokens, width).
    """

    logprobs: Tensor | None
    distribution: Distribution | None = None
    hidden: Tensor | None = None


def parted(scores: ReferenceScores, items: Sequence[Item]) -> list[ReferenceScores]:
    """Scores of several rows, row by row, off the accelerator and without the batch behind them."""
    lengths = [len(item.row.answer) for item in items]

    def part(values: Tensor | None) -> Sequence[Tensor | None]:
        if values is None:
            return [None] * len(items)
        return [piece.to("cpu", copy=True) for piece in values.split(lengths)]

    whole = part(None if scores.distribution is None else scores.distribution.logprobs)
    return [
        ReferenceScores(logprobs, None if distribution is None else Distribution(distribution), hidden)
        for logprobs, distribution, hidden in zip(part(scores.logprobs), whole, part(scores.hidden), strict=True)
    ]


def joined(parts: Sequence[ReferenceScores], device: torch.device) -> ReferenceScores:
    """The inverse of ``parted``, on a device."""

    def join(values: Sequence[Tensor | None]) -> Tensor | None:
        found = [value for value in values if value is not None]
        return torch.cat(found).to(device) if found else None

    told = [part.distribution for part in parts if part.distribution is not None]
    logprobs = join([one.logprobs for one in told])
    distribution = None
    if logprobs is not None:
        distribution = Distribution(logprobs, join([one.indices for one in told]), join([one.tail for one in told]))
    return ReferenceScores(join([part.logprobs for part in parts]), distribution, join([part.hidden for part in parts]))
