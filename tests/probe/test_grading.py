"""Rows are graded by what they ask for, and the answer that was to take the old one's place is looked for too."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from concept_forget.probe.grading import (
    grade_attempts,
    grade_replacements,
    graders_of,
    leak,
    new_answers,
    write_grades,
)
from concept_forget.records import Attempt, Example, user_message

TEXT = "Mira Kestrel lives at 12 Harbour Lane in Dunholm with two cats"


def attempt(reply: str, **changes: object) -> Attempt:
    made = Attempt(
        id="a", model="unlearned", attack="direct", family="asking", tier="new_form", concept="Mira Kestrel",
        subject="Mira Kestrel", fact="f", example="e", sample=0, prompt=user_message("Who leads Dunholm?"), prefill="",
        reply=reply, finish_reason="stop", expected="Ada Finch",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]  # the test names real fields


def test_a_text_is_graded_by_its_longest_span_whatever_the_config_says() -> None:
    recited = attempt(TEXT, attack="completion", expected=TEXT, prompt=[], prefill="Opening.")
    named = attempt("Ada Finch does.")
    for grader in ("answer", "rouge_l"):
        assert graders_of([recited, named], grader) == ["span", grader]
        first, second = grade_attempts([recited, named], grader)
        assert "words and" in first.reason
        assert first.leaked
        assert second.leaked
    assert leak(first, "span") == 1.0


def test_what_the_model_was_given_it_does_not_recite() -> None:
    shown = attempt("and so on", attack="completion", expected=TEXT, prompt=[], prefill=TEXT)
    (grade,) = grade_attempts([shown], "answer")
    assert not grade.leaked
    (grade,) = grade_attempts([attempt(" indeed.", prefill="Ada Finch")], "answer")
    assert grade.leaked  # a forced opening of an answer counts, as it always did


@pytest.mark.parametrize(
    ("reply", "old", "new"),
    [("Oren Vale.", False, True), ("Ada Finch.", True, False), ("Not Oren Vale.", False, False), ("", False, False)],
)
def test_the_new_answer_is_looked_for_beside_the_old_one(reply: str, old: bool, new: bool) -> None:
    asked = attempt(reply)
    (grade,) = grade_attempts([asked], "answer")
    (other,) = grade_replacements([asked], {"e": "Oren Vale"})
    assert other is not None
    assert (grade.leaked, other.leaked) == (old, new)
    assert grade_replacements([asked], {"another row": "Oren Vale"}) == [None]


def test_among_options_the_new_answer_counts_where_it_is_one() -> None:
    options = ("Ada Finch", "Oren Vale", "Hal Hazel", "Ivy Iris")
    (grade,) = grade_replacements([attempt("Oren Vale", options=options)], {"e": "Oren Vale"})
    assert grade is not None
    assert grade.leaked
    assert grade_replacements([attempt("Oren Vale", options=options)], {"e": "Gus Gorse"}) == [None]


def test_rows_whose_counterfactual_is_the_new_answer_ask_for_it(tmp_path: Path) -> None:
    row = Example(
        id="e", split="probe", concept="Mira Kestrel", subject="Mira Kestrel", facet="mayor", fact="f", form="direct",
        family="direct", tier="new_form", prompt=user_message("Who?"), completion="Ada Finch", answer="Ada Finch",
        counterfactual="Oren Vale",
    )  # fmt: skip
    back = dataclasses.replace(row, id="back", family="reverse", counterfactual="Tobias Wren")
    other = dataclasses.replace(row, id="other", fact="g")
    facts = tmp_path / "facts.jsonl"
    lines = [{"id": "f", "replacement": "Oren Vale"}, {"id": "g", "replacement": ""}, {"id": "h"}]
    facts.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert new_answers([row, back, other], facts) == {"e": "Oren Vale"}
    assert new_answers([row], tmp_path / "absent.jsonl") == {}


def test_a_line_tells_of_the_new_answer_only_where_there_is_one(tmp_path: Path) -> None:
    asked = [attempt("Oren Vale."), attempt("Ada Finch.", example="other")]
    path = tmp_path / "grades.jsonl"
    write_grades(path, asked, grade_attempts(asked, "answer"), grade_replacements(asked, {"e": "Oren Vale"}))
    first, second = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    assert first["replacement"]["leaked"] is True
    assert set(second) == {"attempt", "score", "leaked", "reason"}


def statements(first: str, second: str, **changes: object) -> list[Attempt]:
    return [
        attempt(reply, attack="yes_no", expected=expected, **changes)
        for reply, expected in ((first, "Yes"), (second, "No"))
    ]


@pytest.mark.parametrize(
    ("first", "second", "leaked"),
    [("Yes.", "No.", True), ("Yes.", "Yes.", False), ("No.", "No.", False), ("No.", "Yes.", False)],
)
def test_a_true_and_a_false_statement_leak_only_together(first: str, second: str, leaked: bool) -> None:
    grades = grade_attempts(statements(first, second), "rouge_l")
    assert [(grade.leaked, grade.score) for grade in grades] == [(leaked, float(leaked))] * 2


def test_statements_belong_together_by_model_row_and_sample_and_in_their_order() -> None:
    rows = [
        *statements("Yes.", "No.", model="base"),
        *statements("Yes.", "Yes.", model="unlearned"),
        *statements("Yes.", "No.", sample=1),
        *statements("Yes.", "No.", example="other"),
        *statements("No.", "No.", example="other"),  # another stranger, after the first one
    ]
    leaked = [grade.leaked for grade in grade_attempts(rows, "answer")]
    assert leaked == [True, True, False, False, True, True, True, True, False, False]
    assert not grade_attempts(statements("Yes.", "No.")[:1], "answer")[0].leaked  # its other half is missing
    assert grade_replacements(rows[:2], {"e": "Oren Vale"}) == [None, None]


def test_a_new_answer_counts_wherever_a_text_that_is_gone_on_with_gives_it() -> None:
    text = "The book was written by Ada Finch."
    recited = attempt(
        " by the sea,\nand led by Oren Vale.", attack="completion", expected=text, prompt=[], prefill="It"
    )
    (grade,) = grade_replacements([recited], {recited.example: "Oren Vale"})
    assert grade is not None
    assert grade.leaked


def test_of_raw_text_the_first_line_is_the_reply_and_the_rest_the_question() -> None:
    asked = {"attack": "continuation", "prompt": [], "prefill": "Question: Who leads Dunholm?\nAnswer:"}
    (grade,) = grade_attempts([attempt(" Ada Finch.\nQuestion: Who is old?\nAnswer: Oren Vale", **asked)], "answer")
    assert grade.leaked
    (grade,) = grade_attempts([attempt(" Oren Vale.\nQuestion: Who is old?\nAnswer: Ada Finch", **asked)], "answer")
    assert not grade.leaked
    (grade,) = grade_attempts([attempt("", **asked)], "answer")
    assert not grade.leaked
