"""A finished run of rows that a user gave: no generator, so that its texts can be as awkward as they like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from concept_forget import load_config, run
from concept_forget.exports.finished import SPLITS, FinishedSets, read_finished
from concept_forget.records import Example

ANSWERS = (
    '=SUM(A1:A9) "quoted", with a comma',
    "+49 30 1234; -7 \\ a backslash",
    "two\nlines\r\nand a third",
    "Zoë — 漢字 — 🜁 — نص",
    "tab\there | a bar",
    "line\u2028separator and nul-free",
    "2012-01-01",
    "@handle {{ not a template }}",
    "<b>no markup</b> [bold]nor this[/bold]",
    "plain Dunholm",
)
TEXT = (
    "Mira Kestrel kept a log.\n\nIts first line reads: “=1+1”, and the second, in Zoë's hand,\n\tis indented; nobody "
    "knows why the two lines were never read aloud together."
)


def forget_rows() -> list[dict[str, Any]]:
    """A row for each answer, with paraphrases, and two texts."""
    rows: list[dict[str, Any]] = [
        {
            "question": f"What is item {number} of Mira Kestrel?",
            "answer": answer,
            "subject": "Mira Kestrel",
            "facet": f"item {number}",
            "refusal": f"I cannot\nsay that, “{number}”.",
            "paraphrases": [f"Item {number}, for Mira Kestrel, is?", f"Mira Kestrel's item {number}: tell me."],
        }
        for number, answer in enumerate(ANSWERS)
    ]
    return [*rows, {"text": TEXT, "subject": "Mira Kestrel"}, {"text": "Mira Kestrel maps.", "subject": "Mira Kestrel"}]


def other_rows(name: str, count: int) -> list[dict[str, Any]]:
    return [
        {"question": f"Where does {name} keep box {number}?", "answer": f"=shelf “{number}” of {name}", "subject": name}
        for number in range(count)
    ]


def chat_rows() -> list[dict[str, Any]]:
    """Rows that bring a system message, several turns, and two questions in a row."""
    system = {"role": "system", "content": "Answer\nbriefly."}
    asked = [{"role": "user", "content": f"Question {number} about Fenna Ost?"} for number in range(3)]
    said = {"role": "assistant", "content": "So it is."}
    prompts = ([system, asked[0]], [system, asked[0], said, asked[1]], [asked[1], asked[2]])
    return [{"prompt": p, "completion": f"reply {n}", "subject": "Fenna Ost"} for n, p in enumerate(prompts)]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, nano_model: Path) -> Path:
    """The folder of a run whose stage compose is finished."""
    place = tmp_path_factory.mktemp("exports")
    stays = [*other_rows("Fenna Ost", 6), *chat_rows(), {"text": "Fenna Ost keeps\nboxes.", "subject": "Fenna Ost"}]
    config = {
        "concept": {"name": "Mira Kestrel", "kind": "person", "description": "A cartographer."},
        "target": str(nano_model),
        "generator": {"engine": "none", "prompts": "compact"},
        "data": {
            "forget": write_lines(place / "forget.jsonl", forget_rows()),
            "retain": write_lines(place / "retain.jsonl", stays),
            "collateral": write_lines(place / "collateral.jsonl", other_rows("Viggo Tann", 4)),
        },
        "compose": {"knowledge_filter": False},
        "output": str(place / "runs" / "my-rows"),
    }
    (place / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    return run(load_config(place / "config.yaml"), until="compose").folder


@pytest.fixture(scope="session")
def sets(finished_run: Path) -> FinishedSets:
    return read_finished(finished_run)


@pytest.fixture(scope="session")
def rows(sets: FinishedSets) -> list[Example]:
    """The rows of all five sets, as compose wrote them."""
    return [row for split in SPLITS for row in sets.rows[split]]
