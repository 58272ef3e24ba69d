"""Rounds of forgetting: what one came to, and whether another follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from concept_forget.measures.metrics import ConceptResult, Measurements, RoundResult, pooled_concept

GAIN = 0.02
"""A round by which the residual of the worst attack falls by no more than this has gained nothing."""


def summarise_round(
    number: int, measurements: Measurements, previous: Measurements | None, composed: Mapping[str, Any]
) -> RoundResult:
    """What a round came to.

    Args:
        number: The round, from 1.
        measurements: What its probe measured.
        previous: What the same questions gave of the model from which it began; None: that was base.
        composed: The summary of its sets.
    """
    concept = _pooled(measurements)
    return RoundResult(
        number=number,
        outcome=measurements.verdict.outcome,
        worst_attack=concept.worst_attack,
        residual=concept.residual,
        before=_pooled(previous).residual if previous else None,
        attacks={
            attack: {tier: found.residual for tier, found in result.tiers.items()}
            for attack, result in concept.attacks.items()
        },
        kept={distance: found.kept for distance, found in measurements.collateral.items()},
        forget_rows=composed["rows"]["forget"]["total"],
        added_rows=composed["round"]["forget_rows_added"],
    )


def why_over(rounds: Sequence[RoundResult], count: int) -> str | None:
    """Why no other round follows, or None where one does.

    The residual of the last round is held against that of the model from which it began, on the same facts and forms:
    two rounds ask different ones.

    Args:
        rounds: The rounds so far.
        count: Rounds at most.
    """
    last = rounds[-1]
    if last.outcome == "passed":
        return f"the verdict is passed after round {last.number}"
    if last.residual is None:
        return f"round {last.number} has no attack whose residual could be measured"
    if last.before is not None and last.before.value - last.residual.value <= GAIN:
        return (
            f"round {last.number} gained nothing: of the worst attack {last.residual.value:.2f} is left, "
            f"{last.before.value:.2f} before it"
        )
    return f"{count} rounds are done" if last.number >= count else None


def _pooled(measurements: Measurements) -> ConceptResult:
    return measurements.concepts[pooled_concept(measurements.concepts)]
