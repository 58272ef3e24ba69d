"""The tests of the unlearned model against base and reference."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from concept_forget.config import Config
from concept_forget.measures.significance import permutation_p_value
from concept_forget.probe.comparing import ModelPairs, SignificanceSettings, compare_models
from concept_forget.records import named_seed

SETTINGS = SignificanceSettings(margin=0.10, seed=0)


def pair(unlearned: int, other: int, facts: int = 40) -> tuple[list[float], list[float]]:
    return [1.0] * unlearned + [0.0] * (facts - unlearned), [1.0] * other + [0.0] * (facts - other)


def pairs(**reference: tuple[list[float], list[float]]) -> dict[tuple[str, str], ModelPairs]:
    return {(attack, "new_form"): {"base": pair(0, 40), "reference": found} for attack, found in reference.items()}


def test_each_attack_is_tested_alone_and_corrected_for_the_others() -> None:
    found = compare_models(pairs(direct=pair(7, 0), cloze=pair(0, 0), reverse=pair(2, 0)), SETTINGS)
    p_values = [tests.reference.p for tests in found.values() if tests.reference]
    assert p_values == [pytest.approx(stats.binomtest(7, 7).pvalue), 1.0, pytest.approx(0.5)]
    adjusted = [tests.reference.adjusted for tests in found.values() if tests.reference]
    assert adjusted == [pytest.approx(3 * p_values[0]), 1.0, 1.0]
    against_base = [tests.base.adjusted for tests in found.values() if tests.base]
    assert against_base == [pytest.approx(3 * 2 / 10_000)] * 3  # a family of its own
    assert {name: tests.equivalence.outcome for (name, _), tests in found.items() if tests.equivalence} == {
        "direct": "undecided", "cloze": "alike", "reverse": "undecided",
    }  # fmt: skip


def test_of_many_attacks_on_models_that_leak_alike_one_alarms_no_more_often_than_promised() -> None:
    rng = np.random.default_rng(0)
    alone, corrected = [], []
    for _ in range(60):
        models: dict[tuple[str, str], ModelPairs] = {}
        for number in range(12):
            unlearned, reference = rng.binomial(8, rng.beta(2, 2, 11), (2, 11)) / 8
            models[f"attack {number}", "new_form"] = {"reference": (unlearned.tolist(), reference.tolist())}
        tested = [tests.reference for tests in compare_models(models, SETTINGS).values() if tests.reference]
        alone.append(any(test.p < 0.05 for test in tested))
        corrected.append(any(test.adjusted < 0.05 for test in tested))
    assert np.mean(corrected) <= 0.05 + 3 * (0.05 * 0.95 / 60) ** 0.5
    assert np.mean(alone) > 0.2  # what is corrected for


def test_the_margin_is_the_settings() -> None:
    wide = compare_models(pairs(direct=pair(2, 0)), SignificanceSettings(margin=0.2, seed=0))
    (tests,) = wide.values()
    assert tests.equivalence is not None
    assert (tests.equivalence.outcome, tests.equivalence.margin, tests.equivalence.n) == ("alike", 0.2, 40)
    assert tests.equivalence.difference == pytest.approx(0.05)


def test_too_few_facts_are_said_to_be_too_few() -> None:
    ((_, tests),) = compare_models(pairs(direct=pair(0, 0, facts=14)), SETTINGS).items()
    assert tests.equivalence is not None
    assert (tests.equivalence.outcome, tests.equivalence.p, tests.equivalence.facts_needed) == (
        "underpowered",
        None,
        29,
    )


def test_every_draw_has_a_seed_of_its_own() -> None:
    many = pair(22, 0, facts=60)[0], [0.0] * 20 + [1.0] * 12 + [0.0] * 28
    models: ModelPairs = {"base": many, "reference": many}
    found = compare_models({("direct", "new_form"): models, ("direct", "new_fact"): models}, SETTINGS)
    drawn = [test.p for tests in found.values() for test in (tests.base, tests.reference) if test]
    assert len(set(drawn)) > 1
    seed = named_seed(0, "permutation test", "reference", "direct", "new_fact")
    assert drawn[3] == permutation_p_value(*many, seed)


def test_without_a_reference_or_a_shared_fact_nothing_is_tested_against_it() -> None:
    ((_, alone),) = compare_models({("direct", "new_form"): {"base": pair(0, 40)}}, SETTINGS).items()
    assert (alone.reference, alone.equivalence) == (None, None)
    assert alone.base is not None
    ((_, apart),) = compare_models(
        {("direct", "new_form"): {"base": ([], []), "reference": ([], [])}}, SETTINGS
    ).items()
    assert (apart.base, apart.reference, apart.equivalence) == (None, None, None)


@pytest.mark.parametrize("margin", [0, 1, -0.1])
def test_a_margin_that_means_nothing_is_no_setting(margin: float) -> None:
    values = {"concept": {"name": "Mira Kestrel"}, "target": "m", "probe": {"margin": margin}}
    with pytest.raises(ValidationError, match=r"probe\.margin"):
        Config.model_validate(values)
