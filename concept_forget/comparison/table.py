"""A comparison as a terminal table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from concept_forget.comparison import wording
from concept_forget.comparison.results import TIERS, ArmResult
from concept_forget.console import plain_text
from concept_forget.measures.pooling import Pooled
from concept_forget.report.wording import tier_name
from concept_forget.text import counted


def print_comparison(
    arms: Sequence[ArmResult], gap: tuple[str, str] | None = None, console: Console | None = None
) -> None:
    """Print one line per arm, and what has to be known to read them.

    Args:
        arms: The results.
        gap: The arms between which the others are placed.
        console: Where to; the standard output by default.
    """
    console = console or Console(width=None if Console().is_terminal else 150)
    tiers = [tier for tier in TIERS if any(tier in arm.tiers for arm in arms)]
    table = Table(title="Residual knowledge, arm by arm", title_justify="left", show_lines=True)
    for column, right in (
        ("arm", False),
        ("runs", True),
        *((f"{tier_name(tier)}: mean over attacks, worst attack", False) for tier in tiers),
        ("forget tokens", True),
        ("taken away per 1,000", True),
        ("near kept", False),
        ("perplexity ratio", True),
        ("seconds", True),
        *([("gap closed", False)] if gap else []),
    ):
        table.add_column(column, justify="right" if right else "left")
    for arm in arms:
        table.add_row(
            plain_text(arm.name),
            str(len(arm.worlds)),
            *(plain_text(_tier_cell(arm, tier)) for tier in tiers),
            wording.number_text(arm.forget_tokens),
            wording.number_text(arm.reduction, ".2f"),
            wording.kept_text(arm.kept.get("near")),
            wording.number_text(arm.fluency, ".2f"),
            wording.number_text(arm.seconds),
            *([plain_text(wording.gap_text(arm))] if gap else []),
        )
    console.print(table)
    for line in wording.gap_lines(arms, gap):
        console.print(plain_text(f"gap      {line}"))
    console.print(
        "         residual: 0 is ignorance, 1 the base model; in brackets 95 % intervals over the facts of all runs, "
        "which do not cover seeds and worlds; the worlds' own lowest and highest stand below",
        highlight=False,
    )


def _tier_cell(arm: ArmResult, tier: str) -> str:
    found = arm.tiers.get(tier)
    if found is None:
        return wording.NOTHING
    lines = [
        wording.residual_text(found.mean),
        _spread(found.mean),
        wording.worst_text(found),
        counted(found.facts, "fact"),
    ]
    return "\n".join(line for line in lines if line)


def _spread(mean: Pooled | None) -> str:
    return wording.spread_text(mean)
