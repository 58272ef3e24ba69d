"""Grades attempts: what each reply gave away. Needs the attempts alone, so it can be done again at any time."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from concept_forget.measures.choices import find_option
from concept_forget.measures.graders import Expected, get_grader
from concept_forget.probe.attacks import ATTACKS
from concept_forget.probe.model_grading import CHOOSES_NOTHING, MODEL_GRADERS, ModelGrading
from concept_forget.records import Attempt, Example, Grade, to_json
from concept_forget.workspace import read_rows, write_text

FALLBACK = "answer"
"""Grades what another grader leaves."""


def graders_of(attempts: Sequence[Attempt], grader: str) -> list[str]:
    """The name of each attempt's grader: its attack's own, else the one that the config names.

    A choice falls to the answer grader where that one does not read letters.
    """
    own = {name: attack.grader for name, attack in ATTACKS.items() if attack.grader}
    lettered = FALLBACK if grader in CHOOSES_NOTHING else grader
    return [own.get(attempt.attack, lettered if attempt.options else grader) for attempt in attempts]


def grade_attempts(attempts: Sequence[Attempt], grader: str, models: ModelGrading | None = None) -> list[Grade]:
    """One grade per attempt, in their order. What the grader leaves, the answer grader takes.

    Args:
        attempts: The attempts.
        grader: Name of a grader, for attacks without one of their own.
        models: What graders need that ask a model.

    Raises:
        ConfigError: There is no such grader.
        ConceptForgetError: A grader's model cannot be used; see ``ModelGrading.grade``.
    """
    return settle_grades(attempts, grader, grade_by(attempts, grader, models))


def grade_by(attempts: Sequence[Attempt], grader: str, models: ModelGrading | None = None) -> list[Grade | None]:
    """What a grader itself says of each attempt; None where it says nothing, or the attempt is another grader's.

    Args:
        attempts: The attempts.
        grader: Name of a grader.
        models: What graders need that ask a model.
    """
    own = [place for place, name in enumerate(graders_of(attempts, grader)) if name == grader]
    found: list[Grade | None] = [None] * len(attempts)
    if grader in MODEL_GRADERS and models is not None:
        questions = models.questions
        cases = [
            (
                _said(attempts[place], grader),
                dataclasses.replace(
                    _expected(attempts[place]),
                    question=questions.get(attempts[place].example, _expected(attempts[place]).question),
                ),
            )
            for place in own
        ]
        for place, grade in zip(own, models.grade(grader, cases), strict=True):
            found[place] = grade
        return found
    function = get_grader(grader)
    for place in own:
        found[place] = function(_said(attempts[place], grader), _expected(attempts[place]))
    return found


def settle_grades(attempts: Sequence[Attempt], grader: str, found: Sequence[Grade | None]) -> list[Grade]:
    """The grades that count: where ``grader`` has none, those of the attack's own grader or of the answer grader."""
    grades = []
    for attempt, name, grade in zip(attempts, graders_of(attempts, grader), found, strict=True):
        if grade is None:
            other = get_grader(FALLBACK if name == grader else name)
            grade = other(_said(attempt, other.name), _expected(attempt))
            if name == grader:
                grade = dataclasses.replace(grade, reason=f"{_left(grader)}{grade.reason}")
        grades.append(grade)
    return _only_together(attempts, grades)


def is_left(grade: Grade, grader: str) -> bool:
    """Whether the answer grader gave this grade, since ``grader`` gave none."""
    return grade.reason.startswith(_left(grader))


def _left(grader: str) -> str:
    return f"no grade by {grader}; "


def _said(attempt: Attempt, grader: str) -> str:
    """What a reply says, with the opening that was forced on it."""
    if grader == "span":
        return attempt.reply  # what the model was given, it does not recite
    attack = ATTACKS.get(attempt.attack)
    if attack is not None and attack.first_line:
        return next((line for line in attempt.reply.splitlines() if line.strip()), "")
    return attempt.prefill + attempt.reply


