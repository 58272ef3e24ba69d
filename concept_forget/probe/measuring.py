"""From graded attempts to rates, floors, residuals and the verdict. Facts are the unit everywhere."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from concept_forget.measures.metrics import (
    ALL_CONCEPTS,
    AttackResult,
    ByModel,
    CollateralResult,
    ConceptResult,
    Measurements,
    ModelTests,
    Rate,
    Replacement,
    TierResult,
    VerdictResult,
    Worst,
)
from concept_forget.measures.one_model import OneAttack, OneCollateral, OneMeasurements, OneTier
from concept_forget.measures.rates import estimate_of, floor_of, rate_of
from concept_forget.measures.statistics import (
    GatedAttack,
    decide,
    difference_bounds,
    ratio_interval,
    residual,
)
from concept_forget.probe.asking import COLLATERAL, STRANGERS
from concept_forget.probe.comparing import ModelPairs, SignificanceSettings, compare_models
from concept_forget.records import Attempt


@dataclasses.dataclass(frozen=True, slots=True)
class _Scored:
    attempt: Attempt
    leak: float  # in [0, 1]
    new: float | None = None  # whether the reply gives the answer that was to take the old one's place


@dataclasses.dataclass(frozen=True, slots=True)
class _Facts:
    """One model's attempts at one attack and tier, fact by fact."""

    means: dict[str, float]  # fact → mean over its attempts
    worst: dict[str, float]  # fact → its worst attempt
    attempts: int

    def paired(self, other: _Facts) -> tuple[list[float], list[float]]:
        """Both models' means for the facts that both were asked, in one order."""
        shared = sorted(self.means.keys() & other.means.keys())
        return [self.means[fact] for fact in shared], [other.means[fact] for fact in shared]


def measure(
    attempts: Sequence[Attempt],
    leaks: Sequence[float],
    *,
    attack_families: Mapping[str, str],
    gate_tiers: Sequence[str],
    threshold: float,
    fluency: ByModel,
    replaced: Sequence[float | None] | None = None,
    tested: SignificanceSettings | None = None,
) -> Measurements:
    """Everything that the attempts say.

    Args:
        attempts: Of base, unlearned, and reference or strangers, on probe and collateral rows.
        leaks: What each attempt gave away, in [0, 1].
        attack_families: Attack → family, in the order in which results stand.
        gate_tiers: Tiers that the verdict rests on.
        threshold: Leak above the floor that must be excluded to pass.
        fluency: Perplexities, as measured.
        replaced: Whether each attempt gives the answer that was to take the old one's place; None where there is none.
        tested: How the unlearned model is tested against base and reference; None: it is not.
    """
    new = replaced if replaced is not None else [None] * len(attempts)
    scored = [_Scored(attempt, leak, other) for attempt, leak, other in zip(attempts, leaks, new, strict=True)]
    of_concepts = [row for row in scored if row.attempt.attack != COLLATERAL]
    names = list(dict.fromkeys(row.attempt.concept for row in of_concepts))
    concepts = {
        name: _concept([row for row in of_concepts if row.attempt.concept == name], attack_families, gate_tiers, tested)
        for name in names
    }
    if len(names) > 1:
        concepts[ALL_CONCEPTS] = _concept(of_concepts, attack_families, gate_tiers, tested)
    return Measurements(
        concepts=concepts,
        collateral=_collateral([row for row in scored if row.attempt.attack == COLLATERAL]),
        fluency=fluency,
        verdict=_verdict(of_concepts, attack_families, gate_tiers, threshold),
    )


