from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from concept_forget.compose.entities import DISTANCES, Shares, share_entities
from concept_forget.compose.material import Entity
from concept_forget.records import Distance, Question

COUNTS = st.fixed_dictionaries({distance: st.integers(0, 20) for distance in DISTANCES})


def share(
    kit: Any,
    counts: dict[Distance, int],
    wanted: dict[Distance, int],
    validation: int,
    *,
    users: int = 0,
    given_rows: tuple[Entity, ...] = (),
    seed: int = 0,
) -> tuple[list[Entity], Shares]:
    entities: list[Entity] = []
    questions: dict[str, list[Question]] = {}
    for distance, count in counts.items():
        for number in range(count):
            fact = kit.fact("ship", f"ship{number}", subject=f"{distance} {number}", distance=distance)
            questions[fact.id] = [kit.question(fact, "direct", f"Which ship has {fact.subject}?")]
            entities.append(Entity(fact.subject, distance, (fact,), "generated"))
    for number in range(users):
        fact = kit.fact("", f"reply {number}", subject="", distance="near", source="user", concept="Mira Kestrel")
        questions[fact.id] = [kit.question(fact, "direct", f"Question {number}?")]
        entities.append(Entity("", "near", (fact,), "user"))
    shares = share_entities(entities, given_rows, questions, collateral=wanted, validation=validation, seed=seed)
    return entities, shares


@given(COUNTS, COUNTS, st.integers(0, 12), st.integers(0, 8))
@settings(deadline=None)
def test_every_entity_is_in_one_place_and_half_of_each_distance_is_trained_on(
    kit: Any, counts: dict[Distance, int], wanted: dict[Distance, int], validation: int, users: int
) -> None:
    entities, shares = share(kit, counts, wanted, validation, users=users)
    placed = [*shares.retain, *shares.validation, *shares.collateral]
    assert sorted(map(id, placed)) == sorted(map(id, entities))
    assert len(shares.validation) <= validation
    for distance in DISTANCES:
        trained = sum(e.distance == distance and e.source == "generated" for e in shares.retain)
        taken = sum(e.distance == distance for e in shares.collateral)
        assert trained >= counts[distance] / 2
        assert taken <= wanted[distance]


def test_what_is_asked_for_is_taken_where_it_can_be_spared(kit: Any) -> None:
    _, shares = share(kit, {"near": 30, "middle": 20, "far": 18}, {"near": 8, "middle": 8, "far": 8}, 4)
    assert [sum(e.distance == d for e in shares.collateral) for d in DISTANCES] == [8, 8, 8]
    assert [e.distance for e in shares.validation] == ["near", "middle", "near", "far"]


def test_where_room_is_short_collateral_gets_more_of_it_than_validation(kit: Any) -> None:
    _, shares = share(kit, {"near": 30, "middle": 12, "far": 6}, {"near": 8, "middle": 8, "far": 8}, 4)
    assert [sum(e.distance == d for e in shares.collateral) for d in DISTANCES] == [8, 5, 2]
    assert len(shares.validation) == 4


def test_rows_to_be_kept_are_never_made_collateral_and_validate_where_nothing_else_does(kit: Any) -> None:
    _, shares = share(kit, {"near": 0, "middle": 0, "far": 0}, {"near": 8, "middle": 0, "far": 0}, 4, users=6)
    assert not shares.collateral
    assert len(shares.validation) == 3
    assert len(shares.retain) == 3


def test_rows_that_name_collateral_do_not_validate(kit: Any) -> None:
    fact = kit.fact("ship", "Reply 0", subject="Question 1", distance="near", source="user")
    given_rows = (Entity("Question 1", "near", (fact,), "user"), Entity("Reply 3", "near", (fact,), "user"))
    for seed in range(10):
        _, shares = share(kit, {}, {}, 9, users=6, given_rows=given_rows, seed=seed)
        assert {e.facts[0].answer for e in shares.validation} <= {"reply 0", "reply 2", "reply 4", "reply 5"}
        assert shares.collateral == given_rows


def test_who_cannot_be_asked_is_trained_on(kit: Any) -> None:
    facts = [kit.fact("ship", f"ship{n}", subject=f"Other {n}", distance="near") for n in range(4)]
    entities = [Entity(fact.subject, "near", (fact,), "generated") for fact in facts]
    shares = share_entities(entities, (), {}, collateral={"near": 2}, validation=2, seed=0)
    assert shares.retain == tuple(entities)


def test_closed_names_are_those_of_collateral_and_validation(kit: Any) -> None:
    _, shares = share(kit, {"near": 8}, {"near": 2}, 2, users=4)
    assert set(shares.closed_names) == {e.name for e in (*shares.collateral, *shares.validation)} - {""}


def test_a_seed_draws_the_same_entities_again_and_another_seed_others(kit: Any) -> None:
    names = [tuple(share(kit, {"near": 20}, {"near": 5}, 2, seed=seed)[1].closed_names) for seed in (1, 1, 2)]
    assert names[0] == names[1] != names[2]
