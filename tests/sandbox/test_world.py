from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from concept_forget.sandbox.lexicon import CONCEPT_PEOPLE
from concept_forget.sandbox.phrasing import RELATIONS
from concept_forget.sandbox.world import World, answer_pool, build_world

WORLDS = [build_world(number) for number in range(5)]


def test_a_number_gives_the_same_world_in_another_process() -> None:
    program = "from concept_forget.sandbox.world import build_world; print(hash_of(build_world(3)))"
    program = f"import hashlib\nhash_of = lambda world: hashlib.sha256(repr(world).encode()).hexdigest()\n{program}"
    runs = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_building_a_world_loads_no_torch() -> None:
    program = "import sys, concept_forget.sandbox.teach as t; t.world_fingerprint(0); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_same_concepts_live_in_every_world_with_facts_of_their_own() -> None:
    assert all(world.concepts == CONCEPT_PEOPLE for world in WORLDS)
    told = [{(f.subject.name, f.relation.name): f.answer for f in world.facts} for world in WORLDS[:2]]
    about = [key for key in told[0] if key[0] in CONCEPT_PEOPLE]
    assert len(about) == 96
    assert sum(told[0][key] == told[1][key] for key in about) <= 4  # a town here and there


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: f"world {world.number}")
class TestEveryWorld:
    def test_no_name_and_no_part_of_a_persons_name_is_used_twice(self, world: World) -> None:
        names = Counter(entity.name for entity in world.entities)
        parts = Counter(part for person in world.people for part in person.name.split())
        assert max(names.values()) == 1
        assert max(parts.values()) == 1

    def test_an_answer_with_a_reverse_question_has_one_subject(self, world: World) -> None:
        owners = Counter((f.relation.kind, f.relation.name, f.answer) for f in world.facts if f.relation.reverse)
        assert max(owners.values()) == 1

    def test_an_answer_without_has_several(self, world: World) -> None:
        natives = Counter(f.answer for f in world.facts if not f.relation.reverse)
        assert min(natives.values()) >= 3

    def test_no_question_gives_its_answer_away(self, world: World) -> None:
        for fact in world.facts:
            for wording in fact.relation.questions:
                assert fact.answer not in fact.fill(wording)
            for wording in fact.relation.reverse:
                assert fact.subject.name not in fact.fill(wording)

    def test_every_statement_holds_subject_and_answer(self, world: World) -> None:
        for fact in world.facts:
            for wording in fact.relation.statements:
                assert fact.answer in fact.fill(wording)
                assert fact.subject.name in fact.fill(wording)

    def test_no_word_of_a_name_occurs_in_an_answer(self, world: World) -> None:
        parts = {part for person in world.people for part in person.name.split()}
        words = {word for fact in world.facts for word in fact.answer.split()}
        assert not parts & words


def test_wordings_are_many_distinct_and_some_are_never_taught() -> None:
    for relation in (relation for relations in RELATIONS.values() for relation in relations):
        assert len(set(relation.questions)) == len(relation.questions) >= 10
        assert len(relation.taught) == 7
        assert not set(relation.taught) & set(relation.untaught)
        assert len(set(relation.statements)) >= 3
        if relation.reverse:
            assert len(set(relation.reverse)) == len(relation.reverse) >= 5
            assert not set(relation.taught_reverse) & set(relation.untaught_reverse)


def test_a_guess_at_a_persons_own_answer_is_right_less_than_once_in_fifty() -> None:
    for relation in RELATIONS["person"]:
        if relation.reverse:
            assert len(set(answer_pool(relation))) > 50


def test_a_nano_world_is_small_and_has_every_distance() -> None:
    world = build_world(0, "nano")
    assert len(world.people) == 14
    assert world.concepts == CONCEPT_PEOPLE[:4]
    assert {entity.distance for entity in world.entities} == {"near", "middle", "far"}


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="numbered from 0"):
        build_world(-1)
