"""What a single model gives away, as a terminal table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from concept_forget.console import plain_text
from concept_forget.measures.metrics import pooled_concept
from concept_forget.measures.one_model import OneModel
from concept_forget.report.graders import AGREEMENT_COLUMNS, RATE_COLUMNS, agreement_rows, grader_rate_rows
from concept_forget.report.wording import (
    TIERS,
    estimate_text,
    outcome_text,
    rate_text,
    tier_name,
    verdict_reasons,
)


def print_one_model(metrics: OneModel, console: Console | None = None) -> None:
    """Print the rates of a model, those of its reference, the verdict, and what a single model does not show.

    Args:
        metrics: What the probe found.
        console: Where to; the standard output by default.
    """
    console = console or Console(width=None if Console().is_terminal else 130)
    concept = pooled_concept(metrics.concepts)
    columns = ("reference", "above it") if metrics.reference is not None else ()
    leaks = Table(title=plain_text(f"What the model gives away: {concept}", "table.title"), title_justify="left")
    for column in ("tier", "attack", "facts", "model", *columns):
        leaks.add_column(column, justify="right" if column == "facts" else "left")
    for tier in TIERS:
        for attack, result in metrics.concepts[concept].items():
            if (found := result.tiers.get(tier)) is not None:
                beside = (rate_text(found.reference), estimate_text(found.above)) if columns else ()
                leaks.add_row(tier_name(tier), plain_text(attack), str(found.model.n), rate_text(found.model), *beside)
    console.print(leaks)
    if metrics.collateral:
        kept = Table(title="What it knows of the neighbours", title_justify="left")
        for column in ("neighbours", "facts", "model", *columns[:1]):
            kept.add_column(column, justify="right" if column == "facts" else "left")
        for distance, other in metrics.collateral.items():
            rates = [rate_text(rate) for rate in (other.model, other.reference) if rate is not None]
            kept.add_row(plain_text(distance), str(other.model.n), *rates)
        console.print(kept)
    _print_rows(console, "What each grader finds", RATE_COLUMNS, grader_rate_rows(metrics.graders))
    _print_rows(console, "How far graders agree", AGREEMENT_COLUMNS, agreement_rows(metrics.graders))
    if metrics.verdict is not None:
        console.print(plain_text(f"verdict  {outcome_text(metrics.verdict)}"))
        for reason in verdict_reasons(metrics.verdict):
            console.print(plain_text(f"         {reason}"))
    for line in metrics.not_known:
        console.print(plain_text(f"unknown  {line}"))
    if metrics.attacks_without_questions:
        console.print(plain_text(f"no rows  for {', '.join(metrics.attacks_without_questions)}"))


def _print_rows(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column == "facts" else "left")
    for row in rows:
        table.add_row(*map(plain_text, row))
    console.print(table)
