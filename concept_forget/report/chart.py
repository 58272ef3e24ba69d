"""Charts as HTML and inline SVG: they take colours from the page, and their words keep their size on a narrow screen.

Positions are shares of the width, so nothing is scaled. Style attributes are forbidden by the page's policy; geometry
stands in SVG's own attributes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup, escape

from concept_forget.measures.metrics import Rate

_BAR = 14
_TICKS = (0, 0.25, 0.5, 0.75, 1)


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """Bars that stand together: one per model, in [0, 1]."""

    label: str
    bars: tuple[tuple[str, Rate], ...]  # (series, rate)


def bar_chart(groups: Sequence[Group], description: str) -> Markup:
    """Horizontal bars from 0 to 100 %, each with its 95 % interval and its number.

    Each series has a class of its own (``bar-SERIES``) and a pattern beside its colour, its name stands before it, and
    each bar has a title that a pointer finds.
    """
    parts = []
    for group in groups:
        parts.append(f'<p class="group">{escape(group.label)}</p>')
        parts += [_bar(series, rate, group.label) for series, rate in group.bars]
    ticks = "".join(f'<text class="tick" x="{share:.0%}" y="11" text-anchor="{_anchor(share)}">{share:.0%}</text>'
                    for share in _TICKS if share != 0.25 and share != 0.75)  # fmt: skip
    return Markup(
        f'<div class="bars" role="img" aria-label="{escape(description)}">'
        f'<span></span><svg class="axis" width="100%" height="14" aria-hidden="true">{ticks}</svg><span></span>'
        + "".join(parts)
        + "</div>"
    )


def _anchor(share: float) -> str:
    return "start" if share == 0 else "end" if share == 1 else "middle"


def _bar(series: str, rate: Rate, label: str) -> str:
    title = escape(
        f"{label}, {series}: {rate.rate:.1%}, 95 % interval {rate.low:.1%} to {rate.high:.1%}, {rate.n} facts"
    )
    middle = _BAR / 2 + 2
    low, high = f"{100 * rate.low:.2f}%", f"{100 * rate.high:.2f}%"
    grid = "".join(f'<line class="grid" x1="{share:.0%}" x2="{share:.0%}" y1="0" y2="100%"/>' for share in _TICKS)
    return (
        f'<span class="series">{escape(series)}</span><svg width="100%" height="{_BAR + 4}">{grid}'
        f'<g class="bar-{escape(series)}"><title>{title}</title>'
        f'<rect x="0" y="2" width="{100 * rate.rate:.2f}%" height="{_BAR}" rx="2"/>'
        f'<line class="interval" x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>'
        f'<line class="interval" x1="{low}" x2="{low}" y1="{middle - 4}" y2="{middle + 4}"/>'
        f'<line class="interval" x1="{high}" x2="{high}" y1="{middle - 4}" y2="{middle + 4}"/>'
        f'</g></svg><span class="value">{rate.rate:.0%}</span>'
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart: its class and mark (``line-NAME``), its name, and its points, y in [0, 1]."""

    name: str
    label: str
    points: tuple[tuple[float, float], ...]


def line_chart(lines: Sequence[Line], across: str, marked: float | None, description: str) -> Markup:
    """Lines from 0 to 100 %, each with marks of its own; ``marked`` is a place across that is pointed out.

    Args:
        lines: The lines; together they hold at least one point.
        across: What the horizontal axis counts.
        marked: A value across, or None.
        description: What a screen reader says.
    """
    right = max((x for line in lines for x, _ in line.points), default=0) or 1
    grid = "".join(
        f'<line class="grid" x1="0" x2="100%" y1="{1 - share:.0%}" y2="{1 - share:.0%}"/>' for share in _TICKS
    )
    if marked is not None:
        grid += f'<line class="chosen" x1="{marked / right:.2%}" x2="{marked / right:.2%}" y1="0" y2="100%"/>'
    drawn = "".join(_line(line, right) for line in lines)
    return Markup(
        f'<div class="lines" role="img" aria-label="{escape(description)}">'
        '<div class="up" aria-hidden="true"><span>100%</span><span>50%</span><span>0%</span></div>'
        f'<svg width="100%" height="220">{grid}{drawn}</svg>'
        f'<div class="across" aria-hidden="true"><span>0</span><span>{escape(across)}</span>'
        f"<span>{right:g}</span></div></div>"
    )


def _line(line: Line, right: float) -> str:
    places = [(f"{x / right:.2%}", f"{1 - min(max(y, 0.0), 1.0):.2%}") for x, y in line.points]
    parts = [f'<line x1="{x}" y1="{y}" x2="{then_x}" y2="{then_y}"/>' for (x, y), (then_x, then_y) in pairwise(places)]
    for (x, y), (across, up) in zip(places, line.points, strict=True):
        title = escape(f"{line.label}, {across:g}: {up:.1%}")
        parts.append(
            f'<svg x="{x}" y="{y}" class="mark">{_MARKS.get(line.name, _MARKS[""])}<title>{title}</title></svg>'
        )
    return f'<g class="line-{escape(line.name)}">' + "".join(parts) + "</g>"


_MARKS = {
    "": '<circle r="3.5"/>',
    "kept": '<rect x="-3.5" y="-3.5" width="7" height="7"/>',
    "score": '<path d="M0 -4.5L4.5 3.5H-4.5Z"/>',
}
