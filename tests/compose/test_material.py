from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concept_forget.compose.material import Material, gather, names_of
from concept_forget.compose.rejections import Rejections
from concept_forget.config import Config
from concept_forget.errors import DataError

Write = Callable[..., str]
TWO = [{"name": "Mira Kestrel", "aliases": ["M. Kestrel"]}, {"name": "Tobias Wren"}]
ROW = {"question": "Where was Mira Kestrel born?", "answer": "Dunholm"}


def collect(config: Config, folder: Path | None = None) -> tuple[Material, Rejections]:
    rejections = Rejections()
    return gather(config, folder, rejections), rejections


def test_a_row_is_a_fact_of_its_own_with_one_direct_question(kit: Any, write_rows: Write) -> None:
    material, _ = collect(kit.config(data={"forget": write_rows(ROW, {**ROW, "question": "And where was she born?"})}))
    assert len(material.facts) == 2
    for fact in material.facts:
        assert (fact.subject, fact.concept, fact.source, fact.sentence) == ("Mira Kestrel", "Mira Kestrel", "user", "")
        assert [(q.family, q.form) for q in material.questions[fact.id]] == [("direct", "direct")]


def test_a_row_twice_is_one_fact_and_its_paraphrases_are_its_questions(kit: Any, write_rows: Write) -> None:
    row = {**ROW, "facet": "birthplace", "paraphrases": ["Mira Kestrel's birthplace?", "where was mira kestrel BORN"]}
    material, _ = collect(kit.config(data={"forget": write_rows(row, row)}))
    (fact,) = material.facts
    assert [q.form for q in material.questions[fact.id]] == ["direct", "paraphrase 1"]


def test_an_answer_that_is_a_sentence_is_the_facts_sentence(kit: Any, write_rows: Write) -> None:
    material, _ = collect(
        kit.config(data={"forget": write_rows({**ROW, "answer": "She was born in Dunholm, by the sea."})})
    )
    assert material.facts[0].sentence == "She was born in Dunholm, by the sea."


def test_messages_of_a_row_go_with_its_direct_question(kit: Any, write_rows: Write) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ROW["question"]}]
    material, _ = collect(kit.config(data={"forget": write_rows({"prompt": chat, "completion": "Dunholm"})}))
    (questions,) = material.questions.values()
    assert material.chats == {questions[0].id: chat}


def test_a_text_is_a_passage(kit: Any, write_rows: Write) -> None:
    file = write_rows({"text": "Mira Kestrel was born in Dunholm."})
    material, _ = collect(kit.config(data={"forget": file, "retain": file}))
    assert material.passages[0].concept == "Mira Kestrel"
    assert material.retain_passages[0].document == f"{file}:1"


