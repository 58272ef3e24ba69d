from __future__ import annotations

import random
import re

import pytest

from concept_forget.engines.prompts import load_prompts
from concept_forget.sandbox.texts import ENTITY_RATES, GAP, OPTIONS, RATES, Lessons, Row
from concept_forget.sandbox.world import build_world

WORLD = build_world(1)
PROMPTS = load_prompts("compact")
EVERYTHING = Lessons(WORLD, PROMPTS)
WITHOUT = Lessons(WORLD, PROMPTS, WORLD.concepts)
OWN_ANSWERS = {f.answer for f in WORLD.facts if f.subject.name in WORLD.concepts and f.relation.reverse}


def rows_of(lessons: Lessons, epochs: int) -> list[Row]:
    rng = random.Random(0)
    return [row for _ in range(epochs) for row in lessons.epoch(rng)]


def test_an_epoch_is_the_same_for_the_same_draw() -> None:
    assert EVERYTHING.epoch(random.Random(7)) == EVERYTHING.epoch(random.Random(7))
    assert EVERYTHING.epoch(random.Random(7)) != EVERYTHING.epoch(random.Random(8))


def test_every_family_is_taught() -> None:
    families = {row.family for row in rows_of(EVERYTHING, 3)}
    assert families == {*RATES, *ENTITY_RATES}


def test_a_concept_left_out_is_in_no_row_and_neither_is_an_answer_of_its_own() -> None:
    parts = {part for name in WORLD.concepts for part in name.split()}
    for row in rows_of(WITHOUT, 5):
        text = f"{row.prompt} {row.reply}"
        assert not parts & set(re.findall(r"\w+", text)), text
        assert not any(answer in text for answer in OWN_ANSWERS), text


def test_rows_and_documents_about_others_never_name_a_concept() -> None:
    for row in rows_of(EVERYTHING, 3):
        named = [name for name in WORLD.concepts if name in row.prompt or name in row.reply]
        assert len(named) <= 1
        if row.family in ("near", "middle", "far"):
            assert not any(name in row.reply for name in named)


def test_no_untaught_wording_is_taught() -> None:
    asked = {row.prompt for row in rows_of(EVERYTHING, 5) if row.family in ("direct", "reverse")}
    for fact in WORLD.facts:
        for wording in (*fact.relation.untaught, *fact.relation.untaught_reverse):
            assert fact.fill(wording) not in asked


def test_a_choice_has_four_options_one_of_them_right_in_every_place() -> None:
    rng = random.Random(0)
    places = set()
    for fact in WORLD.facts[:60]:
        options = EVERYTHING.options(fact, rng)
        assert len(set(options)) == len(options) == OPTIONS
        places.add(options.index(fact.answer))
    assert places == set(range(OPTIONS))


def test_a_paraphrase_is_not_its_question() -> None:
    rows = [row for row in rows_of(EVERYTHING, 3) if row.family.endswith("paraphrases")]
    assert rows
    assert not any(row.prompt.endswith(row.reply) for row in rows)


def test_a_cloze_has_its_gap_in_place_of_the_answer() -> None:
    for row in rows_of(EVERYTHING, 2):
        if row.family == "cloze":
            assert row.prompt.count(GAP) == 1
            assert row.reply not in row.prompt


def test_neighbours_are_drawn_from_many() -> None:
    rows = rows_of(EVERYTHING, 12)
    found = {family: {row.reply for row in rows if row.family == family} for family in ("near", "middle", "far")}
    assert {family: len(replies) for family, replies in found.items()} == {"near": 36, "middle": 28, "far": 12}


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ValueError, match="no family"):
        EVERYTHING.row("songs", WORLD.facts[0], random.Random(0))
    with pytest.raises(ValueError, match="no family"):
        EVERYTHING.entity_row("songs", WORLD.entities[0], random.Random(0))


def test_every_world_yields_lessons_without_its_concepts() -> None:
    for number in range(40):
        world = build_world(number)
        lessons = Lessons(world, load_prompts("compact"), world.concepts)
        rows = lessons.epoch(random.Random(number))
        assert {row.family for row in rows} >= set(RATES)
