"""All white-box scores of all models, as files and as metrics."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from concept_forget.measures.metrics import ALL_CONCEPTS, WhiteBox
from concept_forget.probe.white_box import WHITE_BOX, View, measure_white_box, white_box_named
from concept_forget.records import ModelSpec
from concept_forget.workspace import Costs


def measure(
    names: tuple[str, ...], specs: dict[str, ModelSpec], view: View, folder: Path, costs: Costs | None = None
) -> WhiteBox:
    return measure_white_box(
        white_box_named(names), specs, view, folder, cache=folder / "replies.sqlite", costs=costs or Costs(),
        batch_tokens=4096,
    )  # fmt: skip


@pytest.fixture
def few(view: View) -> View:
    """One concept's rows, so that three models are soon read."""
    name = view.concepts[0].name
    return dataclasses.replace(
        view,
        forget=[row for row in view.forget if row.concept == name],
        probe=[row for row in view.probe if row.concept == name],
        collateral=view.collateral[:6],
    )


def test_the_same_models_and_rows_give_the_same_bytes(few: View, specs: dict[str, ModelSpec], tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    first, second = (measure(("all",), specs, few, folder) for folder in (one, other))
    assert first == second
    for name in WHITE_BOX:
        assert (one / f"{name}.jsonl").read_bytes() == (other / f"{name}.jsonl").read_bytes()
        lines = (one / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        models = [json.loads(line)["model"] for line in lines]
        assert list(dict.fromkeys(models)) == ["base", "unlearned", "reference"]
    assert WhiteBox.model_validate_json(first.model_dump_json()) == first
    [concept] = first.concepts
    assert concept == few.concepts[0].name != ALL_CONCEPTS
    found = first.concepts[concept]
    assert found.membership is not None
    assert found.lens is not None
    assert found.memory is not None


def test_what_was_read_is_not_read_again(few: View, specs: dict[str, ModelSpec], tmp_path: Path) -> None:
    first = measure(("membership", "lens"), specs, few, tmp_path)
    nowhere = dict.fromkeys(specs, ModelSpec("nowhere", fingerprint="nothing"))
    costs = Costs()
    assert measure(("membership", "lens"), nowhere, few, tmp_path, costs) == first
    assert costs.requests == 0
    more = measure(("white_box",), specs, few, tmp_path, costs)
    assert costs.requests > 0
    assert more.concepts[few.concepts[0].name].membership == first.concepts[few.concepts[0].name].membership
    assert first.utility is None


def test_only_what_is_named_is_read(few: View, specs: dict[str, ModelSpec], tmp_path: Path) -> None:
    two, costs = {role: specs[role] for role in ("base", "unlearned")}, Costs()
    found = measure(("lens", "quick"), two, few, tmp_path, costs).concepts[few.concepts[0].name]
    assert costs.requests == 0
    assert costs.flops > 1e6 * costs.prompt_tokens > 0  # a forward pass takes two operations per weight and token
    assert found.membership is found.memory is None
    assert found.lens is not None
    assert found.lens["new_form"].reference is None
    assert [path.name for path in sorted(tmp_path.glob("*.jsonl"))] == ["lens.jsonl"]


def test_every_score_is_registered_with_what_it_is_and_where_it_comes_from() -> None:
    assert all(known.source and known.summary.endswith(".") for known in WHITE_BOX.values())
    assert [known.name for known in white_box_named("all")] == list(WHITE_BOX)
    assert white_box_named("white_box") == white_box_named("all")
    assert white_box_named("quick") == white_box_named(("direct", "asking")) == []
    assert [known.name for known in white_box_named(("direct", "memory", "lens"))] == ["lens", "memory"]
