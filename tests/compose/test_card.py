from __future__ import annotations

from typing import Any

import pytest

from concept_forget.compose.card import COLUMNS, describe_model, write_card
from concept_forget.compose.dataset import SPLITS, row_features
from concept_forget.config import GeneratorConfig, ModelChoice
from concept_forget.errors import ConceptForgetError


def test_the_card_explains_every_column() -> None:
    assert list(COLUMNS) == list(row_features())


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        (ModelChoice(model="org/model"), "org/model"),
        (ModelChoice(model="/some/where/models/mine/"), "mine"),
        (ModelChoice(model="./mine"), "mine"),
        (ModelChoice(sandbox={"world": 3}), "sandbox world 3 (standard), seed 0"),
        (ModelChoice(sandbox={"teach": "/data/rows.jsonl", "seed": 2}), "a tiny model taught rows.jsonl, seed 2"),
        (GeneratorConfig(engine="none"), "none"),
        (GeneratorConfig(engine="target"), "the base model itself"),
        (GeneratorConfig(engine="transformers", model="/models/writer"), "writer"),
    ],
)
def test_a_model_is_called_by_its_name_and_not_by_its_place(choice: Any, name: str) -> None:
    assert describe_model(choice) == name


def summary(**changes: Any) -> dict[str, Any]:
    counts = {"total": 3, "trained": 2, "validation": 0, "new_fact": 1}
    return {
        "facts": counts,
        "rows": {s: {"total": 0 if s == "collateral" else 4, "by_source": {"user": 1}} for s in SPLITS},
        "tiers": {"new_form": {"direct": {"facts": 7, "facts_unfiltered": 9}}},
        "knowledge": {"filtered": True, "facts": 9, "known": 7, "unknown": 2, "not_asked": 0},
        "walls": {"probe": {"says": "No row does.", "holds": True, "rows_checked": 12}},
        "notes": ["far: too few"],
        **changes,
    }


def test_the_card_says_what_was_made_of_what_and_what_holds(kit: Any) -> None:
    card = write_card(kit.config(target="/models/base", data={"forget": ["a.jsonl", "b.jsonl"]}), summary())
    for line in (
        "# Forget and retain sets: Mira Kestrel",
        "| forget | 4 |",
        "not listed above: collateral.",
        "knowledge is to go: base\n",
        "given: forget 2\n",
        "| new_form | direct | 7 | 9 |",
        "- **probe**: No row does. (rows checked: 12)",
        "Those not known were left out.",
        "## Licence",
        "- far: too few.",
    ):
        assert line in card
    assert "/models" not in card


def test_an_unknown_set_is_a_fault(kit: Any) -> None:
    with pytest.raises(ConceptForgetError, match="strangers"):
        write_card(kit.config(), summary(rows={"strangers": {"total": 1}}))
