"""The result as a terminal table."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from concept_forget.console import plain_text
from concept_forget.measures.metrics import Metrics, WhiteBox, pooled_concept
from concept_forget.report.graders import (
    AGREEMENT_COLUMNS,
    AGREEMENT_MEANING,
    RATE_COLUMNS,
    agreement_rows,
    grader_rate_rows,
)
from concept_forget.report.repeated import LEAK_COLUMNS, TRIED_COLUMNS, leak_at_rows, tried_rows
from concept_forget.report.significance import TESTS_COLUMNS, TESTS_MEANING, tests_rows
from concept_forget.report.white_box import COLUMNS, white_box_rows
from concept_forget.report.wording import (
    DIVERSITY_COLUMNS,
    beside_verdict,
    diversity_rows,
    dose_name,
    dose_text,
    estimate_text,
    has_replacements,
    kept_text,
    outcome_text,
    percent,
    rate_text,
    round_rows,
    tier_name,
    tier_rows,
    verdict_reasons,
)

_COLOURS = {"passed": "green", "failed": "red", "inconclusive": "yellow"}


def print_metrics(
    data: Mapping[str, Any], console: Console | None = None, *, written: Mapping[str, Any] | None = None
) -> None:
    """Print the verdict and the tables of leaks, of collateral, and of what was written.

    Args:
        data: The content of ``metrics.json``.
        console: Where to; the standard output by default.
        written: What ``expand`` says of itself; None: nothing was written.
    """
    metrics = Metrics.model_validate(data)
    console = console or Console(width=None if Console().is_terminal else 130)
    concept = pooled_concept(metrics.concepts)
    console.print(_leaks(metrics, concept))
    _print_rows(console, f"Tests: {concept}", TESTS_COLUMNS, tests_rows(metrics, concept), TESTS_MEANING)
    _print_rows(console, f"What sampling brings out, leak@k: {concept}", LEAK_COLUMNS, leak_at_rows(metrics, concept))
    _print_rows(console, f"What searching brings out: {concept}", TRIED_COLUMNS, tried_rows(metrics, concept))
    _print_rows(console, "What each grader finds", RATE_COLUMNS, grader_rate_rows(metrics.graders))
    _print_rows(console, "How far graders agree", AGREEMENT_COLUMNS, agreement_rows(metrics.graders), AGREEMENT_MEANING)
    if metrics.rounds:
        console.print(_rounds(metrics))
    if has_replacements(metrics, concept):
        console.print(_replacements(metrics, concept))
    for attack, reason in metrics.not_made.items():
        console.print(plain_text(f"not made {attack}: {reason}"))
    _print_doses(metrics, console)
    if metrics.white_box is not None:
        _print_white_box(metrics.white_box, concept, console)
    console.print(_collateral(metrics))
    _print_diversity(written, console)
    _print_rest(metrics, console)


def _leaks(metrics: Metrics, concept: str) -> Table:
    """Rates of every attack and tier."""
    leaks = Table(title=plain_text(f"What is still there: {concept}", "table.title"), title_justify="left")
    for column in ("tier", "attack", "facts", "base", "unlearned", "floor", "residual", "part only"):
        leaks.add_column(column, justify="right" if column == "facts" else "left")
    last = ""
    for attack, tier, _, result in tier_rows(metrics, concept):
        if last and tier != last:
            leaks.add_section()
        leaks.add_row(
            tier_name(tier) if tier != last else "",
            plain_text(attack),
            str(result.unlearned.n),
            percent(result.base.rate),
            rate_text(result.unlearned),
            plain_text(f"{percent(result.floor.rate)} ({result.floor.kind})"),
            estimate_text(result.residual),
            percent(result.part.unlearned.rate) if result.part else "–",
        )
        last = tier
    return leaks


def _collateral(metrics: Metrics) -> Table:
    """What is kept of what the neighbours' questions ask."""
    kept = Table(title="What else was lost", title_justify="left")
    for column in ("neighbours", "facts", "base", "unlearned", "kept", "worst"):
        kept.add_column(column, justify="right" if column == "facts" else "left")
    for distance, collateral in metrics.collateral.items():
        worst = f"{collateral.worst.subject}: {percent(collateral.worst.value)}" if collateral.worst else "–"
        kept.add_row(
            plain_text(distance),
            str(collateral.unlearned.n),
            percent(collateral.base.rate),
            percent(collateral.unlearned.rate),
            kept_text(collateral.kept),
            plain_text(worst),
        )
    return kept


