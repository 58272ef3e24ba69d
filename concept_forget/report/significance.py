"""The tests against base and reference as people read them, the same in the terminal and on the page."""

from __future__ import annotations

from concept_forget.measures.metrics import DifferenceTest, EquivalenceTest, Metrics
from concept_forget.report.wording import percent, tier_name, tier_rows

TESTS_COLUMNS = ("tier", "attack", "facts", "p, base", "p, reference", "beside the reference")
TESTS_MEANING = (
    "p: how likely a difference as large is where neither model gives away more, by a permutation test over facts; in "
    "brackets adjusted (Holm) for the number of attacks: under 0.05 is a difference. A large p shows no likeness: that "
    "is what the last column tests, with 95 % confidence, and it refuses where there are too few facts."
)


def tests_rows(metrics: Metrics, concept: str) -> list[tuple[str, ...]]:
    """A row of ``TESTS_COLUMNS`` for every attack and tier that was tested."""
    return [
        (
            tier_name(tier),
            attack,
            str(result.unlearned.n),
            _p_text(result.tests.base),
            _p_text(result.tests.reference),
            _equivalence_text(result.tests.equivalence),
        )
        for attack, tier, _, result in tier_rows(metrics, concept)
        if result.tests is not None
    ]


def _p_text(test: DifferenceTest | None) -> str:
    return "–" if test is None else f"{_p_value(test.p)} ({_p_value(test.adjusted)})"


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _points(difference: float) -> str:
    return ("+" if difference >= 0 else "") + percent(difference)


def _equivalence_text(test: EquivalenceTest | None) -> str:
    if test is None:
        return "no reference"
    span = f"{_points(test.lower)} to {_points(test.upper)}"
    if test.outcome == "alike":
        return f"alike within {percent(test.margin)} ({span})"
    if test.outcome == "different":
        return f"differs by more than {percent(test.margin)} ({span})"
    if test.outcome == "underpowered":
        return f"too few facts to say: {test.n}, at least {test.facts_needed} are needed ({span})"
    more = f"about {test.facts_needed} facts would tell" if test.facts_needed else "no number of facts would tell"
    return f"undecided ({span}): {more}"
