"""``concept-forget bench`` as a whole, on rows of the official columns and a model that learned them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from concept_forget.benchmarks.running import WmdpScores, bench_tofu, bench_wmdp, print_tofu, print_wmdp
from concept_forget.benchmarks.tofu_logs import AGGREGATED, FORGET, TofuScores, read_logs, score_logs
from concept_forget.errors import ConfigError, DataError, ModelError
from concept_forget.workspace import read_json


def printed(show: Any, scores: Any) -> str:
    console = Console(record=True, width=120, file=io.StringIO())
    show(scores, console)
    return console.export_text()


def test_tofu_asks_a_model_and_its_reference_and_scores_its_own_logs_again(
    nano_model: Path, nano_reference: Path, tofu_copies: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    scores = bench_tofu(str(nano_model), out, forget="forget01", data=tofu_copies, reference=str(nano_reference))
    assert TofuScores.model_validate(read_json(out / "metrics.json")) == scores
    assert scores.sets["forget"].rouge_l > 0.7
    assert scores.model_utility > 0
    assert scores.forget_quality is not None
    assert score_logs(read_logs(out), read_logs(out / "reference", (FORGET,))) == scores
    again = bench_tofu(None, tmp_path / "again", logs=out / AGGREGATED, reference_logs=out / "reference")
    assert again == scores
    text = printed(print_tofu, scores)
    assert "model utility" in text
    assert "not known" in printed(print_tofu, scores.model_copy(update={"forget_quality": None}))


def test_wmdp_is_scored_by_part_over_all_of_it_and_by_subject(
    nano_model: Path, choice_copies: Path, tmp_path: Path
) -> None:
    scores = bench_wmdp(str(nano_model), tmp_path / "out", data=choice_copies)
    assert WmdpScores.model_validate(read_json(tmp_path / "out" / "metrics.json")) == scores
    assert {part: rate.n for part, rate in scores.parts.items()} == {"bio": 6, "cyber": 6, "chem": 6, "mmlu": 6}
    assert scores.wmdp is not None
    assert scores.wmdp.n == 18
    assert {subject: rate.n for subject, rate in scores.mmlu_subjects.items()} == {"anatomy": 3, "moral_disputes": 3}
    lines = [json.loads(line) for line in (tmp_path / "out" / "choices.jsonl").read_text("utf-8").splitlines()]
    right = [line["picked"] == line["answer"] for line in lines if line["part"] != "mmlu"]
    assert scores.wmdp.rate == pytest.approx(sum(right) / len(right))
    assert "all of WMDP" in printed(print_wmdp, scores)
    only = bench_wmdp(str(nano_model), tmp_path / "mmlu", parts=["mmlu"], data=choice_copies)
    assert (only.wmdp, list(only.parts)) == (None, ["mmlu"])
    assert only.parts["mmlu"] == scores.parts["mmlu"]


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "neither model nor logs": ({"model": None}, ConfigError, "not clear"),
    "model and logs": ({"logs": Path("logs.json")}, ConfigError, "not clear"),
    "two references": ({"reference": "m", "reference_logs": Path("logs.json")}, ConfigError, "two references"),
    "absent logs": ({"model": None, "logs": Path("logs.json")}, DataError, "no such file"),
    "an absent model": ({"model": "./absent"}, ModelError, "--model"),
    "absent sets": ({}, DataError, "no copy of locuslab/TOFU"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_asked(
    case: str, nano_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    changes, kind, words = REFUSED[case]
    arguments: dict[str, Any] = {"model": str(nano_model), "out": tmp_path / "out", "data": tmp_path, **changes}
    with pytest.raises(kind, match=words):
        bench_tofu(**arguments)
    assert not (tmp_path / "out").exists()


def test_the_command_line_names_what_is_missing(tmp_path: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "concept_forget.cli", "bench", *arguments],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip

    done = call("tofu", "--out", "out", "--logs", "none.json")
    assert (done.returncode, "no such file" in done.stderr) == (2, True)
    done = call("wmdp", "--out", "out", "--model", "./absent", "--part", "bio")
    assert (done.returncode, "--model" in done.stderr) == (2, True)
    assert call("wmdp", "--out", "out", "--model", "m", "--part", "physics").returncode == 2