def _print_rest(metrics: Metrics, console: Console) -> None:
    """Fluency, cost and verdict."""
    fluency = metrics.fluency
    figures = ", ".join(
        f"{name} {value:.1f}"
        for name, value in (
            ("base", fluency.base),
            ("unlearned", fluency.unlearned),
            ("reference", fluency.reference),
        )
        if value is not None
    )
    console.print(f"fluency  perplexity of the replies under the base model: {figures}")
    ratio = metrics.cost.ratio_to_retrain
    if ratio is not None:
        console.print(f"cost     {ratio:.2g} × the floating-point operations of retraining")
    outcome = metrics.verdict.outcome
    console.print(plain_text("verdict  ").append_text(plain_text(outcome_text(metrics.verdict), _COLOURS[outcome])))
    for reason in (*verdict_reasons(metrics.verdict), *beside_verdict(metrics, pooled_concept(metrics.concepts))):
        console.print(plain_text(f"         {reason}"))


def _print_rows(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str | None = None
) -> None:
    if not rows:
        return
    table = Table(title=plain_text(title, "table.title"), title_justify="left", caption=caption, caption_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in ("facts", "k") else "left")
    for row in rows:
        table.add_row(*map(plain_text, row))
    console.print(table)


def _print_diversity(written: Mapping[str, Any] | None, console: Console) -> None:
    rows = diversity_rows(written)
    if not rows:
        return
    table = Table(title="What was written", title_justify="left")
    for column in DIVERSITY_COLUMNS:
        table.add_column(column, justify="left" if column == DIVERSITY_COLUMNS[0] else "right")
    for row in rows:
        table.add_row(*map(plain_text, row))
    console.print(table)


def _print_doses(metrics: Metrics, console: Console) -> None:
    """How much the probe finds in models between base and unlearned, and how little it still found."""
    for tier, curve in (metrics.dose_response or {}).items():
        table = Table(title=f"What the probe finds between base and unlearned: {tier_name(tier)}", title_justify="left")
        for column in ("model", "facts", "rate", "residual"):
            table.add_column(column, justify="right" if column == "facts" else "left")
        for dose in curve.doses:
            table.add_row(dose_name(dose.alpha), str(dose.rate.n), rate_text(dose.rate), estimate_text(dose.residual))
        console.print(table)
        console.print(dose_text(curve), markup=False, highlight=False)


def _print_white_box(white_box: WhiteBox, concept: str, console: Console) -> None:
    """What is read from the models, a table for each kind of score; the verdict does not rest on it."""
    rows = white_box_rows(white_box, concept)
    for group, lines in itertools.groupby(rows, lambda row: row.group):
        table = Table(title=plain_text(f"White-box, {concept}: {group}", "table.title"), title_justify="left")
        for column in COLUMNS:
            table.add_column(column, no_wrap=column != COLUMNS[-1])
        for row in lines:
            table.add_row(*map(plain_text, (row.score, row.base, row.unlearned, row.reference, row.says)))
        console.print(table)


def _rounds(metrics: Metrics) -> Table:
    """What each round left, and then each of its attacks."""
    rounds = metrics.rounds or []
    table = Table(title="Residual knowledge, round by round", title_justify="left")
    table.add_column("")
    for found in rounds:
        table.add_column(f"round {found.number}")
    for section in round_rows(rounds):
        for row in section:
            table.add_row(*map(plain_text, row))
        table.add_section()
    return table


def _replacements(metrics: Metrics, concept: str) -> Table:
    """How often the answer is given that was to take the old one's place, beside the old one."""
    table = Table(title=plain_text(f"What is said instead: {concept}", "table.title"), title_justify="left")
    for column in ("tier", "attack", "facts", "new: base", "new: unlearned", "new: reference", "old: unlearned"):
        table.add_column(column, justify="right" if column == "facts" else "left")
    for attack, tier, _, result in tier_rows(metrics, concept):
        if (new := result.replacement) is not None:
            rates = (rate_text(rate) for rate in (new.base, new.unlearned, new.reference, result.unlearned))
            table.add_row(tier_name(tier), plain_text(attack), str(new.unlearned.n), *rates)
    return table
