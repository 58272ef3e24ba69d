from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def test_the_text_for_a_pull_request_holds_verdict_table_collateral_and_cost(make_page: Callable[..., Path]) -> None:
    text = (make_page() / "report.md").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    lines = text.splitlines()
    assert lines[0] == "## Mira Kestrel, Oren Vale"
    assert lines[2].startswith("**Failed: the model still gives the concept away; the worst attack, direct, left ")
    assert "interval +0.10 to +0.40" in lines[2].replace("\\", "")
    tables = [line for line in lines if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables[:4]} == {10}
    assert {line.replace("\\|", "").count("|") for line in tables[4:]} == {7}
    assert "| trained facts, new forms | direct | 30 | 100 % (90 to 100 %) | 20 % (10 to 30 %) |" in text
    assert "near | 30 |" in text
    assert (
        "Cost: expand 2.5 s, mine 2.5 s, compose 2.5 s, unlearn 2.5 s, probe 2.5 s; against retraining not known."
        in text
    )
    assert "<img" not in text
    assert "<script" not in text
    assert "\x1b" not in text
