"""What sampling and searching brought out, in the terminal and on the page."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from concept_forget.config import Config
from concept_forget.measures.metrics import (
    AttackResult,
    ByModel,
    ConceptResult,
    Cost,
    Estimate,
    Floor,
    LeakAtK,
    Metrics,
    Rate,
    TierResult,
    VerdictResult,
)
from concept_forget.report.page import render_page
from concept_forget.report.repeated import leak_at_rows, tried_rows
from concept_forget.report.terminal import print_metrics

HOSTILE = "<b>Mira</b> [red]"
COST = Cost(seconds={}, flops={}, peak_memory_bytes={}, ratio_to_retrain=None)


def rate(value: float) -> Rate:
    return Rate(rate=value, low=max(0, value - 0.1), high=min(1, value + 0.1), n=12, attempts=96)


def metrics(*, reference: bool = True, **changes: Any) -> Metrics:
    below = rate(0.02) if reference else None
    tier = TierResult(
        base=rate(0.9),
        unlearned=rate(0.125),
        reference=below,
        floor=Floor(kind="reference" if reference else "strangers", rate=0.02, low=0, high=0.1, n=12),
        residual=None,
        worst_form=ByModel(base=1, unlearned=0.5),
    ).model_copy(update=changes)
    return Metrics(
        concepts={
            HOSTILE: ConceptResult(
                attacks={"sampling": AttackResult(family="sampling", tiers={"new_form": tier})},
                worst_attack=None,
                residual=None,
            )
        },
        collateral={},
        fluency=ByModel(base=1.0, unlearned=1.0),
        verdict=VerdictResult(outcome="passed", reasons=[], facts_needed=None),
        cost=COST,
    )


def at(k: int, unlearned: float, excess: Estimate | None) -> LeakAtK:
    floor = Floor(kind="strangers", rate=0.04, low=0, high=0.1, n=12)
    return LeakAtK(k=k, base=rate(0.9), unlearned=rate(unlearned), reference=None, floor=floor, excess=excess)


CURVE = [at(1, 0.125, Estimate(value=0.085, low=-0.01, high=0.2)), at(16, 0.55, None)]
TRIED = ByModel(base=0.97, unlearned=0.42, reference=0.08)


def shown(found: Metrics) -> tuple[str, str]:
    console = Console(record=True, width=220, file=io.StringIO())
    print_metrics(found.model_dump(), console)
    config = Config.model_validate({"concepts": [{"name": HOSTILE}], "target": "m"})
    return console.export_text(), render_page(found, "title", config, {})


def test_a_row_for_each_k_has_the_models_and_the_excess_over_the_floor_at_that_k() -> None:
    first, last = leak_at_rows(metrics(leak_at=CURVE), HOSTILE)
    assert first[1:4] == ("sampling", "12", "1")
    assert first[4:] == (
        "90\N{NO-BREAK SPACE}% (80 to 100\N{NO-BREAK SPACE}%)",
        "12\N{NO-BREAK SPACE}% (2.5 to 22\N{NO-BREAK SPACE}%)",
        "4.0\N{NO-BREAK SPACE}% (strangers)",
        "+0.09 (-0.01 to +0.20)",
    )
    assert (last[3], last[-1]) == ("16", "not measurable")


def test_a_search_has_a_row_for_what_counts_and_one_for_all_that_was_tried() -> None:
    best, any_of_them = tried_rows(metrics(any_tried=TRIED), HOSTILE)
    assert [cell.replace("\N{NO-BREAK SPACE}", "") for cell in best[3:]] == ["the best-scored", "90%", "12%", "2.0%"]
    assert [cell.replace("\N{NO-BREAK SPACE}", "") for cell in any_of_them[3:]] == ["any tried", "97%", "42%", "8.0%"]
    without = tried_rows(metrics(any_tried=ByModel(base=1, unlearned=1), reference=False), HOSTILE)
    assert [row[-1] for row in without] == ["–", "–"]


def test_terminal_and_page_show_both_and_nothing_of_them_where_there_is_neither() -> None:
    for text in shown(metrics(leak_at=CURVE, any_tried=TRIED)):
        assert "leak@k" in text
        assert "+0.09 (-0.01 to +0.20)" in text
        assert "any tried" in text
        assert "the best-scored" in text
    for text in shown(metrics()):
        assert "leak@k" not in text
        assert "any tried" not in text
    terminal, page = shown(metrics(leak_at=CURVE))
    assert HOSTILE in terminal
    assert HOSTILE not in page
