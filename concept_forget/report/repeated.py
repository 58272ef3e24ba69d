"""Tables of what asking again and again brought out, the same in the terminal and on the page."""

from __future__ import annotations

from concept_forget.measures.metrics import ByModel, Metrics
from concept_forget.report.wording import estimate_text, percent, rate_text, tier_name, tier_rows

LEAK_COLUMNS = ("asked about", "attack", "facts", "k", "base", "unlearned", "floor", "over the floor")
TRIED_COLUMNS = ("asked about", "attack", "facts", "prompt that counts", "base", "unlearned", "reference")


def leak_at_rows(metrics: Metrics, concept: str) -> list[tuple[str, ...]]:
    """leak@k by tier, attack and k; nothing where every question got one reply."""
    return [
        (
            tier_name(tier),
            attack,
            str(found.unlearned.n),
            str(found.k),
            rate_text(found.base),
            rate_text(found.unlearned),
            f"{percent(found.floor.rate)} ({found.floor.kind})",
            estimate_text(found.excess),
        )
        for attack, tier, _, result in tier_rows(metrics, concept)
        for found in result.leak_at
    ]


def tried_rows(metrics: Metrics, concept: str) -> list[tuple[str, ...]]:
    """What searches found by tier and attack: by the best-scored prompt, and by any that was tried."""
    rows = []
    for attack, tier, _, result in tier_rows(metrics, concept):
        if result.any_tried is None:
            continue
        reference = result.reference
        best = ByModel(
            base=result.base.rate,
            unlearned=result.unlearned.rate,
            reference=reference.rate if reference is not None else None,
        )
        for what, rates in (("the best-scored", best), ("any tried", result.any_tried)):
            cells = ("–" if rate is None else percent(rate) for rate in (rates.base, rates.unlearned, rates.reference))
            rows.append((tier_name(tier), attack, str(result.unlearned.n), what, *cells))
    return rows
