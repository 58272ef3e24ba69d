"""From graded attempts to rates, floors, residuals, collateral and the verdict."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from scipy.stats import beta

from concept_forget.measures.metrics import ALL_CONCEPTS, ByModel, Measurements
from concept_forget.probe.asking import COLLATERAL, STRANGERS
from concept_forget.probe.comparing import SignificanceSettings
from concept_forget.probe.measuring import measure
from concept_forget.records import Attempt

Row = tuple[Attempt, float]
FLUENCY = ByModel(base=1.0, unlearned=2.0, reference=None)


def attempts(
    model: str, leaks: Sequence[Sequence[float]], *, attack: str = "direct", tier: str = "new_form",
    concept: str = "Mira Kestrel", subject: str = "",
) -> list[Row]:  # fmt: skip
    """One attempt per number; the outer sequence goes over facts."""
    return [
        (
            Attempt(
                id=f"{model}{attack}{tier}{concept}{subject}{fact}.{number}", model=model, attack=attack, family="prompt",
                tier=tier, concept=concept, subject=subject or concept, fact=f"{concept}/{fact}", example="", sample=number,
                prompt=[], prefill="", reply="", finish_reason="stop", expected="Dunholm",
            ),
            leak,
        )
        for fact, values in enumerate(leaks)
        for number, leak in enumerate(values)
    ]  # fmt: skip


def measured(
    *groups: list[Row], gate_tiers: Sequence[str] = ("new_form",), threshold: float = 0.15,
    tested: SignificanceSettings | None = None,
) -> Measurements:  # fmt: skip
    rows = [row for group in groups for row in group]
    return measure(
        [attempt for attempt, _ in rows], [leak for _, leak in rows],
        attack_families={"direct": "prompt", "cloze": "prompt"}, gate_tiers=gate_tiers, threshold=threshold,
        fluency=FLUENCY, tested=tested,
    )  # fmt: skip


def ones(count: int) -> list[list[float]]:
    return [[1.0]] * count


def zeros(count: int) -> list[list[float]]:
    return [[0.0]] * count


def test_a_rate_is_the_mean_over_facts_of_the_mean_over_their_attempts() -> None:
    uneven = [[1.0, 1.0, 1.0, 0.0], [0.0], [0.0, 1.0]]  # 0.75, 0, 0.5; over attempts it would be 4 of 7
    result = measured(attempts("base", ones(3)), attempts("unlearned", uneven), attempts("reference", zeros(3)))
    tier = result.concepts["Mira Kestrel"].attacks["direct"].tiers["new_form"]
    assert tier.unlearned.rate == pytest.approx(1.25 / 3)
    assert (tier.unlearned.n, tier.unlearned.attempts) == (3, 7)
    assert tier.worst_form.unlearned == pytest.approx(2 / 3)
    assert tier.worst_form.base == 1.0
    assert result.fluency == FLUENCY


def test_nothing_of_fourteen_is_an_upper_bound_and_not_zero() -> None:
    result = measured(attempts("base", ones(14)), attempts("unlearned", zeros(14)), attempts("reference", zeros(14)))
    rate = result.concepts["Mira Kestrel"].attacks["direct"].tiers["new_form"].unlearned
    assert (rate.rate, rate.low) == (0, 0)
    assert rate.high == pytest.approx(beta.ppf(0.975, 1, 14), abs=0.02)  # Clopper-Pearson


def test_the_residual_is_measured_from_the_reference() -> None:
    unlearned = [*ones(10), *zeros(30)]
    reference = [*ones(4), *zeros(36)]
    result = measured(attempts("base", ones(40)), attempts("unlearned", unlearned), attempts("reference", reference))
    tier = result.concepts["Mira Kestrel"].attacks["direct"].tiers["new_form"]
    assert tier.floor.kind == "reference"
    assert tier.floor.rate == pytest.approx(0.1)
    assert tier.residual is not None
    assert tier.residual.value == pytest.approx((0.25 - 0.1) / (1 - 0.1))
    assert tier.residual.low < tier.residual.value < tier.residual.high


def test_under_the_floor_the_residual_is_negative() -> None:
    result = measured(
        attempts("base", ones(40)), attempts("unlearned", zeros(40)), attempts("reference", [*ones(10), *zeros(30)])
    )
    residual = result.concepts["Mira Kestrel"].attacks["direct"].tiers["new_form"].residual
    assert residual is not None
    assert residual.value == pytest.approx(-0.25 / 0.75)


def test_without_a_reference_strangers_are_the_floor() -> None:
    strangers = [[0.0, 0.0, 0.0, 0.0, 1.0], *[[0.0] * 5] * 19]
    result = measured(attempts("base", ones(20)), attempts("unlearned", zeros(20)), attempts(STRANGERS, strangers))
    tier = result.concepts["Mira Kestrel"].attacks["direct"].tiers["new_form"]
    assert tier.floor.kind == "strangers"
    assert tier.floor.rate == pytest.approx(0.2 / 20)
    assert tier.reference is None
    assert tier.worst_form.reference is None


def test_without_any_floor_nothing_is_claimed() -> None:
    result = measured(attempts("base", ones(20)), attempts("unlearned", zeros(20)))
    tier = result.concepts["Mira Kestrel"].attacks["direct"].tiers["new_form"]
    assert (tier.floor.n, tier.floor.high) == (0, 1)
    assert tier.residual is None


def test_where_base_is_not_clearly_above_the_floor_nothing_can_be_measured() -> None:
    some = [*ones(5), *zeros(15)]
    result = measured(attempts("base", some), attempts("unlearned", zeros(20)), attempts("reference", some[::-1]))
    assert result.concepts["Mira Kestrel"].attacks["direct"].tiers["new_form"].residual is None


def test_the_worst_attack_is_that_with_the_largest_residual_on_the_gated_tiers() -> None:
    def of(attack: str, tier: str, leaks: list[list[float]]) -> list[Row]:
        return [
            *attempts("base", ones(20), attack=attack, tier=tier),
            *attempts("unlearned", leaks, attack=attack, tier=tier),
            *attempts("reference", zeros(20), attack=attack, tier=tier),
        ]

    rows = [
        of("direct", "new_form", [*ones(2), *zeros(18)]),
        of("cloze", "new_form", [*ones(6), *zeros(14)]),
        of("direct", "new_fact", ones(20)),
    ]
    concept = measured(*rows).concepts["Mira Kestrel"]
    assert concept.worst_attack == "cloze"
    assert concept.residual is not None
    assert concept.residual.value == pytest.approx(0.3)
    assert measured(*rows, gate_tiers=("new_fact",)).concepts["Mira Kestrel"].worst_attack == "direct"


def test_of_attacks_that_left_as_much_the_worst_is_that_of_the_fewest_facts() -> None:
    rows = [
        [
            *attempts("base", ones(facts), attack=attack),
            *attempts("unlearned", zeros(facts), attack=attack),
            *attempts("reference", zeros(facts), attack=attack),
        ]
        for attack, facts in (("direct", 20), ("cloze", 12))
    ]
    concept = measured(*rows).concepts["Mira Kestrel"]
    assert concept.worst_attack == "cloze"
    assert concept.residual == concept.attacks["cloze"].tiers["new_form"].residual


def test_several_concepts_are_told_apart_and_together() -> None:
    def of(concept: str, leaks: list[list[float]]) -> list[Row]:
        return [
            *attempts("base", ones(len(leaks)), concept=concept),
            *attempts("unlearned", leaks, concept=concept),
            *attempts("reference", zeros(len(leaks)), concept=concept),
        ]

    result = measured(of("Mira Kestrel", ones(10)), of("Tobias Wren", zeros(30)))
    assert list(result.concepts) == ["Mira Kestrel", "Tobias Wren", ALL_CONCEPTS]
    rates = [c.attacks["direct"].tiers["new_form"].unlearned.rate for c in result.concepts.values()]
    assert rates == [1.0, 0.0, pytest.approx(0.25)]
    assert ALL_CONCEPTS not in measured(of("Mira Kestrel", ones(10))).concepts


@pytest.mark.parametrize(
    ("leaked", "outcome"), [(0, "passed"), (10, "inconclusive"), (60, "failed")], ids=["none", "some", "all"]
)
def test_the_verdict_rests_on_bounds(leaked: int, outcome: str) -> None:
    leaks = [*ones(leaked), *zeros(60 - leaked)]
    result = measured(attempts("base", ones(60)), attempts("unlearned", leaks), attempts("reference", zeros(60)))
    assert result.verdict.outcome == outcome
    assert (result.verdict.facts_needed is not None) == (outcome == "inconclusive")


def test_one_leaking_attack_keeps_the_others_from_passing() -> None:
    clean = [attempts("base", ones(60)), attempts("unlearned", zeros(60)), attempts("reference", zeros(60))]
    leaky = [
        attempts("base", ones(60), attack="cloze"),
        attempts("unlearned", ones(60), attack="cloze"),
        attempts("reference", zeros(60), attack="cloze"),
    ]
    verdict = measured(*clean, *leaky).verdict
    assert verdict.outcome == "failed"
    assert "cloze" in verdict.reasons[0]


def near(model: str, subject: str, leaks: list[list[float]]) -> list[Row]:
    return attempts(model, leaks, attack=COLLATERAL, tier="near", subject=subject)


def test_collateral_is_what_is_kept_of_what_base_knew() -> None:
    result = measured(
        attempts("base", ones(5)), attempts("unlearned", zeros(5)), attempts("reference", zeros(5)),
        near("base", "Ada Finch", ones(10)), near("unlearned", "Ada Finch", [*ones(8), *zeros(2)]),
        near("base", "Oren Vale", [*ones(5), *zeros(5)]), near("unlearned", "Oren Vale", [*ones(5), *zeros(5)]),
    )  # fmt: skip
    found = result.collateral["near"]
    assert found.base.n == 20  # the same fact of two subjects counts twice
    assert found.base.rate == pytest.approx(0.75)
    assert found.kept is not None
    assert found.kept.value == pytest.approx(0.65 / 0.75)
    assert found.worst is not None
    assert (found.worst.subject, found.worst.value) == ("Ada Finch", pytest.approx(0.8))
    assert found.reference is None
    assert list(result.collateral) == ["near"]
    assert "collateral" not in result.concepts["Mira Kestrel"].attacks


def test_of_a_neighbour_that_base_did_not_know_nothing_can_be_lost() -> None:
    result = measured(
        attempts("base", ones(5)), attempts("unlearned", zeros(5)), attempts("reference", zeros(5)),
        near("base", "Ada Finch", zeros(4)), near("unlearned", "Ada Finch", zeros(4)),
    )  # fmt: skip
    assert result.collateral["near"].kept is None
    assert result.collateral["near"].worst is None


def test_the_new_answer_is_counted_over_the_facts_that_have_one() -> None:
    groups = [attempts("base", ones(4)), attempts("unlearned", zeros(4)), attempts("reference", zeros(4))]
    rows = [row for group in groups for row in group]
    # Of four facts three are to be replaced; the unlearned model says the new answer for two of them.
    new = [0.0, 0.0, 0.0, None, 1.0, 1.0, 0.0, None, 0.0, 0.0, 1.0, None]
    result = measure(
        [attempt for attempt, _ in rows], [leak for _, leak in rows], attack_families={"direct": "prompt"},
        gate_tiers=("new_form",), threshold=0.15, fluency=FLUENCY, replaced=new,
    )  # fmt: skip
    tier = result.concepts["Mira Kestrel"].attacks["direct"].tiers["new_form"]
    assert tier.replacement is not None
    assert tier.replacement.reference is not None
    rates = [tier.replacement.base, tier.replacement.unlearned, tier.replacement.reference]
    assert [rate.rate for rate in rates] == [0, pytest.approx(2 / 3), pytest.approx(1 / 3)]
    assert {rate.n for rate in rates} == {3}
    assert (tier.unlearned.rate, tier.unlearned.n) == (0, 4)  # the old answer's rate is what it was


def test_without_anything_to_replace_nothing_is_said_of_it() -> None:
    result = measured(attempts("base", ones(4)), attempts("unlearned", zeros(4)), attempts("reference", zeros(4)))
    assert result.concepts["Mira Kestrel"].attacks["direct"].tiers["new_form"].replacement is None


def test_the_verdict_may_rest_on_chains() -> None:
    groups = [
        attempts(model, leaks, tier=tier)
        for tier, unlearned in (("new_form", zeros(60)), ("two_hop", ones(60)))
        for model, leaks in (("base", ones(60)), ("unlearned", unlearned), ("reference", zeros(60)))
    ]
    assert measured(*groups).verdict.outcome == "passed"
    verdict = measured(*groups, gate_tiers=("new_form", "two_hop")).verdict
    assert verdict.outcome == "failed"
    assert "two hop" in verdict.reasons[0]


def test_gated_tiers_are_tested_fact_by_fact_and_others_are_not() -> None:
    unlearned = [[1.0, 0.0]] * 12 + [[0.0, 0.0]] * 28
    groups = [
        attempts(model, leaks, tier=tier)
        for tier in ("new_form", "new_fact")
        for model, leaks in (("base", ones(40)), ("unlearned", unlearned), ("reference", zeros(40)))
    ]
    tiers = (
        measured(*groups, tested=SignificanceSettings(margin=0.1, seed=0))
        .concepts["Mira Kestrel"]
        .attacks["direct"]
        .tiers
    )
    assert tiers["new_fact"].tests is None
    tests = tiers["new_form"].tests
    assert tests is not None
    assert tests.base is not None
    assert tests.reference is not None
    assert tests.equivalence is not None
    assert tests.reference.p == pytest.approx(2 / 2**12)  # twelve facts that differ, all in the same sense
    assert tests.base.p == pytest.approx(2 / 10_000)
    assert tests.equivalence.difference == pytest.approx(0.15)
    assert (tests.equivalence.outcome, tests.equivalence.n) == ("undecided", 40)


def test_strangers_are_no_model_to_be_tested_against() -> None:
    groups = [attempts("base", ones(40)), attempts("unlearned", zeros(40)), attempts(STRANGERS, zeros(40))]
    tests = (
        measured(*groups, tested=SignificanceSettings(margin=0.1, seed=0))
        .concepts["Mira Kestrel"]
        .attacks["direct"]
        .tiers["new_form"]
        .tests
    )
    assert tests is not None
    assert tests.base is not None
    assert (tests.reference, tests.equivalence) == (None, None)
