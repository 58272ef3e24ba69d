"""What a task of lm-eval calls: its rows, the grade of a reply, and the rate over facts.

``concept_forget.exports.lm_eval`` copies this module and all that it imports into the task's folder, so that the
task grades by the same rules wherever it is taken. Nothing may be imported here that lm-eval does not bring itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concept_forget.measures.graders import Expected, get_grader

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = ("question", "system", "answer", "aliases", "options", "subject", "fact", "grader", "id")
"""What a row of a task holds; all are texts but ``aliases`` and ``options``, which are lists of them."""


def read_task(folder: Path, file: str) -> dict[str, Dataset]:
    """The rows of a task as lm-eval takes them, its only split called ``test``.

    Args:
        folder: The task's folder.
        file: JSON lines in it. Read as they are: ``datasets`` would take some texts for dates.
    """
    from datasets import Dataset, Features, List, Value

    lines = (folder / file).read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    lists = ("aliases", "options")
    features = {name: List(Value("string")) if name in lists else Value("string") for name in COLUMNS}
    kept = [{name: row[name] for name in COLUMNS} for row in rows]
    return {"test": Dataset.from_list(kept, features=Features(features))}


def grade_reply(row: Mapping[str, Any], replies: Sequence[str]) -> dict[str, Any]:
    """What the first reply gives away, as ``accuracy``, and again beside its fact, as ``rate``.

    Args:
        row: A row of the task.
        replies: The model's.

    Returns:
        Both metrics of the row; a number is 0 or 1, or for ROUGE-L the recall.
    """
    name = str(row["grader"])
    expected = Expected(
        answer=row["answer"],
        aliases=tuple(row["aliases"]),
        question=row["question"],
        options=tuple(row["options"]),
        subject=row["subject"],
    )
    grade = get_grader(name)(replies[0], expected)
    value = grade.score if name == "rouge_l" else float(grade.leaked)
    return {"accuracy": value, "rate": (row["fact"], value)}


def rate_over_facts(graded: Sequence[tuple[str, float]]) -> float:
    """The mean over facts of the mean over a fact's rows: a fact that is asked ten times counts once.

    Args:
        graded: Fact and number of each row.
    """
    facts: dict[str, list[float]] = {}
    for fact, value in graded:
        facts.setdefault(fact, []).append(value)
    return sum(sum(values) / len(values) for values in facts.values()) / len(facts)
