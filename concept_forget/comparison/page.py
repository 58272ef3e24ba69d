"""A comparison as one self-contained HTML page in the frame of the report: no request, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from concept_forget.comparison import wording
from concept_forget.comparison.results import TIERS, ArmResult
from concept_forget.comparison.scatter import Point, scatter_chart
from concept_forget.report.templates import page_environment
from concept_forget.report.wording import tier_name


def render_page(title: str, arms: Sequence[ArmResult], gap: tuple[str, str] | None = None) -> str:
    """The page as a string.

    Args:
        title: The heading; any text, it is escaped.
        arms: The results.
        gap: The arms between which the others are placed.
    """
    tiers = [tier for tier in TIERS if any(tier in arm.tiers for arm in arms)]
    points = [point for arm in arms if (point := _point(arm)) is not None]
    return page_environment(Path(__file__).parent).get_template("page.html.jinja").render(
        title=title,
        arms=arms,
        tiers=tiers,
        attacks={tier: list(dict.fromkeys(a for arm in arms if tier in arm.tiers for a in arm.tiers[tier].attacks))
                 for tier in tiers},
        chart=scatter_chart(points, "Forgotten, kept and cost of each arm") if points else None,
        gap=gap,
        gap_lines=list(wording.gap_lines(arms, gap)),
        tier_name=tier_name,
        words=wording,
    )  # fmt: skip


def _point(arm: ArmResult) -> Point | None:
    tier, near = arm.first_tier, arm.kept.get("near")
    if tier is None or tier.mean is None or near is None:
        return None
    return Point(arm.name, near.over_facts.value, 1 - tier.mean.over_facts.value, arm.seconds)
