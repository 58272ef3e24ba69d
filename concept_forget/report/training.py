"""The course of training as a chart and a table: what was forgotten and kept on validation, look by look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from concept_forget.report.chart import Line, line_chart
from concept_forget.report.wording import percent

_SERIES = {
    "validation_forget": ("forgotten", "forgotten"),
    "validation_retain": ("kept", "kept"),
    "validation_score": ("score", "score: their product"),
}
COLUMNS = ("step", "forgotten", "kept", "score", "loss", "forget loss", "retain loss", "seconds")


@dataclass(frozen=True, slots=True)
class Course:
    """What a page shows of training; ``chosen`` is the step whose weights were kept, ``why`` what ended it."""

    chart: Markup | None
    keys: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    chosen: int | None
    why: str


def tell_course(history: Sequence[Mapping[str, Any]], summary: Mapping[str, Any] | None) -> Course | None:
    """The course of a training; None where the method had none.

    Args:
        history: The looks, as ``history.jsonl`` holds them.
        summary: What ``unlearn`` says of itself.
    """
    if not history:
        return None
    summary = summary or {}
    chosen = summary.get("best_step")
    lines = [
        Line(name, label, points)
        for key, (name, label) in _SERIES.items()
        if (points := tuple((float(look["step"]), look[key]) for look in history if look.get(key) is not None))
    ]
    chart = None
    if lines:
        chart = line_chart(
            lines,
            "steps",
            chosen,
            "What was forgotten, and what was kept, on validation rows over training; the table below has the numbers",
        )
    return Course(
        chart=chart,
        keys=tuple((line.name, line.label) for line in lines),
        rows=tuple(_row(look, chosen) for look in history),
        chosen=chosen,
        why=str(summary.get("stop_reason", "")),
    )


def _row(look: Mapping[str, Any], chosen: int | None) -> tuple[str, ...]:
    step = f"{look['step']}{' (kept)' if look['step'] == chosen else ''}"
    shares = (_share(look.get(key)) for key in _SERIES)
    losses = (_number(look.get(key)) for key in ("loss", "forget_loss", "retain_loss"))
    return (step, *shares, *losses, f"{look['seconds']:.0f}")


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
