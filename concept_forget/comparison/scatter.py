"""Forget against retain against cost, as inline SVG that takes its colours from the page."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from markupsafe import Markup, escape

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 130, 16, 44
_WIDTH, _HEIGHT = 760, 420
_SMALLEST, _LARGEST = 4.0, 12.0
_LINE = 16.0  # from one label to the next


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """An arm: what was kept and what was forgotten, 1 being all of it, and what it cost (None: not known)."""

    label: str
    kept: float
    forgotten: float
    cost: float | None


def scatter_chart(points: Sequence[Point], description: str) -> Markup:
    """Points with what was kept to the right and what was forgotten upwards; the area of each is its cost.

    Axes begin at the quarter below the least point, so that points that lie close can be told apart, and reach to 1 or
    as far beyond as a point does. Each point has a title that a pointer or a screen reader finds.
    """
    left, right = _reach([point.kept for point in points])
    low, top = _reach([point.forgotten for point in points])
    dearest = max((point.cost for point in points if point.cost is not None), default=0.0)

    def place(kept: float, forgotten: float) -> tuple[float, float]:
        x = _LEFT + (kept - left) / (right - left) * (_WIDTH - _LEFT - _RIGHT)
        y = _TOP + (top - forgotten) / (top - low) * (_HEIGHT - _TOP - _BOTTOM)
        return x, y

    parts = []
    for share in _ticks(left):
        x, _ = place(share, low)
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{share:.0%}</text>'
        )
    for share in _ticks(low):
        _, y = place(left, share)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    heights = _apart([place(point.kept, point.forgotten)[1] for point in points])
    drawn = sorted(zip(points, heights, strict=True), key=lambda pair: -(pair[0].cost or 0))
    for point, height in drawn:  # small ones on top of large ones
        parts.append(_mark(point, *place(point.kept, point.forgotten), height, dearest))
    across, down = (_LEFT + _WIDTH - _RIGHT) / 2, (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(f'<text x="{across:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">near neighbours kept</text>')
    parts.append(f'<text transform="translate(14 {down:.0f}) rotate(-90)" text-anchor="middle">forgotten</text>')
    return Markup(
        f'<svg class="scatter" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(description)}">'
        + "".join(parts)
        + "</svg>"
    )


def _reach(values: Sequence[float]) -> tuple[float, float]:
    least = min(values)
    begin = min(0.75, math.floor(4 * least - 0.1) / 4) if least > 0.1 else min(0.0, least)
    return begin, max(1.0, *values)


def _ticks(least: float) -> list[float]:
    """Six places from the least to 1, in steps of 5 % or a multiple of it where that is a quarter."""
    return [least + (1 - least) * part / 5 for part in range(6)]


def _apart(heights: Sequence[float]) -> list[float]:
    """Where labels stand, from the heights of their points: moved down as far as it takes to read them all."""
    found = list(heights)
    last = -math.inf
    for index in sorted(range(len(found)), key=lambda index: found[index]):
        last = found[index] = max(found[index], last + _LINE)
    return found


def _mark(point: Point, x: float, y: float, label_y: float, dearest: float) -> str:
    share = math.sqrt(point.cost / dearest) if point.cost and dearest else 0.0
    radius = _SMALLEST + share * (_LARGEST - _SMALLEST)
    cost = f", {point.cost:.0f} s" if point.cost is not None else ""
    title = escape(f"{point.label}: forgotten {point.forgotten:.0%}, kept {point.kept:.0%}{cost}")
    return (
        f'<g class="arm"><title>{title}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        f'<text x="{x + radius + 4:.1f}" y="{label_y + 4:.1f}">{escape(point.label)}</text></g>'
    )
