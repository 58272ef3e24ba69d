"""The numbers of a comparison as people read them, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from concept_forget.comparison.results import ArmResult, TierOfArm
from concept_forget.measures.pooling import Pooled
from concept_forget.report.wording import percent

NOTHING = "–"


def residual_text(pooled: Pooled | None) -> str:
    """A residual with its interval over facts."""
    if pooled is None:
        return "not measurable"
    found = pooled.over_facts
    return f"{found.value:+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def spread_text(pooled: Pooled | None) -> str:
    """How far the worlds lie apart; nothing where there is but one."""
    if pooled is None or len(pooled.worlds) < 2:
        return ""
    return f"worlds {pooled.lowest:+.2f} to {pooled.highest:+.2f}"


def worst_text(tier: TierOfArm) -> str:
    """The attack that leaves most, and what it leaves."""
    found = tier.attacks.get(tier.worst) if tier.worst is not None else None
    return f"{tier.worst} {found.over_facts.value:+.2f}" if found else NOTHING


def kept_text(pooled: Pooled | None) -> str:
    """What neighbours kept, and the least that a world kept."""
    if pooled is None:
        return NOTHING
    lowest = f", least {percent(pooled.lowest)}" if len(pooled.worlds) > 1 else ""
    return percent(pooled.over_facts.value) + lowest


def number_text(value: float | None, form: str = ",.0f") -> str:
    """A plain number, or a dash where it is not known."""
    return NOTHING if value is None else format(value, form)


def gap_text(arm: ArmResult) -> str:
    """The share of the gap that an arm closes."""
    if arm.gap is None or arm.gap.closed is None:
        return NOTHING
    closed = arm.gap.closed
    return f"{percent(closed.value)} ({percent(closed.low)} to {percent(closed.high)})"


def gap_lines(arms: Sequence[ArmResult], gap: tuple[str, str] | None) -> Iterator[str]:
    """What the gap between two arms is, and whether anything can be said about closing it."""
    placed = next((arm.gap for arm in arms if arm.gap is not None), None)
    if gap is None or placed is None:
        return
    more = "more" if placed.size >= 0 else "less"
    yield f"{gap[0]} leaves {abs(placed.size):.2f} {more} residual knowledge than {gap[1]}"
    if placed.closed is None:
        yield "which is not clearly more than nothing over these facts: no share of it can be said to be closed"
