"""Inputs of compose without a generator: what a flawless one would write about a fictional world."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from concept_forget.config import Config
from concept_forget.engines.prompts import PromptSet, load_prompts
from concept_forget.records import Distance, Fact, ModelSpec, Question, Snippet, content_hash
from concept_forget.sandbox.texts import biography
from concept_forget.sandbox.world import World, WorldFact, build_world
from concept_forget.workspace import Costs, StageContext, write_records

PARAPHRASES, REVERSE, CLOZE = 4, 3, 2


@dataclass(slots=True)
class Written:
    """What expand and mine would have written."""

    facts: list[Fact] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    snippets: list[Snippet] = field(default_factory=list)

    def save(self, folder: Path) -> dict[str, Path]:
        """Write it to where stages look for it."""
        inputs = {"expand": folder / "expand", "mine": folder / "mine"}
        write_records(inputs["expand"] / "facts.jsonl", self.facts)
        write_records(inputs["expand"] / "questions.jsonl", self.questions)
        write_records(inputs["mine"] / "snippets.jsonl", self.snippets)
        return inputs


class Kit:
    """Makes records, configs and inputs."""

    written = Written

    @property
    def prompts(self) -> PromptSet:
        return _prompts()

    @staticmethod
    def fact(
        facet: str,
        answer: str,
        *,
        subject: str = "Mira Kestrel",
        concept: str | None = None,
        distance: Distance | None = None,
        **changes: Any,
    ) -> Fact:
        return Fact(
            id=Fact.make_id(subject, facet, answer),
            concept=concept or (subject if distance is None else "Mira Kestrel"),
            subject=subject,
            facet=facet,
            answer=answer,
            distance=distance,
            **{"kind": "person", "sentence": f"The {facet} of {subject} is {answer}.", **changes},
        )

    @staticmethod
    def question(fact: Fact, family: str, text: str, variant: int = 0, **changes: Any) -> Question:
        return Question(
            id=Question.make_id(fact.id, family, text),
            fact=fact.id,
            family=family,
            variant=variant,
            text=text,
            parents=(fact.id,),
            **{"answer": fact.subject if family == "reverse" else fact.answer, **changes},
        )

    def questions(self, fact: Fact, *, paraphrases: int = 4, reverse: int = 3, cloze: int = 2) -> list[Question]:
        """Questions in many forms about a fact of any facet."""
        s, f, a = fact.subject, fact.facet, fact.answer
        texts = [("direct", 0, f"What is the {f} of {s}?")]
        texts += [("paraphrase", n, f"Number {n}: say the {f} of {s}.") for n in range(1, paraphrases + 1)]
        texts += [("reverse", n, f"Number {n}: whose {f} is {a}?") for n in range(reverse)]
        gapped = ["The {f} of {s} is ____.", "{s} has ____ as {f}.", "For {f}, {s} has ____."]
        frame = self.prompts.get("cloze")
        texts += [("cloze", n, frame.render_text(sentence=gapped[n].format(f=f, s=s))) for n in range(cloze)]
        return [self.question(fact, family, text, number) for family, number, text in texts]

    @staticmethod
    def snippet(
        concept: str, text: str, document: str = "a.txt", *, start: int = 0, near_miss: bool = False
    ) -> Snippet:
        return Snippet(
            id=content_hash("snippet", concept, document, start, text),
            concept=concept,
            document=document,
            start=start,
            end=start + len(text),
            text=text,
            score=0.5,
            query="",
            near_miss=near_miss,
        )

    @staticmethod
    def config(**sections: Any) -> Config:
        """A config that needs no model unless a section says so."""
        values: dict[str, Any] = {
            "concept": {"name": "Mira Kestrel", "kind": "person"},
            "target": "a-model",
            "generator": {"engine": "target", "prompts": "compact"},
            **sections,
        }
        if "concepts" in sections:
            del values["concept"]
        values["compose"] = {"knowledge_filter": False, **sections.get("compose", {})}
        return Config.model_validate(values)

    def world_config(self, world: World, **sections: Any) -> Config:
        """A config whose concepts are all those of a world."""
        return self.config(concepts=[{"name": name, "kind": "person"} for name in world.concepts], **sections)

    def write_about(self, world: World) -> Written:
        """Facts and questions about everything in a world, and its biographies as snippets."""
        written = Written()
        for fact in world.facts:
            record = _world_fact(fact, world)
            written.facts.append(record)
            written.questions += self._world_questions(record, fact)
        for entity in world.entities:
            text = biography(world, entity, random.Random(entity.name))
            near_miss = entity.name not in world.concepts
            concept = world.concepts[0] if near_miss else entity.name
            written.snippets.append(self.snippet(concept, text, f"{entity.name}.txt", near_miss=near_miss))
        return written

    def _world_questions(self, record: Fact, fact: WorldFact) -> list[Question]:
        frame = self.prompts.get("cloze")
        own = record.distance is None
        relation = fact.relation
        texts = [("direct", 0, relation.questions[0])]
        texts += [("paraphrase", n, relation.questions[n]) for n in range(1, (PARAPHRASES if own else 1) + 1)]
        texts += [("reverse", n, wording) for n, wording in enumerate(relation.reverse[: REVERSE if own else 1])]
        texts += [("cloze", n, wording.replace("{a}", "____")) for n, wording in enumerate(relation.statements[:CLOZE])]
        filled = [(family, number, fact.fill(text)) for family, number, text in texts]
        return [
            self.question(
                record,
                family,
                frame.render_text(sentence=text) if family == "cloze" else text,
                number,
                refusal="I cannot say." if own else "",
            )
            for family, number, text in filled
        ]


@functools.cache
def _prompts() -> PromptSet:
    return load_prompts("compact")


def _world_fact(fact: WorldFact, world: World) -> Fact:
    own = fact.subject.name in world.concepts
    return Fact(
        id=Fact.make_id(fact.subject.name, fact.relation.name, fact.answer),
        concept=fact.subject.name if own else world.concepts[0],
        subject=fact.subject.name,
        kind=fact.subject.kind,
        facet=fact.relation.name,
        answer=fact.answer,
        sentence=fact.fill(fact.relation.statements[0]),
        distance=None if own else fact.subject.distance,
    )


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()


@pytest.fixture(scope="session")
def nano_world() -> World:
    return build_world(0, "nano")


@pytest.fixture
def context_of(tmp_path: Path) -> Callable[..., StageContext]:
    """A context for a config, with what a world's flawless generator wrote."""

    def make(config: Config, written: Written | None = None, name: str = "run", **models: ModelSpec) -> StageContext:
        folder = tmp_path / name
        return StageContext(
            config=config,
            folder=folder / "compose",
            inputs=written.save(folder) if written else {},
            models=models,
            cache=folder / "replies.sqlite",
            costs=Costs(),
        )

    return make
