"""Names and texts that others wrote, in the terminal's tables."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from concept_forget.measures.metrics import VerdictResult, Worst
from concept_forget.measures.one_model import OneModel
from concept_forget.planning import print_summary
from concept_forget.report.one_model import print_one_model
from concept_forget.report.terminal import print_metrics
from concept_forget.workspace import write_json
from tests.report.test_report import metrics
from tests.test_console import HOSTILE, shown_plainly


@pytest.mark.parametrize("text", HOSTILE)
def test_no_table_of_results_heeds_what_is_in_a_name(text: str) -> None:
    found = metrics(text)
    near = found.collateral["near"].model_copy(update={"worst": Worst(subject=text, value=0.5)})
    verdict = VerdictResult(outcome="failed", reasons=[text], facts_needed=None)
    changes = {"collateral": {"near": near}, "verdict": verdict, "not_made": {text: text}}
    out = io.StringIO()
    print_metrics(
        found.model_copy(update=changes).model_dump(mode="json"), Console(file=out, force_terminal=True, width=400)
    )
    assert shown_plainly(text, out.getvalue()) >= 4


@pytest.mark.parametrize("text", HOSTILE)
def test_no_table_of_a_single_model_does(text: str) -> None:
    verdict = VerdictResult(outcome="failed", reasons=[text], facts_needed=None)
    one = OneModel(
        concepts={text: {}}, collateral={}, verdict=verdict, model="m", reference=None, not_known=[text],
        attacks_without_questions=[text], graders=None,
    )  # fmt: skip
    out = io.StringIO()
    print_one_model(one, Console(file=out, force_terminal=True, width=400))
    assert shown_plainly(text, out.getvalue()) == 4


@pytest.mark.parametrize("text", HOSTILE)
def test_no_summary_of_a_stage_does(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "summary.json", {"encoder": text, text: 1, "several": {text: 2}})
    out = io.StringIO()
    monkeypatch.setattr("concept_forget.planning.Console", lambda: Console(file=out, force_terminal=True, width=400))
    print_summary("mine", tmp_path)
    assert shown_plainly(text, out.getvalue()) == 3
