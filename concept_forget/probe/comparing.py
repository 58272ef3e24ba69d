"""Tests of the unlearned model against base and reference: each attack by itself, and corrected for their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from concept_forget.measures.metrics import DifferenceTest, EquivalenceTest, ModelTests
from concept_forget.measures.significance import judge_equivalence, permutation_p_value
from concept_forget.measures.statistics import holm
from concept_forget.records import named_seed

ModelPairs = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Model → the unlearned model's per-fact rates and its own, over the facts that both were asked, in one order."""


@dataclass(frozen=True, slots=True)
class SignificanceSettings:
    """The margin within which models count as alike, and the seed from which every test derives its own."""

    margin: float
    seed: int


def compare_models(
    pairs: Mapping[tuple[str, str], ModelPairs], settings: SignificanceSettings
) -> dict[tuple[str, str], ModelTests]:
    """Test every attack and tier; the p-values against one model are corrected together (Holm 1979).

    The floor that invented strangers give is no model's answer to the same question, and is not tested against. That
    all attacks are alike needs no correction: each of them has to be.

    Args:
        pairs: (attack, tier) → the pairs; a model without shared facts is left out.
        settings: Margin and seed.
    """
    against_base = _test_against("base", pairs, settings)
    against_reference = _test_against("reference", pairs, settings)
    return {
        key: ModelTests(
            base=against_base.get(key),
            reference=against_reference.get(key),
            equivalence=_judge(models["reference"], settings.margin) if key in against_reference else None,
        )
        for key, models in pairs.items()
    }


def _test_against(
    model: str, pairs: Mapping[tuple[str, str], ModelPairs], settings: SignificanceSettings
) -> dict[tuple[str, str], DifferenceTest]:
    asked = {key: models[model] for key, models in pairs.items() if model in models and models[model][0]}
    p_values = [
        permutation_p_value(unlearned, other, named_seed(settings.seed, "permutation test", model, *key))
        for key, (unlearned, other) in asked.items()
    ]
    return {
        key: DifferenceTest(p=p_value, adjusted=adjusted)
        for key, p_value, adjusted in zip(asked, p_values, holm(p_values), strict=True)
    }


def _judge(rates: tuple[Sequence[float], Sequence[float]], margin: float) -> EquivalenceTest:
    found = judge_equivalence(*rates, margin)
    return EquivalenceTest(
        outcome=found.outcome,
        margin=margin,
        difference=found.value,
        lower=found.lower,
        upper=found.upper,
        p=found.p_value,
        n=found.n,
        facts_needed=found.facts_needed,
    )
