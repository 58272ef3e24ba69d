"""From finished runs to one line per arm: residual knowledge by tier and attack, what was kept, and what it cost."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from concept_forget.comparison.reading import FinishedRun
from concept_forget.measures.pooling import (
    FactRates,
    Gap,
    Key,
    Pooled,
    close_gap,
    mean_over_attacks,
    per_thousand_tokens,
    pool_kept,
    pool_residual,
)

TIERS = ("trained_form", "new_form", "new_fact")
DISTANCES = ("near", "middle", "far")


@dataclass(frozen=True, slots=True)
class TierOfArm:
    """One tier: residual knowledge by attack, and over the attacks together. None: not measurable.

    ``mean`` is the residual of each fact's mean over attacks, ``worst`` the attack with the highest residual.
    """

    facts: int
    attacks: dict[str, Pooled | None]
    mean: Pooled | None
    worst: str | None


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One arm over all its runs.

    Args:
        name: The arm.
        worlds: Its repetitions.
        tiers: By tier.
        kept: What is left of base's rate on neighbours, by distance.
        forget_tokens: Of the forget set, prompts and replies together, the mean over runs; None: not told.
        reduction: Residual taken away by 1,000 of them, on the first tier.
        fluency: Perplexity of the unlearned model's replies over that of the reference's, or of base's where there is
            no reference; the median over runs.
        seconds: Of unlearning, the mean over runs.
        retraining: Floating-point operations of unlearning over those of retraining, the mean; None: not known.
        outcomes: How many runs came to which verdict.
        gap: What the arm closes of the gap between two others, on the first tier.
    """

    name: str
    worlds: tuple[str, ...]
    tiers: dict[str, TierOfArm]
    kept: dict[str, Pooled | None]
    forget_tokens: float | None
    reduction: float | None
    fluency: float | None
    seconds: float | None
    retraining: float | None
    outcomes: dict[str, int]
    gap: Gap | None = None

    @property
    def first_tier(self) -> TierOfArm | None:
        """The tier that comes first: asked as trained, else trained facts in new forms."""
        return next((self.tiers[tier] for tier in TIERS if tier in self.tiers), None)


def compare_runs(runs: Sequence[FinishedRun], gap: tuple[str, str] | None = None) -> list[ArmResult]:
    """One result per arm, in the order in which arms come.

    Args:
        runs: Finished runs.
        gap: The arms between which the others are placed, the poorer first.
    """
    arms: dict[str, list[FinishedRun]] = {}
    for run in runs:
        arms.setdefault(run.found.arm, []).append(run)
    between = (arms[gap[0]], arms[gap[1]]) if gap and all(name in arms for name in gap) else None
    return [_arm(name, found, between) for name, found in arms.items()]


def _arm(
    name: str, runs: Sequence[FinishedRun], between: tuple[Sequence[FinishedRun], Sequence[FinishedRun]] | None
) -> ArmResult:
    tiers = {tier: _tier(runs, tier) for tier in TIERS if any(tier in run.rates for run in runs)}
    tokens = _mean_of(runs, lambda run: run.forget_tokens)
    first = next(iter(tiers), None)
    mean = tiers[first].mean if first else None
    outcomes = [run.metrics.verdict.outcome for run in runs]
    placed = None
    if between is not None and first is not None:
        placed = close_gap(*(mean_over_attacks(_by_attack(found, first)) for found in (runs, *between)))
    return ArmResult(
        name=name,
        worlds=tuple(run.found.repetition for run in runs),
        tiers=tiers,
        kept={
            distance: pool_kept(_pool(runs, [run.kept.get(distance, {}) for run in runs]))
            for distance in DISTANCES
            if any(distance in run.kept for run in runs)
        },
        forget_tokens=tokens,
        reduction=per_thousand_tokens(mean.over_facts.value, tokens) if mean and tokens else None,
        fluency=_median(_fluency(run) for run in runs),
        seconds=_mean_of(runs, lambda run: run.metrics.cost.seconds.get("unlearn")),
        retraining=_mean_of(runs, lambda run: run.metrics.cost.ratio_to_retrain),
        outcomes={outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)},
        gap=placed,
    )


def _tier(runs: Sequence[FinishedRun], tier: str) -> TierOfArm:
    names = dict.fromkeys(attack for run in runs for attack in run.rates.get(tier, {}))
    rates = dict(zip(names, _by_attack(runs, tier), strict=True))
    attacks = {attack: pool_residual(found) for attack, found in rates.items()}
    measured = {attack: found.over_facts.value for attack, found in attacks.items() if found is not None}
    together = mean_over_attacks(list(rates.values()))
    return TierOfArm(
        facts=len(together),
        attacks=attacks,
        mean=pool_residual(together),
        worst=max(measured, key=measured.__getitem__, default=None),
    )


def _by_attack(runs: Sequence[FinishedRun], tier: str) -> list[dict[Key, FactRates]]:
    names = dict.fromkeys(attack for run in runs for attack in run.rates.get(tier, {}))
    return [_pool(runs, [run.rates.get(tier, {}).get(attack, {}) for run in runs]) for attack in names]


def _pool(runs: Sequence[FinishedRun], rates: Sequence[Mapping[str, FactRates]]) -> dict[Key, FactRates]:
    """The facts of all runs together; a fact is told by its run as well, since worlds may share facts' names."""
    return {
        (run.found.repetition, fact): found
        for run, of_run in zip(runs, rates, strict=True)
        for fact, found in of_run.items()
    }


def _fluency(run: FinishedRun) -> float | None:
    fluency = run.metrics.fluency
    other = fluency.reference if fluency.reference is not None else fluency.base
    return fluency.unlearned / other if fluency.unlearned is not None and other else None


def _mean_of(runs: Sequence[FinishedRun], value: Callable[[FinishedRun], float | None]) -> float | None:
    found = [number for run in runs if (number := value(run)) is not None]
    return statistics.fmean(found) if found else None


def _median(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None
