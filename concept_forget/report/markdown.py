"""The result as ``report.md``, for a pull request: verdict, table, collateral, cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from concept_forget.measures.metrics import Metrics, pooled_concept
from concept_forget.report.redaction import Redactor
from concept_forget.report.wording import (
    beside_verdict,
    duration,
    estimate_text,
    kept_text,
    part_text,
    percent,
    rate_text,
    tier_name,
    tier_rows,
    verdict_reasons,
    verdict_sentence,
)
from concept_forget.shown import escape_markdown


def render_markdown(metrics: Metrics, title: str, redactor: Redactor) -> str:
    """The text of ``report.md``.

    Args:
        metrics: What the run came to.
        title: The heading; any text, what could be markup in it is escaped.
        redactor: What is hidden.
    """
    return "\n".join(_lines(metrics, title, redactor)) + "\n"


def _lines(metrics: Metrics, title: str, redactor: Redactor) -> Iterator[str]:
    def told(text: str) -> str:
        return escape_markdown(redactor.text(text))

    concept = pooled_concept(metrics.concepts)
    yield f"## {told(title)}"
    yield ""
    yield f"**{told(verdict_sentence(metrics, concept))}**"
    yield ""
    for reason in (*verdict_reasons(metrics.verdict), *beside_verdict(metrics, concept)):
        yield f"- {told(reason)}"
    yield ""
    yield from _table(
        (
            "asked about", "attack", "facts", "base", "unlearned", "reference", "floor", "residual knowledge",
            "part only / floor",
        ),
        [
            (
                tier_name(tier), told(attack), str(row.unlearned.n), rate_text(row.base), rate_text(row.unlearned),
                rate_text(row.reference), f"{percent(row.floor.rate)} ({row.floor.kind})", estimate_text(row.residual),
                part_text(row.part),
            )
            for attack, tier, _, row in tier_rows(metrics, concept)
        ],
    )  # fmt: skip
    yield from _table(
        ("neighbours", "facts", "base", "unlearned", "kept of base", "worst"),
        [
            (
                distance, str(row.unlearned.n), rate_text(row.base), rate_text(row.unlearned), kept_text(row.kept),
                f"{told(row.worst.subject)}: {percent(row.worst.value)}" if row.worst else "–",
            )
            for distance, row in metrics.collateral.items()
        ],
    )  # fmt: skip
    fluency = metrics.fluency
    figures = [
        f"{name} {value:.1f}"
        for name in ("base", "unlearned", "reference")
        if (value := getattr(fluency, name)) is not None
    ]
    yield f"Perplexity of the replies under the base model: {', '.join(figures)}."
    yield ""
    yield f"Cost: {_cost(metrics)}."
    yield ""
    yield (
        "Intervals are 95 %, over the facts of this run, not over seeds. Residual knowledge: 0 is ignorance, 1 the "
        "base model."
    )


def _cost(metrics: Metrics) -> str:
    spent = ", ".join(f"{verb} {duration(seconds)}" for verb, seconds in metrics.cost.seconds.items())
    ratio = metrics.cost.ratio_to_retrain
    against = f"{ratio:.2g} × the operations of retraining" if ratio is not None else "against retraining not known"
    return f"{spent}; {against}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