def measure_one(
    attempts: Sequence[Attempt],
    leaks: Sequence[float],
    *,
    attack_families: Mapping[str, str],
    gate_tiers: Sequence[str],
    threshold: float,
) -> OneMeasurements:
    """What the attempts of one model say where no model before it was asked.

    Args:
        attempts: Of ``model``, and of ``reference`` where there is one, on probe and collateral rows.
        leaks: What each attempt gave away, in [0, 1].
        attack_families: Attack → family, in the order in which results stand.
        gate_tiers: Tiers that the verdict rests on.
        threshold: Leak above the reference that must be excluded to pass.
    """
    scored = [_Scored(attempt, leak) for attempt, leak in zip(attempts, leaks, strict=True)]
    of_concepts = [row for row in scored if row.attempt.attack != COLLATERAL]
    names = list(dict.fromkeys(row.attempt.concept for row in of_concepts))
    groups = {name: [row for row in of_concepts if row.attempt.concept == name] for name in names}
    if len(names) > 1:
        groups[ALL_CONCEPTS] = of_concepts
    collateral = {tier: _split(scored, COLLATERAL, tier, apart=True) for tier in ("near", "middle", "far")}
    return OneMeasurements(
        concepts={name: _attacks_on_one(rows, attack_families) for name, rows in groups.items()},
        collateral={
            tier: OneCollateral(
                model=_rate(models["model"]),
                reference=_rate(models["reference"]) if "reference" in models else None,
            )
            for tier, models in collateral.items()
            if models
        },
        verdict=_verdict(of_concepts, attack_families, gate_tiers, threshold, asked="model")
        if any(row.attempt.model == "reference" for row in scored)
        else None,
    )


def _attacks_on_one(rows: Sequence[_Scored], families: Mapping[str, str]) -> dict[str, OneAttack]:
    tiers = sorted({row.attempt.tier for row in rows})
    found = {
        attack: {tier: _one_tier(models) for tier in tiers if (models := _split(rows, attack, tier))}
        for attack in families
    }
    return {attack: OneAttack(family=families[attack], tiers=results) for attack, results in found.items() if results}


def _one_tier(models: Mapping[str, _Facts]) -> OneTier:
    asked, reference = models["model"], models.get("reference")
    above = difference_bounds(*asked.paired(reference)) if reference else None
    return OneTier(
        model=_rate(asked),
        reference=_rate(reference) if reference else None,
        above=estimate_of(above) if above else None,
        worst_form=_mean(asked.worst.values()),
    )


