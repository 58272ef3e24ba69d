from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from concept_forget.config import Config
from concept_forget.measures.metrics import ByModel
from concept_forget.probe.asking import COLLATERAL, plan_questions
from concept_forget.probe.attacks import attacks_named
from concept_forget.probe.measuring import measure
from concept_forget.probe.rounds import PREVIOUS, measure_previous, plan_previous
from concept_forget.records import Attempt, Example, user_message

CONFIG = Config.model_validate(
    {"concept": {"name": "Ada"}, "target": "a-model", "generator": {"engine": "target"}, "rounds": 2}
)
FAMILIES = {"direct": "asking", "cloze": "asking"}
Row = tuple[Attempt, float]


def attempts(model: str, leaks: Sequence[float], attack: str = "direct") -> list[Row]:
    return [
        (
            Attempt(
                id=f"{model}{attack}{number}", model=model, attack=attack, family="", tier="new_form", concept="Ada",
                subject="Ada", fact=f"f{number}", example=f"e{number}", sample=0, prompt=[], prefill="", reply="",
                finish_reason="stop", expected="Rome",
            ),
            leak,
        )
        for number, leak in enumerate(leaks)
    ]  # fmt: skip


def test_the_model_before_is_measured_as_if_it_were_the_unlearned_one() -> None:
    before = [1.0] * 12 + [0.0] * 8
    shared = [
        row
        for attack in FAMILIES
        for row in (*attempts("base", [1.0] * 20, attack), *attempts("reference", [0.0] * 20, attack))
    ]
    own = [*attempts(PREVIOUS, before), *attempts(PREVIOUS, [0.0] * 20, "cloze")]
    rows = [*shared, *attempts("unlearned", [0.0] * 20), *attempts("unlearned", [1.0] * 20, "cloze"), *own,
            *attempts("base", [1.0], COLLATERAL)]  # fmt: skip
    found = measure_previous([attempt for attempt, _ in rows], [leak for _, leak in rows], FAMILIES, CONFIG)
    assert found.concepts["Ada"].worst_attack == "direct"
    assert found.concepts["Ada"].residual is not None
    assert found.concepts["Ada"].residual.value == pytest.approx(0.6)
    alone = [*shared, *attempts("unlearned", before), *attempts("unlearned", [0.0] * 20, "cloze")]
    expected = measure(
        [attempt for attempt, _ in alone], [leak for _, leak in alone], attack_families=FAMILIES,
        gate_tiers=("new_form",), threshold=0.15, fluency=ByModel(base=None, unlearned=None),
    )  # fmt: skip
    assert found == expected


def test_the_model_before_is_asked_about_the_concepts_alone() -> None:
    def row(**changes: Any) -> Example:
        values: dict[str, Any] = {
            "id": "x", "split": "probe", "concept": "Ada", "subject": "Ada", "facet": "", "fact": "f", "form": "direct",
            "family": "direct", "tier": "new_form", "prompt": user_message("Where?"), "completion": "Rome",
            "answer": "Rome", **changes,
        }  # fmt: skip
        return Example(**values)

    questions = plan_questions(attacks_named(["direct"]), [row()], [row(id="y", split="collateral", tier="near")], 0)
    assert [question.attack for question in questions] == ["direct", COLLATERAL]
    assert plan_previous(questions) == questions[:1]