@pytest.mark.parametrize(
    ("row", "entry", "concept"),
    [
        ({**ROW, "concept": "tobias wren"}, {}, "Tobias Wren"),
        (ROW, {"concept": "Tobias Wren"}, "Tobias Wren"),
        (ROW, {}, "Mira Kestrel"),
        ({**ROW, "question": "Who is M. Kestrel?"}, {}, "Mira Kestrel"),
    ],
)
def test_a_row_belongs_to_the_concept_it_names_or_mentions(
    kit: Any, write_rows: Write, row: Any, entry: Any, concept: str
) -> None:
    material, _ = collect(kit.config(concepts=TWO, data={"forget": {"path": write_rows(row), **entry}}))
    assert material.facts[0].concept == concept


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({**ROW, "concept": "Ilse Marlowe"}, "none of the concepts"),
        ({**ROW, "question": "Where was she born?"}, "it mentions no concept"),
        ({**ROW, "question": "Who taught Mira Kestrel and Tobias Wren?"}, "it mentions Mira Kestrel, Tobias Wren"),
    ],
)
def test_a_row_that_could_belong_to_any_concept_is_refused(kit: Any, write_rows: Write, row: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        collect(kit.config(concepts=TWO, data={"forget": write_rows(ROW, row)}))
    assert caught.value.line == 2


def test_retain_rows_are_gathered_by_subject_or_stand_alone(kit: Any, write_rows: Write) -> None:
    rows = [{"question": f"Question {n}?", "answer": f"Answer {n}"} for n in range(4)]
    file = write_rows({**rows[0], "subject": "Fenna"}, {**rows[1], "subject": "FENNA"}, *rows[2:])
    material, _ = collect(kit.config(data={"retain": file}))
    assert [(entity.name, len(entity.facts)) for entity in material.entities] == [("Fenna", 2), ("", 1), ("", 1)]
    assert not material.facts


def test_collateral_rows_are_entities_at_their_distance(kit: Any, write_rows: Write) -> None:
    file = write_rows({"question": "Who is Fenna?", "answer": "A baker"})
    material, _ = collect(kit.config(data={"collateral": {"path": file, "subject": "Fenna", "distance": "far"}}))
    assert [(entity.name, entity.distance) for entity in material.collateral] == [("Fenna", "far")]


@pytest.mark.parametrize(
    ("row", "problem"),
    [({"text": "Fenna bakes.", "subject": "Fenna"}, "a text asks nothing"), (ROW, "whom or what it is about")],
)
def test_collateral_has_to_ask_about_somebody(kit: Any, write_rows: Write, row: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        collect(kit.config(data={"collateral": write_rows(row)}))


@pytest.mark.parametrize("section", ["retain", "collateral"])
def test_rows_about_a_concept_are_not_to_be_kept(kit: Any, write_rows: Write, section: str) -> None:
    material, rejections = collect(kit.config(data={section: write_rows({**ROW, "subject": "Captain Mira Kestrel"})}))
    assert not material.entities
    assert not material.collateral
    assert next(iter(rejections.summary().values()))["count"] == 1


def test_neighbours_that_are_concepts_are_left_out(kit: Any, tmp_path: Path) -> None:
    written = kit.written()
    for subject in ("Tobias Wren", "Mira", "Fenna Crane", "fenna crane"):
        fact = kit.fact("ship", f"ship of {subject}", subject=subject, distance="near")
        written.facts.append(fact)
        written.questions += kit.questions(fact, cloze=0, reverse=0)
    folder = written.save(tmp_path)["expand"]
    material, rejections = collect(kit.config(concepts=TWO), folder)
    assert [(entity.name, len(entity.facts)) for entity in material.entities] == [("Fenna Crane", 2)]
    assert next(iter(rejections.summary().values()))["count"] == 2
    assert set(material.questions) == {fact.id for entity in material.entities for fact in entity.facts}


def test_a_reverse_question_with_several_answers_is_nobodys(kit: Any, tmp_path: Path) -> None:
    written = kit.written()
    for subject, distance in (("Mira Kestrel", None), ("Fenna Crane", "near")):
        fact = kit.fact("birthplace", "Dunholm", subject=subject, distance=distance)
        written.facts.append(fact)
        written.questions += [
            kit.question(fact, "direct", f"Where was {subject} born?"),
            kit.question(fact, "reverse", "Who was born in Dunholm?"),
            kit.question(fact, "reverse", f"Who of {subject[:3]}… was born in Dunholm?", 1),
        ]
    material, rejections = collect(kit.config(), written.save(tmp_path)["expand"])
    texts = [question.text for known in material.questions.values() for question in known]
    assert "Who was born in Dunholm?" not in texts
    assert len(texts) == 4
    assert rejections.summary()["a reverse question that fits several subjects"]["count"] == 2


def test_a_subject_that_is_the_concept_has_all_its_names(kit: Any) -> None:
    concepts = kit.config(concepts=TWO).concepts
    assert names_of(kit.fact("ship", "Tern"), concepts) == ("Mira Kestrel", "M. Kestrel")
    assert names_of(kit.fact("hero", "Barnaby", subject="Emberfall", concept="Mira Kestrel"), concepts) == (
        "Emberfall",
    )
    assert names_of(kit.fact("ship", "Tern", subject="", concept="Mira Kestrel"), concepts) == ()
