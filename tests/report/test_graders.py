from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from concept_forget.measures.metrics import Agreement, Estimate, GradersResult
from concept_forget.measures.one_model import OneModel
from concept_forget.report import stage
from concept_forget.report.graders import AGREEMENT_COLUMNS, RATE_COLUMNS, agreement_rows, grader_rate_rows
from concept_forget.report.one_model import print_one_model
from concept_forget.report.page import render_page
from concept_forget.report.terminal import print_metrics
from concept_forget.workspace import Costs, StageContext, read_json, write_json
from tests.report.test_report import config, measurements, metrics, rate, read


@pytest.fixture
def graders() -> GradersResult:
    pair = {"first": "answer", "second": "judge", "facts": 44}
    return GradersResult(
        decides="answer",
        ungraded={"answer": 0, "judge": 3},
        rates={"answer": {"base": rate(0.9), "unlearned": rate(0.0)}, "judge": {"base": rate(0.8)}},
        agreement=[
            Agreement(
                **pair, model="all", both=40, first_only=5, second_only=2, neither=41,
                kappa=Estimate(value=0.841, low=0.7, high=0.93),
            ),
            Agreement(**pair, model="unlearned", both=0, first_only=0, second_only=0, neither=44, kappa=None),
        ],
    )  # fmt: skip


def test_the_rows_say_who_decides_what_is_missing_and_where_nothing_varies(graders: GradersResult) -> None:
    assert [row[:3] for row in grader_rate_rows(graders)] == [
        ("answer (decides)", "base", "44"),
        ("answer (decides)", "unlearned", "44"),
        ("judge, 3 replies not graded", "base", "44"),
    ]
    assert [row[3][:2] for row in grader_rate_rows(graders)] == ["90", "0\N{NO-BREAK SPACE}", "80"]
    assert agreement_rows(graders) == [
        ("answer, judge", "all", "44", "40", "5", "2", "41", "0.84 (0.70 to 0.93)"),
        ("answer, judge", "unlearned", "44", "0", "0", "0", "44", "no variation"),
    ]
    assert grader_rate_rows(None) == agreement_rows(None) == []
    assert {len(row) for row in grader_rate_rows(graders)} == {len(RATE_COLUMNS)}
    assert {len(row) for row in agreement_rows(graders)} == {len(AGREEMENT_COLUMNS)}


def test_page_terminal_and_metrics_show_the_graders(graders: GradersResult, tmp_path: Path) -> None:
    found = metrics().model_copy(update={"graders": graders})
    page = read(render_page(found, "Mira", config(), {})).text
    console = Console(record=True, width=160, file=io.StringIO())
    print_metrics(found.as_json(), console)
    for text in (page, console.export_text()):
        assert "What each grader finds" in text
        assert "How far graders agree" in text
        assert "0.84 (0.70 to 0.93)" in text
        assert "judge, 3 replies not graded" in text
    assert "graders agree" not in read(render_page(metrics(), "Mira", config(), {})).text
    write_json(
        tmp_path / "probe" / "measurements.json",
        measurements().model_copy(update={"graders": graders}).model_dump(mode="json"),
    )
    write_json(tmp_path / "probe" / "stage.json", {"seconds": 1, "flops": 0, "peak_memory_bytes": 1})
    context = StageContext(
        config=config(), folder=tmp_path / "report", inputs={"probe": tmp_path / "probe"}, models={},
        cache=tmp_path / "c.sqlite", costs=Costs(),
    )  # fmt: skip
    context.folder.mkdir()
    stage.run(context)
    kept = read_json(context.folder / "metrics.json")["graders"]
    assert GradersResult.model_validate(kept) == graders
    assert json.dumps(kept)


def test_a_single_models_table_shows_them_too(graders: GradersResult) -> None:
    one = OneModel(
        concepts={"Mira": {}}, collateral={}, verdict=None, model="m", reference=None, not_known=[],
        attacks_without_questions=[], graders=graders,
    )  # fmt: skip
    console = Console(record=True, width=160, file=io.StringIO())
    print_one_model(one, console)
    assert "0.84 (0.70 to 0.93)" in console.export_text()
