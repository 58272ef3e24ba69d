"""Rows in the columns of TOFU, WMDP and MMLU about people whom the nano model knows, and copies of the sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concept_forget.benchmarks.tofu_logs import FORGET, REAL_AUTHORS, RETAIN, WORLD_FACTS
from concept_forget.sandbox.world import build_world

Rows = list[dict[str, Any]]

NAMES = {
    RETAIN: "retain_perturbed", REAL_AUTHORS: "real_authors_perturbed", WORLD_FACTS: "world_facts_perturbed",
    FORGET: "forget01_perturbed",
}  # fmt: skip


def world_rows(count: int) -> Rows:
    """Rows of TOFU's columns about people whom the nano model knows."""
    world = build_world(0, "nano")
    facts = [fact for fact in world.facts if fact.subject.kind == "person"]
    rows = []
    for fact in facts[:count]:
        wrong = [other.answer for other in facts if other.relation == fact.relation and other.answer != fact.answer]
        rows.append(
            {
                "question": fact.fill(fact.relation.taught[0]),
                "answer": fact.answer,
                "paraphrased_answer": f"It is {fact.answer}.",
                "perturbed_answer": [f"It is {answer}." for answer in wrong[:3]],
                "paraphrased_question": "",
            }
        )
    return rows


def write_sets(folder: Path, count: int = 4) -> Path:
    """Copies of the four sets, in the columns that they have on the hub."""
    folder.mkdir(exist_ok=True)
    for log, name in NAMES.items():
        rows = world_rows(count)
        for row in rows if log in (REAL_AUTHORS, WORLD_FACTS) else ():
            del row["paraphrased_answer"]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return folder


def world_choices(count: int) -> Rows:
    """Rows of WMDP's columns, the right answer now here and now there."""
    world = build_world(0, "nano")
    facts = [fact for fact in world.facts if fact.subject.kind == "person"]
    rows = []
    for number, fact in enumerate(facts[:count]):
        wrong = [other.answer for other in facts if other.relation == fact.relation and other.answer != fact.answer]
        options = [*dict.fromkeys(wrong), "none", "no one", "unknown"][:3]
        options.insert(number % 4, fact.answer)
        rows.append({"question": f" {fact.fill(fact.relation.taught[0])}\n", "choices": options, "answer": number % 4})
    return rows


def write_parts(folder: Path, count: int = 6) -> Path:
    """Copies of WMDP and MMLU, laid out as on the hub."""
    for name in ("wmdp/wmdp-bio", "wmdp/wmdp-cyber", "wmdp/wmdp-chem", "mmlu/all"):
        (folder / name).mkdir(parents=True)
        rows = world_choices(count)
        if name == "mmlu/all":
            rows = [
                {**row, "subject": "moral_disputes" if number % 2 else "anatomy"} for number, row in enumerate(rows)
            ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name / "test-00000-of-00001.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def tofu_rows() -> Callable[[int], Rows]:
    return world_rows


@pytest.fixture
def tofu_copies(tmp_path: Path) -> Path:
    return write_sets(tmp_path / "tofu")


@pytest.fixture
def choice_rows() -> Callable[[int], Rows]:
    return world_choices


@pytest.fixture
def choice_copies(tmp_path: Path) -> Path:
    return write_parts(tmp_path / "choices")
