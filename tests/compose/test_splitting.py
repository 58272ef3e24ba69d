from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from concept_forget.compose.splitting import Role, count_roles, split_facts
from concept_forget.compose.statements import gives_answer
from concept_forget.errors import StageError
from concept_forget.records import Fact, Question

SHARES = st.decimals(min_value="0.01", max_value="0.6", places=2).map(float)
ANSWERS = st.sampled_from(("amber", "amber tern", "coral", "jade", "jade heron", "pearl", "onyx", "ruby", "opal", "no"))


def split(facts: list[Fact], questions: dict[str, list[Question]] | None = None, **changes: Any) -> dict[str, Role]:
    settings_ = {"holdout": 0.3, "validation": 0.14, "seed": 0, **changes}
    return split_facts(facts, questions or {}, lambda fact: (fact.subject,), **settings_)


@st.composite
def concept_facts(draw: st.DrawFn) -> list[Fact]:
    from concept_forget.records import Fact as Record

    facts = []
    for number in range(draw(st.integers(1, 5))):
        concept = f"Person {'ABCDE'[number]}"
        for facet in range(draw(st.integers(2, 9))):
            answer = draw(ANSWERS)
            facts.append(
                Record(
                    id=Record.make_id(concept, f"facet {facet}", answer),
                    concept=concept,
                    subject=concept,
                    kind="person",
                    facet=f"facet {facet}",
                    answer=answer,
                    sentence="",
                )
            )
    return facts


@given(concept_facts(), SHARES, st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_at_least_the_holdout_share_is_never_trained_on_and_every_concept_is(
    facts: list[Fact], holdout: float, seed: int
) -> None:
    try:
        roles = split(facts, holdout=holdout, seed=seed)
    except StageError:
        event("too few facts that can be told apart")
        return
    counts = Counter(roles.values())
    assert set(roles) == {fact.id for fact in facts}
    assert counts["new_fact"] >= Fraction(str(holdout)) * len(facts)
    assert {fact.concept for fact in facts if roles[fact.id] == "trained"} == {fact.concept for fact in facts}


@given(concept_facts(), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_facts_of_one_subject_that_give_one_another_away_fall_on_one_side(facts: list[Fact], seed: int) -> None:
    try:
        roles = split(facts, seed=seed)
    except StageError:
        return
    for first in facts:
        for second in facts:
            if first.subject == second.subject and gives_answer(first.answer, second, [second.subject]):
                assert roles[first.id] == roles[second.id]


def test_facts_asked_in_the_same_words_fall_on_one_side(kit: Any) -> None:
    facts = [kit.fact(f"facet {number}", f"answer{number}") for number in range(10)]
    questions = {fact.id: [kit.question(fact, "direct", f"Which {fact.facet}?")] for fact in facts}
    for fact in facts[:4]:
        questions[fact.id].append(kit.question(fact, "paraphrase", "What did she write?", 1))
    for seed in range(20):
        assert len({split(facts, questions, seed=seed)[fact.id] for fact in facts[:4]}) == 1


def test_shares_are_equal_over_concepts_and_spread_over_facets(kit: Any) -> None:
    facts = [
        kit.fact(f"facet {facet}", f"answer{facet} of{person}", subject=f"Person {person}")
        for person in range(12)
        for facet in range(8)
    ]
    roles = split(facts)
    assert Counter(roles.values()) == {"new_fact": 29, "validation": 13, "trained": 54}
    for concept in {fact.concept for fact in facts}:
        own = Counter(roles[fact.id] for fact in facts if fact.concept == concept)
        assert own["new_fact"] in (2, 3)
        assert own["validation"] in (1, 2)
        assert own["trained"] in (4, 5)
    for role in ("new_fact", "validation"):
        by_facet = Counter(fact.facet for fact in facts if roles[fact.id] == role)
        assert max(by_facet.values()) - min(by_facet.get(f"facet {facet}", 0) for facet in range(8)) <= 2


def test_facts_that_lack_a_form_are_rather_for_validation(kit: Any) -> None:
    facts = [
        kit.fact(f"facet {facet}", f"answer{facet} of{p}", subject=f"P {p}") for p in range(12) for facet in range(8)
    ]
    questions = {fact.id: kit.questions(fact, reverse=0 if fact.facet == "facet 0" else 3) for fact in facts}
    roles = split(facts, questions)
    lacking = Counter(roles[fact.id] for fact in facts if fact.facet == "facet 0")
    assert lacking["validation"] >= 6
    assert lacking["trained"] <= 4


def test_another_seed_holds_out_other_facts_and_the_same_seed_the_same(kit: Any) -> None:
    facts = [kit.fact(f"facet {number}", f"answer{number}") for number in range(20)]
    assert split(facts, seed=1) == split(facts, seed=1)
    assert split(facts, seed=1) != split(facts, seed=2)


def test_with_a_holdout_of_nothing_every_fact_is_trained_on(kit: Any) -> None:
    facts = [kit.fact(f"facet {number}", f"answer{number}") for number in range(5)]
    assert set(split(facts, holdout=0.0).values()) == {"trained"}


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_facts_are_refused_with_what_to_do(kit: Any, count: int) -> None:
    facts = [kit.fact(f"facet {number}", "the same answer") for number in range(count)]
    with pytest.raises(StageError, match=r"'Mira Kestrel' has \d.*(.|\n)*compose\.holdout: 0"):
        split(facts)


@given(st.integers(1, 400), SHARES, SHARES)
@settings(deadline=None)
def test_planned_counts_add_up(facts: int, holdout: float, validation: float) -> None:
    counts = count_roles(facts, holdout, validation)
    assert sum(counts.values()) == facts
    assert counts["trained"] >= 1
    assert counts["new_fact"] == min(math.ceil(Fraction(str(holdout)) * facts), facts - 1)


def test_a_share_is_the_decimal_that_was_written() -> None:
    assert count_roles(10, 0.3, 0.1) == {"new_fact": 3, "validation": 1, "trained": 6}
    assert count_roles(100, 0.29, 0.0)["new_fact"] == 29
