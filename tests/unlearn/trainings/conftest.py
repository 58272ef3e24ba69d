"""What methods with a training of their own are handed: rows about people whom the initial model never met."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from concept_forget.concept import Concept
from concept_forget.config import UnlearnConfig
from concept_forget.engines.prompts import load_prompts
from concept_forget.models import load_model, load_tokenizer
from concept_forget.records import Example, ModelSpec, user_message
from concept_forget.sandbox.texts import Lessons
from concept_forget.sandbox.world import WorldFact, build_world
from concept_forget.training.batches import encode_examples
from concept_forget.training.scores import score_rows
from concept_forget.unlearn.trainings import Task

LESSONS = Lessons(build_world(0, "nano"), load_prompts("compact"))
NEW = list(LESSONS.world.concepts)
"""The people whom ``nano_reference`` never met, and whom the rows teach."""


def ask(fact: WorldFact, wording: int, tier: str = "") -> Example:
    prompt = user_message(LESSONS.ask(fact.fill(fact.relation.taught[wording])))
    return Example(
        id=Example.make_id(prompt, fact.answer), split="forget", concept=fact.subject.name, subject=fact.subject.name,
        facet=fact.relation.name, fact=f"{fact.subject.name}/{fact.relation.name}", form="direct", family="direct",
        tier=tier, prompt=prompt, completion=fact.answer, answer=fact.answer, refusal="I do not know.",
    )  # fmt: skip


def asked(people: Sequence[str], wording: int, tier: str = "") -> list[Example]:
    return [ask(fact, wording, tier) for name in people for fact in LESSONS.world.facts_of(name)]


def known(spec: ModelSpec, rows: Sequence[Example]) -> float:
    """The share of rows that a model answers greedily."""
    tokenizer = load_tokenizer(spec)
    encoded = encode_examples(rows, tokenizer, 128).rows
    scores = score_rows(load_model(spec), encoded, pad_token=int(tokenizer.pad_token_id), batch_tokens=2048)
    return sum(score.greedy for score in scores) / len(scores)


@pytest.fixture
def train_file(tmp_path: Path) -> Path:
    """Two wordings of every fact about the new people, each row with whom it is about."""
    path = tmp_path / "train.jsonl"
    rows = [
        {"question": row.prompt[0]["content"], "answer": row.answer, "subject": row.subject}
        for wording in (0, 1)
        for row in asked(NEW, wording)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


MakeTask = Callable[..., Task]


@pytest.fixture
def make_task(tmp_path: Path, nano_model: Path, nano_reference: Path, train_file: Path) -> MakeTask:
    """A request to forget the first of the new people, or those that are named."""

    def make(folder: str = "out", people: Sequence[str] = tuple(NEW[:1]), **settings: Any) -> Task:
        given = {"learning_rate": 1e-3, "batch_size": 8, "warmup_steps": 0, **settings}
        if given["method"] != "rl":
            given = {"train_data": str(train_file), "initial": str(nano_reference), **given}
        where = tmp_path / folder
        where.mkdir(exist_ok=True)
        return Task(
            target=ModelSpec(str(nano_model)),
            concepts=tuple(Concept(name=name) for name in people),
            forget=asked(people, 0),
            retain=asked([person.name for person in LESSONS.world.people[4:8]], 0),
            validation=[
                *asked(people, 2, "new_form"),
                *asked([person.name for person in LESSONS.world.people[8:10]], 2, "retain"),
            ],
            settings=UnlearnConfig.model_validate(given),
            seed=0,
            folder=where,
            store=tmp_path / "store",
            initial=None if given["method"] == "rl" else ModelSpec(str(nano_reference)),
        )

    return make


def placed(task: Task, model: ModelSpec) -> ModelSpec:
    """A published model, its path made whole."""
    return dataclasses.replace(model, path=str(task.folder / model.path))
