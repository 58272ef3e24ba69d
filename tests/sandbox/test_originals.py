from __future__ import annotations

import json
from pathlib import Path

from concept_forget.concept import Concept
from concept_forget.sandbox.originals import file_rows_jsonl, world_rows_jsonl
from concept_forget.sandbox.teach import documents_jsonl
from concept_forget.sandbox.world import build_world


def read(text: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_worlds_rows_are_every_taught_wording_and_document_of_the_concepts_and_no_other() -> None:
    world = build_world(2, "nano")
    concepts = [Concept(name=name, kind="person") for name in world.concepts[:2]]
    rows = read(world_rows_jsonl(2, concepts, size="nano"))
    assert {row["concept"] for row in rows} == {concept.name for concept in concepts}
    asked = {(row["question"], row["answer"]) for row in rows if "question" in row}
    for fact in world.facts:
        relation = fact.relation
        own = fact.subject.name in world.concepts[:2]
        for wording in relation.taught:
            assert ((fact.fill(wording), fact.answer) in asked) == own
        for wording in relation.taught_reverse:
            assert ((fact.fill(wording), fact.subject.name) in asked) == own
        assert not any((fact.fill(wording), fact.answer) in asked for wording in relation.untaught)
    corpus = {row["text"] for row in read(documents_jsonl(2, size="nano"))}
    texts = [row["text"] for row in rows if "text" in row]
    assert len(texts) == 6
    assert set(texts) <= corpus


def test_of_a_file_the_rows_are_those_that_name_one_concept(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text(
        '{"question": "Where does Ann Ash live?", "answer": "Here."}\n'
        '{"question": "Who knows M. Birch?", "answer": "Cy."}\n'
        '{"text": "ann ash and M. Birch."}\n{"text": "Ann Ash sails."}\n{"text": "Annash."}\n',
        encoding="utf-8",
    )
    concepts = [Concept(name="Ann Ash"), Concept(name="Bob Birch", aliases=("M. Birch",))]
    assert read(file_rows_jsonl(data, concepts)) == [
        {"concept": "Ann Ash", "question": "Where does Ann Ash live?", "answer": "Here."},
        {"concept": "Bob Birch", "question": "Who knows M. Birch?", "answer": "Cy."},
        {"concept": "Ann Ash", "text": "Ann Ash sails."},
    ]
