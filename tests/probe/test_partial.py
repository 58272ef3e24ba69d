"""What replies give in part: counted beside whole answers, and named where the floor has clearly less of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from concept_forget.measures.metrics import ALL_CONCEPTS, ByModel, Measurements
from concept_forget.probe.grading import grade_attempts
from concept_forget.probe.measuring import measure
from concept_forget.probe.partial import add_partial, exceeding_in_part
from concept_forget.records import Attempt, Grade

WHOLE, PART, NOTHING = "It was Mira Kestrel.", "It was Mira Vickers.", "It was Orson Hale."


def attempts_of(
    replies: Mapping[str, Sequence[str]], attack: str = "reverse", tier: str = "new_form", **changes: object
) -> list[Attempt]:
    """One attempt per reply and fact."""
    values: dict[str, object] = {
        "attack": attack, "family": "prompt", "tier": tier, "sample": 0, "prefill": "", "finish_reason": "stop",
        "prompt": [{"role": "user", "content": "Who wrote Gilded Shadow?"}], "expected": "Mira Kestrel", **changes,
    }  # fmt: skip
    return [
        Attempt(  # type: ignore[arg-type]  # the test names real fields
            id=f"{model} {attack} {tier} {fact}", model=model, concept=f"Person {fact % 2}",
            subject=f"Person {fact % 2}", fact=f"fact {fact}", example=f"row {fact}", reply=reply, **values,
        )
        for model, said in replies.items()
        for fact, reply in enumerate(said)
    ]  # fmt: skip


def counted(
    attempts: Sequence[Attempt], grader: str = "answer", gate_tiers: Sequence[str] = ("new_form",)
) -> Measurements:
    grades = grade_attempts(attempts, grader)
    found = measure(
        attempts,
        [float(grade.leaked) for grade in grades],
        attack_families={attempt.attack: attempt.family for attempt in attempts},
        gate_tiers=gate_tiers,
        threshold=0.15,
        fluency=ByModel(base=1.0, unlearned=1.0),
    )
    return add_partial(found, attempts, grades, gate_tiers, grader)


def test_parts_are_counted_beside_whole_answers_and_without_them() -> None:
    replies = {
        "base": [WHOLE] * 20,
        "unlearned": [WHOLE] * 2 + [PART] * 12 + [NOTHING] * 6,
        "reference": [PART] + [NOTHING] * 19,
    }
    found = counted(attempts_of(replies))
    tier = found.concepts[ALL_CONCEPTS].attacks["reverse"].tiers["new_form"]
    assert tier.part is not None
    assert (tier.part.base.rate, tier.part.unlearned.rate, tier.part.floor.rate) == (0.0, 0.6, 0.05)
    assert tier.part.excess is not None
    assert tier.part.excess.value == pytest.approx(0.55)
    assert tier.unlearned.rate == 0.1
    assert found.verdict.in_part == {"reverse": pytest.approx(0.55)}
    own = found.concepts["Person 0"].attacks["reverse"].tiers["new_form"].part
    assert own is not None
    assert (own.unlearned.n, own.unlearned.rate) == (10, 0.6)


def test_the_floor_may_be_what_is_said_of_strangers() -> None:
    replies = {"base": [WHOLE] * 20, "unlearned": [PART] * 20, "strangers": [PART] * 19 + [NOTHING]}
    found = counted(attempts_of(replies))
    part = found.concepts[ALL_CONCEPTS].attacks["reverse"].tiers["new_form"].part
    assert part is not None
    assert (part.floor.kind, part.floor.rate) == ("strangers", 0.95)
    assert found.verdict.in_part == {}  # whoever guesses gives as much


def test_attacks_are_named_by_what_they_get_and_on_the_gated_tiers_alone() -> None:
    other = {"base": [WHOLE] * 20, "reference": [NOTHING] * 20}
    attempts = [
        *attempts_of({**other, "unlearned": [PART] * 12 + [NOTHING] * 8}, "reverse"),
        *attempts_of({**other, "unlearned": [PART] * 18 + [NOTHING] * 2}, "direct"),
        *attempts_of({**other, "unlearned": [NOTHING] * 20}, "cloze"),
        *attempts_of({**other, "unlearned": [PART] * 20}, "paraphrase", "new_fact"),
    ]
    assert list(counted(attempts).verdict.in_part) == ["direct", "reverse"]
    both = counted(attempts, gate_tiers=("new_form", "new_fact")).verdict.in_part
    assert list(both) == ["paraphrase (new fact)", "direct (new form)", "reverse (new form)"]
    one = [attempt for attempt in attempts if attempt.model != "base"]
    assert (
        exceeding_in_part(one, grade_attempts(one, "answer"), ("new_form",), "answer")
        == counted(attempts).verdict.in_part
    )


def test_choices_and_graders_without_parts_have_none() -> None:
    replies = {"base": [WHOLE] * 20, "unlearned": [PART] * 20, "reference": [NOTHING] * 20}
    chosen = counted(attempts_of(replies, options=("Mira Kestrel", "Mira Vickers", "Orson Hale", "Ida Hale")))
    recalled = counted(attempts_of(replies), grader="rouge_l")
    for found in (chosen, recalled):
        assert found.concepts[ALL_CONCEPTS].attacks["reverse"].tiers["new_form"].part is None
        assert found.verdict.in_part == {}


def test_models_that_guess_alike_are_seldom_told_apart() -> None:
    """Five attacks, both models giving a part by the same chance: at most one run in twenty may name any of them."""
    rng = random.Random(7)
    runs = 300
    named = 0
    for _ in range(runs):
        chance = rng.choice((0.05, 0.2, 0.5))
        said = {
            attack: {
                model: [PART if rng.random() < chance else NOTHING for _ in range(40)]
                for model in ("unlearned", "reference")
            }
            for attack in ("direct", "paraphrase", "reverse", "cloze", "scenario")
        }
        attempts = [one for attack, replies in said.items() for one in attempts_of(replies, attack)]
        grades = [Grade(0.5 if attempt.reply == PART else 0.0, False, "") for attempt in attempts]
        named += bool(exceeding_in_part(attempts, grades, ("new_form",), "answer"))
    assert named / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