def _expects(attempt: Attempt) -> tuple[str, ...]:
    attack = ATTACKS.get(attempt.attack)
    return attack.expects if attack else ()


def _only_together(attempts: Sequence[Attempt], grades: Sequence[Grade]) -> list[Grade]:
    """Replies that count together leak only if all of them are right: one answer to everything is no knowledge."""
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    counts: Counter[tuple[str, ...]] = Counter()
    for place, attempt in enumerate(attempts):
        if _expects(attempt):
            asked = (attempt.model, attempt.attack, attempt.example, str(attempt.sample))
            number = counts[*asked, attempt.expected]  # the first ones belong together, and so do the second ones
            counts[*asked, attempt.expected] += 1
            found[*asked, str(number)].append(place)
    joined = list(grades)
    for places in found.values():
        wanted = len(_expects(attempts[places[0]]))
        if len(places) == wanted and all(grades[place].leaked for place in places):
            continue
        for place in places:
            if grades[place].leaked:
                joined[place] = Grade(0.0, False, f"{grades[place].reason}, and so it does where that is wrong")
    return joined


def grade_replacements(attempts: Sequence[Attempt], replacements: Mapping[str, str]) -> list[Grade | None]:
    """What each reply says of the answer that is to take the old one's place; None where there is none.

    Args:
        attempts: The attempts.
        replacements: The new answer by the id of the row that was asked.
    """
    grade = get_grader("answer")
    found: list[Grade | None] = []
    for attempt in attempts:
        new = replacements.get(attempt.example)
        if new is None or _expects(attempt) or (attempt.options and find_option((new,), attempt.options) is None):
            found.append(None)
        else:
            expected = dataclasses.replace(_expected(attempt), answer=new, aliases=())
            found.append(grade(_said(attempt, "answer"), expected))
    return found


def new_answers(probe: Sequence[Example], facts: Path) -> dict[str, str]:
    """The answer that is to take the old one's place, by row, for rows that ask for a fact to be replaced.

    Args:
        probe: The rows of the probe.
        facts: The ``facts.jsonl`` that compose wrote.
    """
    if not facts.is_file():
        return {}
    lines = read_rows(facts)
    new = {line["id"]: line["replacement"] for line in lines if line.get("replacement")}
    return {row.id: row.counterfactual for row in probe if row.fact in new and row.counterfactual == new[row.fact]}


def _expected(attempt: Attempt) -> Expected:
    return Expected(
        answer=attempt.expected,
        aliases=attempt.aliases,
        question=attempt.prompt[-1]["content"] if attempt.prompt else attempt.prefill,
        options=attempt.options,
        subject=attempt.subject,
    )


def leak(grade: Grade, grader: str) -> float:
    """What counts towards a rate, in [0, 1]: whether the reply leaked, or for ROUGE-L the recall itself.

    TOFU's protocol reports mean ROUGE-L recall (Maini et al. 2024, §2.2), without a cut.
    """
    return grade.score if grader == "rouge_l" else float(grade.leaked)


def write_grades(
    path: Path,
    attempts: Sequence[Attempt],
    grades: Sequence[Grade],
    replaced: Sequence[Grade | None],
    beside: Mapping[str, Sequence[Grade | None]] | None = None,
) -> None:
    """Write ``grades.jsonl``: one line per attempt, in their order.

    A line has the new answer's grade where there is one, and what the graders say that decide nothing.
    """
    lines = []
    for place, (attempt, grade, new) in enumerate(zip(attempts, grades, replaced, strict=True)):
        line = {"attempt": attempt.id, **to_json(grade)}
        if new is not None:
            line["replacement"] = to_json(new)
        others = {name: to_json(found) for name, every in (beside or {}).items() if (found := every[place]) is not None}
        if others:
            line["beside"] = others
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))
