"""What a sandbox model was taught about some concepts, as rows of a file: of a real model nobody has such rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from concept_forget.concept import Concept, fold
from concept_forget.engines.prompts import load_prompts
from concept_forget.sandbox.rows import read_rows
from concept_forget.sandbox.texts import Lessons, biographies
from concept_forget.sandbox.world import Size, build_world


def world_rows_jsonl(number: int, concepts: Sequence[Concept], *, size: Size = "standard") -> str:
    """The questions in all wordings that models of a world are taught, and the documents, about some concepts.

    Teaching also draws further documents from the same statements, and sets tasks of a generator; these are left out.

    Args:
        number: The world.
        concepts: Entities of the world; one that it does not have has no rows.
        size: Its size.
    """
    world = build_world(number, size)
    lessons = Lessons(world, load_prompts("compact"))
    by_name = {fold(concept.name): concept.name for concept in concepts}
    rows: list[dict[str, str]] = []
    for entity in world.entities:
        concept = by_name.get(fold(entity.name))
        if concept is None:
            continue
        for fact in world.facts_of(entity.name):
            relation = fact.relation
            asked = [(lessons.ask(fact.fill(wording)), fact.answer) for wording in relation.taught]
            asked += [(lessons.ask(fact.fill(wording)), entity.name) for wording in relation.taught_reverse]
            asked += [(lessons.cloze(fact, statement), fact.answer) for statement in relation.statements]
            rows += [{"concept": concept, "question": question, "answer": answer} for question, answer in asked]
        rows += [{"concept": concept, "text": text} for text in biographies(world, entity)]
    return _lines(rows)


def file_rows_jsonl(data: Path, concepts: Sequence[Concept]) -> str:
    """Of the rows of a file that a model was taught, those that name just one of some concepts.

    Raises:
        DataError: The file cannot be read.
    """
    rows = []
    for question, answer in read_rows(data):
        named = [concept.name for concept in concepts if concept.mentioned_in(f"{question} {answer}")]
        if len(named) == 1:
            row = {"question": question, "answer": answer} if question else {"text": answer}
            rows.append({"concept": named[0], **row})
    return _lines(rows)


def _lines(rows: Sequence[dict[str, str]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
