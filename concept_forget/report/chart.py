"""A bar chart with intervals, as inline SVG that takes its colours from the page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from markupsafe import Markup, escape

from concept_forget.measures.metrics import Rate

_BAR = 16
_GAP = 4
_GROUP_GAP = 18
_LEFT = 190
_WIDTH = 760
_TOP = 26


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """Bars that stand together: one per model, in [0, 1]."""

    label: str
    bars: tuple[tuple[str, Rate], ...]  # (series, rate)


def bar_chart(groups: Sequence[Group], description: str) -> Markup:
    """Horizontal bars from 0 to 100 %, each with its 95 % interval.

    Each series has a class of its own (``bar-SERIES``) and a pattern beside its colour, and each bar a title that a
    pointer or a screen reader finds.
    """
    span = _WIDTH - _LEFT - 60
    parts: list[str] = []
    y = _TOP
    for group in groups:
        height = len(group.bars) * (_BAR + _GAP) - _GAP
        parts.append(
            f'<text class="label" x="{_LEFT - 10}" y="{y + height / 2 + 4:.1f}" text-anchor="end">'
            f"{escape(group.label)}</text>"
        )
        for series, rate in group.bars:
            parts.append(_bar(series, rate, y, span, group.label))
            y += _BAR + _GAP
        y += _GROUP_GAP - _GAP
    bottom = y - _GROUP_GAP + 6
    lines = [_grid_line(share, span, bottom) for share in (0, 0.25, 0.5, 0.75, 1)]
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {bottom + 4}" role="img" aria-label="{escape(description)}">'
        + "".join(lines + parts)
        + "</svg>"
    )


def _bar(series: str, rate: Rate, y: float, span: float, label: str) -> str:
    middle = y + _BAR / 2
    width = max(rate.rate * span, 1.0)
    low, high = _LEFT + rate.low * span, _LEFT + rate.high * span
    title = escape(
        f"{label}, {series}: {rate.rate:.1%}, 95 % interval {rate.low:.1%} to {rate.high:.1%}, {rate.n} facts"
    )
    return (
        f'<g class="bar-{escape(series)}"><title>{title}</title>'
        f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="2"/>'
        f'<path class="interval" d="M{low:.1f} {middle}H{high:.1f}'
        f'M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8"/></g>'
    )


def _grid_line(share: float, span: float, bottom: float) -> str:
    x = _LEFT + share * span
    return (
        f'<path class="grid" d="M{x:.1f} {_TOP - 8}V{bottom}"/>'
        f'<text class="tick" x="{x:.1f}" y="{_TOP - 12}" text-anchor="middle">{share:.0%}</text>'
    )
