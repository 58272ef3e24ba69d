"""Grades attempts: what each reply gave away. Needs the attempts alone, so it can be done again at any time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from concept_forget.measures.graders import Expected, get_grader
from concept_forget.records import Attempt, Grade, to_json
from concept_forget.workspace import write_text


def grade_attempts(attempts: Sequence[Attempt], grader: str) -> list[Grade]:
    """One grade per attempt, in their order.

    Args:
        attempts: The attempts.
        grader: Name of a registered grader.

    Raises:
        ConfigError: There is no such grader.
    """
    grade = get_grader(grader)
    grades = []
    for attempt in attempts:
        expected = Expected(
            answer=attempt.expected,
            aliases=attempt.aliases,
            question=attempt.prompt[-1]["content"] if attempt.prompt else "",
            options=attempt.options,
            subject=attempt.subject,
        )
        grades.append(grade(attempt.prefill + attempt.reply, expected))
    return grades


def leak(grade: Grade, grader: str) -> float:
    """What counts towards a rate, in [0, 1]: whether the reply leaked, or for ROUGE-L the recall itself.

    TOFU's protocol reports mean ROUGE-L recall (Maini et al. 2024, §2.2), without a cut.
    """
    return grade.score if grader == "rouge_l" else float(grade.leaked)


def write_grades(path: Path, attempts: Sequence[Attempt], grades: Sequence[Grade]) -> None:
    """Write ``grades.jsonl``: one line per attempt, in the attempts' order."""
    lines = [
        json.dumps({"attempt": attempt.id, **to_json(grade)}, ensure_ascii=False) + "\n"
        for attempt, grade in zip(attempts, grades, strict=True)
    ]
    write_text(path, "".join(lines))
