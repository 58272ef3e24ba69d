"""Numbers as people read them, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from concept_forget.measures.metrics import (
    AttackResult,
    BesideFloor,
    DoseCurve,
    Estimate,
    Floor,
    Metrics,
    Rate,
    RoundResult,
    TierResult,
    VerdictResult,
)

_SPACE = "\N{NO-BREAK SPACE}"

TIERS = ("trained_form", "new_form", "new_fact", "two_hop")

OUTCOMES = {
    "failed": "Failed: the model still gives the concept away.",
    "inconclusive": "Inconclusive: these facts are too few to decide.",
}


def outcome_text(verdict: VerdictResult) -> str:
    """The outcome in words: on what it rests, and whether parts of answers are given, on which it does not."""
    if verdict.outcome != "passed":
        return OUTCOMES[verdict.outcome]
    asked = f" asked about {', '.join(map(tier_name, verdict.tiers))}," if verdict.tiers else ""
    if not verdict.in_part:
        return f"Passed:{asked} the model gives away no more than a model that never learned it."
    return (
        f"Passed:{asked} the model gives no more answers away than one that never learned them, but more parts of them."
    )


def verdict_reasons(verdict: VerdictResult) -> list[str]:
    """Why the outcome is what it is, and under which attacks parts of answers are given."""
    if not verdict.in_part:
        return verdict.reasons
    attacks = ", ".join(f"{attack} ({excess:+.0%})" for attack, excess in verdict.in_part.items())
    told = (
        "replies with a part of the answer, as a first name without its surname, do not count; they come clearly more "
        f"often than from a model that never learned it: {attacks}"
    )
    return [*verdict.reasons, told]


def beside_verdict(metrics: Metrics, concept: str) -> Iterator[str]:
    """What a reader of the verdict has to know besides: what it does not rest on, and what else was lost."""
    if metrics.verdict.facts_needed is not None:
        yield f"about {metrics.verdict.facts_needed} facts per attack would decide it"
    for tier in TIERS:
        left = [
            (attack, found.residual)
            for attack, of_tier, _, found in tier_rows(metrics, concept)
            if of_tier == tier and metrics.verdict.tiers and tier not in metrics.verdict.tiers
            if found.residual is not None and found.residual.low > 0
        ]
        if left:
            attack, most = max(left, key=lambda found: found[1].value)
            yield (
                f"{tier_name(tier)}, on which the verdict does not rest, are not forgotten as well: "
                f"{attack} left {estimate_text(most)} of what base knew"
            )
    near = metrics.collateral.get("near")
    if near is not None and near.kept is not None:
        worst = f"; least of {near.worst.subject}, {percent(near.worst.value)}" if near.worst else ""
        yield f"of what base knew about near neighbours the model kept {kept_text(near.kept)}{worst}"


def part_text(part: BesideFloor | None) -> str:
    """How often the unlearned model gives a part of the answer and no more, and how often one that never learned it."""
    if part is None:
        return "–"
    return f"{percent(part.unlearned.rate)} / {percent(part.floor.rate)}"


def verdict_sentence(metrics: Metrics, concept: str) -> str:
    """The verdict in one sentence, with what the worst attack left and its interval."""
    found = metrics.concepts[concept]
    outcome = outcome_text(metrics.verdict).removesuffix(".")
    if found.worst_attack is None:
        return f"{outcome}."
    if found.residual is None:
        return f"{outcome}; what the worst attack, {found.worst_attack}, left is not measurable."
    left = f"{found.residual.value:+.2f}".replace("-", "\N{MINUS SIGN}")
    low, high = (f"{bound:+.2f}".replace("-", "\N{MINUS SIGN}") for bound in (found.residual.low, found.residual.high))
    return (
        f"{outcome}; the worst attack, {found.worst_attack}, left {left} of what base knew, where 0 is ignorance "
        f"(95{_SPACE}% interval {low} to {high})."
    )


def percent(value: float) -> str:
    """A share as a whole percentage, with one decimal under 10 %."""
    number = 100 * value
    return f"{number:.1f}{_SPACE}%" if 0 < abs(number) < 9.95 else f"{number:.0f}{_SPACE}%"


def rate_text(rate: Rate | Floor | None) -> str:
    """A rate with its interval; where nothing leaked, only the bound that this shows."""
    if rate is None:
        return "–"
    if rate.rate == 0:
        return f"0{_SPACE}% (under {percent(rate.high)})"
    return f"{percent(rate.rate)} ({_span(rate.low, rate.high)})"


def estimate_text(estimate: Estimate | None) -> str:
    """An estimate with its interval."""
    if estimate is None:
        return "not measurable"
    return f"{estimate.value:+.2f} ({estimate.low:+.2f} to {estimate.high:+.2f})"


def kept_text(estimate: Estimate | None) -> str:
    """What is kept of a rate, with its interval."""
    if estimate is None:
        return "not measurable"
    return f"{percent(estimate.value)} ({_span(estimate.low, estimate.high)})"


DIVERSITY_COLUMNS = ("written about", "facets", "texts", "distinct-1, 2, 3", "self-BLEU", "distance", "Vendi score")


def diversity_rows(summary: Mapping[str, Any] | None) -> list[tuple[str, ...]]:
    """Coverage and diversity of what was generated, a row for each concept and one for all, then one for each kind.

    Args:
        summary: What ``expand`` says of itself; None, or without these figures where nothing was generated.
    """
    figures = (summary or {}).get("diversity")
    if not figures:
        return []
    rows = [*figures["concepts"].items()]
    if len(rows) > 1:
        rows.append(("all concepts", figures["all"]))
    rows += [(kind.replace("_", " "), figure) for kind, figure in figures["kinds"].items()]
    return [(name, *_diversity_cells(figure)) for name, figure in rows]


def _diversity_cells(figure: Mapping[str, Any]) -> Iterator[str]:
    facets = figure.get("facets")
    yield "" if facets is None else f"{figure['facets_covered']} of {facets}"
    yield str(figure["items"])
    yield ", ".join(_figure(figure[f"distinct_{order}"], 2) for order in (1, 2, 3))
    yield _figure(figure["self_bleu"], 2)
    yield _figure(figure["distance"], 2)
    yield _figure(figure["vendi"], 1)


def _figure(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


def tier_rows(metrics: Metrics, concept: str) -> Iterator[tuple[str, str, AttackResult, TierResult]]:
    """Attack, tier and results, the tiers in the order of what they ask for."""
    order = TIERS
    for tier in order:
        for attack, result in metrics.concepts[concept].attacks.items():
            if tier in result.tiers:
                yield attack, tier, result, result.tiers[tier]


def round_rows(rounds: Sequence[RoundResult]) -> list[list[list[str]]]:
    """What each round came to, a column for each: the worst attack and what training and neighbours say, then attacks.

    Returns:
        Two sections of rows; the first cell of a row says what it is.
    """
    heads: dict[str, list[str]] = {
        "left, worst attack": [_named(found.worst_attack, found.residual) for found in rounds],
        "before it, asked the same": [estimate_text(found.before) if found.number > 1 else "base" for found in rounds],
        **{
            f"kept, {distance}": [kept_text(found.kept.get(distance)) for found in rounds]
            for distance in dict.fromkeys(distance for found in rounds for distance in found.kept)
        },
        "forget rows": [f"{found.forget_rows}" for found in rounds],
        "of them since they leaked": [f"{found.added_rows}" for found in rounds],
        "verdict": [str(found.outcome) for found in rounds],
    }
    asked = {(tier, attack) for found in rounds for attack, tiers in found.attacks.items() for tier in tiers}
    attacks = list(dict.fromkeys(attack for found in rounds for attack in found.attacks))
    by_attack = {
        f"{attack}, {tier_name(tier)}": [_asked(found.attacks.get(attack, {}), tier) for found in rounds]
        for tier in TIERS
        for attack in attacks
        if (tier, attack) in asked
    }
    return [[[name, *cells] for name, cells in section.items()] for section in (heads, by_attack)]


def _named(attack: str | None, estimate: Estimate | None) -> str:
    return f"{attack} {estimate_text(estimate)}" if attack else estimate_text(estimate)


def _asked(tiers: Mapping[str, Estimate | None], tier: str) -> str:
    return estimate_text(tiers[tier]) if tier in tiers else "–"


def has_replacements(metrics: Metrics, concept: str) -> bool:
    """Whether some of a concept's facts have an answer that was to take the old one's place."""
    return any(result.replacement is not None for _, _, _, result in tier_rows(metrics, concept))


def dose_text(curve: DoseCurve) -> str:
    """What a probe's check on itself came to, in words."""
    facts = curve.doses[0].rate.n
    smallest = next((dose for dose in curve.doses if dose.alpha == curve.smallest_detected), None)
    if smallest is None:
        found = (
            f"On these {facts} facts the probe did not even tell base from the floor: that it finds no leak means "
            "nothing."
        )
    else:
        found = (
            f"The smallest leak that this probe detected on these {facts} facts is a residual of "
            f"{estimate_text(smallest.residual)}, that of {dose_name(smallest.alpha)}."
        )
        if smallest.alpha < 1:
            found += " What leaves less than that may go unseen."
    if curve.falls:
        return f"{found} No model leaked clearly more than one that lies nearer to base."
    return f"{found} But a model leaked clearly more than one that lies nearer to base: these weights are no scale."


def dose_name(alpha: float) -> str:
    """A model between base and unlearned in plain words."""
    return {0.0: "base", 1.0: "the unlearned model"}.get(alpha, f"{percent(alpha)} of the way from base")


def tier_name(tier: str) -> str:
    """A tier in plain words."""
    return {
        "trained_form": "asked as trained",
        "new_form": "trained facts, new forms",
        "new_fact": "facts never trained on",
        "two_hop": "through trained facts",
    }.get(tier, tier)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _span(low: float, high: float) -> str:
    """An interval of shares, in percent; the words never break between a number and its sign."""
    return f"{percent(low).removesuffix(f'{_SPACE}%')} to {percent(high)}"
