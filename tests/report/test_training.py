from __future__ import annotations

from concept_forget.report.training import tell_course

LOOK = {
    "step": 10, "loss": 1.5, "forget_loss": None, "retain_loss": 0.25, "validation_forget": 0.4, "validation_retain": 0.9,
    "validation_score": 0.36, "seconds": 12.4,
}  # fmt: skip


def test_each_look_is_a_point_on_three_lines_and_a_row() -> None:
    course = tell_course([{**LOOK, "step": 0}, LOOK], {"best_step": 10, "stop_reason": "all 10 steps done"})
    assert course is not None
    assert course.rows[1] == (
        "10 (kept)",
        "40\N{NO-BREAK SPACE}%",
        "90\N{NO-BREAK SPACE}%",
        "36\N{NO-BREAK SPACE}%",
        "1.5",
        "–",
        "0.25",
        "12",
    )
    assert course.chosen == 10
    chart = str(course.chart)
    assert chart.count('class="mark"') == 6
    for x, y in (("0.00%", "60.00%"), ("100.00%", "60.00%"), ("100.00%", "10.00%")):
        assert f'<svg x="{x}" y="{y}" class="mark">' in chart
    assert '<line class="chosen" x1="100.00%"' in chart
    assert "forgotten, 10: 40.0%" in chart


def test_without_validation_there_is_a_table_and_no_chart() -> None:
    bare = {**LOOK, "validation_forget": None, "validation_retain": None, "validation_score": None}
    course = tell_course([bare], None)
    assert course is not None
    assert course.chart is None
    assert course.rows[0][1:4] == ("–", "–", "–")


def test_a_method_without_training_has_no_course() -> None:
    assert tell_course([], {"best_step": None}) is None
