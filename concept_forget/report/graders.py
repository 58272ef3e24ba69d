"""The graders beside each other as people read them, the same in the terminal and on the page."""

from __future__ import annotations

from concept_forget.measures.metrics import Estimate, GradersResult
from concept_forget.report.wording import rate_text

RATE_COLUMNS = ("grader", "replies of", "facts", "given away")
AGREEMENT_COLUMNS = ("graders", "replies of", "facts", "both", "first only", "second only", "neither", "kappa")
AGREEMENT_MEANING = (
    "Replies that leak in the eyes of both graders, of one alone and of neither. Cohen's kappa: 1 where they agree on "
    "every reply, 0 where no more than chance would have it, with its 95 % interval over facts. The verdict rests on "
    "one grader alone."
)


def grader_rate_rows(graders: GradersResult | None) -> list[tuple[str, ...]]:
    """A row of ``RATE_COLUMNS`` for every grader and model, over the replies that all graders graded."""
    if graders is None:
        return []
    rows: list[tuple[str, ...]] = []
    for name, models in graders.rates.items():
        mark = " (decides)" if name == graders.decides else ""
        ungraded = graders.ungraded.get(name, 0)
        gap = f", {ungraded} replies not graded" if ungraded else ""
        rows += [(f"{name}{mark}{gap}", model, str(rate.n), rate_text(rate)) for model, rate in models.items()]
    return rows


def agreement_rows(graders: GradersResult | None) -> list[tuple[str, ...]]:
    """A row of ``AGREEMENT_COLUMNS`` for every two graders and every model, and for all replies together."""
    if graders is None:
        return []
    return [
        (
            f"{one.first}, {one.second}",
            one.model,
            str(one.facts),
            *map(str, (one.both, one.first_only, one.second_only, one.neither)),
            _kappa_text(one.kappa),
        )
        for one in graders.agreement
    ]


def _kappa_text(kappa: Estimate | None) -> str:
    return "no variation" if kappa is None else f"{kappa.value:.2f} ({kappa.low:.2f} to {kappa.high:.2f})"