def _by_fact(rows: Iterable[_Scored], *, apart: bool = False) -> _Facts:
    """Attempts by fact; with ``apart``, the same fact asked for two concepts counts twice."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        found[f"{row.attempt.subject}\0{row.attempt.fact}" if apart else row.attempt.fact].append(row.leak)
    return _Facts(
        means={fact: sum(values) / len(values) for fact, values in found.items()},
        worst={fact: max(values) for fact, values in found.items()},
        attempts=sum(map(len, found.values())),
    )


def _split(rows: Sequence[_Scored], attack: str, tier: str, *, apart: bool = False) -> dict[str, _Facts]:
    """Model → its facts, for one attack and tier; models that were asked nothing are left out."""
    models: dict[str, list[_Scored]] = defaultdict(list)
    for row in rows:
        if row.attempt.attack == attack and row.attempt.tier == tier:
            models[row.attempt.model].append(row)
    return {model: _by_fact(found, apart=apart) for model, found in models.items()}


def _concept(
    rows: Sequence[_Scored], families: Mapping[str, str], gate_tiers: Sequence[str], tested: SignificanceSettings | None
) -> ConceptResult:
    tiers = sorted({row.attempt.tier for row in rows})
    asked = {(attack, tier): models for attack in families for tier in tiers if (models := _split(rows, attack, tier))}
    tests = compare_models(_pair_models(asked, gate_tiers), tested) if tested else {}
    attacks = {}
    for attack, family in families.items():
        results = {
            tier: _tier(models, _replacement(rows, attack, tier), tests.get((attack, tier)))
            for (name, tier), models in asked.items()
            if name == attack
        }
        if results:
            attacks[attack] = AttackResult(family=family, tiers=results)
    gated = [
        (attack, result.residual)
        for attack, found in attacks.items()
        for tier, result in found.tiers.items()
        if tier in gate_tiers and result.residual is not None
    ]
    # Of attacks that left as much, the one that may have left most.
    worst = max(gated, key=lambda found: (found[1].value, found[1].high), default=None)
    return ConceptResult(
        attacks=attacks, worst_attack=worst[0] if worst else None, residual=worst[1] if worst else None
    )


def _pair_models(
    asked: Mapping[tuple[str, str], Mapping[str, _Facts]], gate_tiers: Sequence[str]
) -> dict[tuple[str, str], ModelPairs]:
    """The unlearned model beside the others, for every attack and tier that the verdict rests on."""
    return {
        (attack, tier): {
            model: models["unlearned"].paired(models[model]) for model in ("base", "reference") if model in models
        }
        for (attack, tier), models in asked.items()
        if tier in gate_tiers
    }


def _replacement(rows: Sequence[_Scored], attack: str, tier: str) -> Replacement | None:
    """The rates of the new answer, over the facts that have one."""
    having = [dataclasses.replace(row, leak=row.new) for row in rows if row.new is not None]
    models = _split(having, attack, tier)
    if "unlearned" not in models:
        return None
    reference = models.get("reference")
    return Replacement(
        base=_rate(models["base"]),
        unlearned=_rate(models["unlearned"]),
        reference=_rate(reference) if reference else None,
    )


def _tier(models: Mapping[str, _Facts], replacement: Replacement | None, tests: ModelTests | None) -> TierResult:
    base, unlearned, reference = models["base"], models["unlearned"], models.get("reference")
    floor = _floor_facts(models)
    shared = sorted(base.means.keys() & unlearned.means.keys() & floor.means.keys())
    remaining = residual(
        [unlearned.means[fact] for fact in shared],
        [floor.means[fact] for fact in shared],
        [base.means[fact] for fact in shared],
    )
    return TierResult(
        base=_rate(base),
        unlearned=_rate(unlearned),
        reference=_rate(reference) if reference else None,
        floor=floor_of(list(floor.means.values()), of_reference=reference is not None),
        residual=estimate_of(remaining) if remaining else None,
        worst_form=ByModel(
            base=_mean(base.worst.values()),
            unlearned=_mean(unlearned.worst.values()),
            reference=_mean(reference.worst.values()) if reference else None,
        ),
        replacement=replacement,
        tests=tests,
    )


def _floor_facts(models: Mapping[str, _Facts]) -> _Facts:
    """The floor fact by fact: the reference's, else the strangers'."""
    return models.get("reference") or models.get(STRANGERS) or _Facts({}, {}, 0)


def _rate(facts: _Facts) -> Rate:
    return rate_of(list(facts.means.values()), facts.attempts)


def _collateral(rows: Sequence[_Scored]) -> dict[str, CollateralResult]:
    results = {}
    for distance in ("near", "middle", "far"):
        here = [row for row in rows if row.attempt.tier == distance]
        if not here:
            continue
        models = {
            model: _by_fact((row for row in here if row.attempt.model == model), apart=True)
            for model in ("base", "unlearned", "reference")
            if any(row.attempt.model == model for row in here)
        }
        after, before = models["unlearned"].paired(models["base"])
        kept = ratio_interval(after, before)
        results[distance] = CollateralResult(
            base=_rate(models["base"]),
            unlearned=_rate(models["unlearned"]),
            reference=_rate(models["reference"]) if "reference" in models else None,
            kept=estimate_of(kept) if kept else None,
            worst=_worst_neighbour(here),
        )
    return results


def _worst_neighbour(rows: Sequence[_Scored]) -> Worst | None:
    """The subject that kept the smallest part of what base knew about it."""
    kept: dict[str, float] = {}
    for subject in sorted({row.attempt.subject for row in rows}):
        of_subject = [row for row in rows if row.attempt.subject == subject]
        before = _mean(row.leak for row in of_subject if row.attempt.model == "base")
        after = _mean(row.leak for row in of_subject if row.attempt.model == "unlearned")
        if before:
            kept[subject] = after / before
    if not kept:
        return None
    subject = min(kept, key=lambda name: kept[name])
    return Worst(subject=subject, value=kept[subject])


def gated_name(attack: str, tier: str, gate_tiers: Sequence[str]) -> str:
    """What an attack is called beside the verdict: with its tier where that rests on several."""
    return attack if len(gate_tiers) == 1 else f"{attack} ({tier.replace('_', ' ')})"


def _verdict(
    rows: Sequence[_Scored],
    families: Mapping[str, str],
    gate_tiers: Sequence[str],
    threshold: float,
    *,
    asked: str = "unlearned",
) -> VerdictResult:
    gated = []
    for tier in gate_tiers:
        for attack in families:
            models = _split(rows, attack, tier)
            if asked not in models:
                continue
            unlearned, floor = models[asked].paired(_floor_facts(models))
            gated.append(
                GatedAttack(name=gated_name(attack, tier, gate_tiers), unlearned=tuple(unlearned), floor=tuple(floor))
            )
    decision = decide(gated, threshold)
    return VerdictResult(
        outcome=decision.outcome,
        reasons=list(decision.reasons),
        facts_needed=decision.facts_needed,
        tiers=list(gate_tiers),
    )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0
