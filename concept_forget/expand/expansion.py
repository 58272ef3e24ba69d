"""The whole expansion: from concepts to facts and questions, step after step, all concepts together."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from concept_forget.config import Config
from concept_forget.expand.answers import check_answers, write_refusals
from concept_forget.expand.budget import Budget
from concept_forget.expand.diversity import measure_diversity
from concept_forget.expand.facts import list_facets, state_facts
from concept_forget.expand.judging import Judge
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.neighbours import DISTANCES, Subject, find_neighbours
from concept_forget.expand.questions import Sheet, write_questions
from concept_forget.expand.screening import Encodes, Screen
from concept_forget.expand.writer import Watch, Writer
from concept_forget.records import Fact, Question

if TYPE_CHECKING:
    from concept_forget.engines.prompts import PromptSet
    from concept_forget.engines.protocol import Engine
    from concept_forget.workspace import Costs


@dataclass(frozen=True, slots=True)
class Expansion:
    """What was written and kept, and the account of all that was not."""

    facts: tuple[Fact, ...]
    questions: tuple[Question, ...]
    ledger: Ledger
    budget: Budget = field(default_factory=Budget)
    gates: dict[str, object] = field(default_factory=dict)
    diversity: dict[str, object] = field(default_factory=dict)

    def summary(self, config: Config) -> dict[str, object]:
        """Counts by step, by concept and by distance."""
        own = Counter(fact.concept for fact in self.facts if fact.distance is None)
        entities = Counter(distance for _, distance in {(f.subject, f.distance) for f in self.facts})
        facts = Counter(fact.distance for fact in self.facts)
        questions = Counter(question.family for question in self.questions)
        return {
            "facts": {concept.name: own[concept.name] for concept in config.concepts},
            "neighbours": {distance: entities[distance] for distance in DISTANCES},
            "neighbour_facts": {distance: facts[distance] for distance in DISTANCES},
            "questions": dict(sorted(questions.items())),
            "requests": sum(account.requests for account in self.ledger.steps.values()),
            "budget": self.budget.summary(),
            "gates": self.gates,
            "diversity": self.diversity,
            "steps": self.ledger.summary(),
        }


def expand(
    config: Config,
    engine: Engine,
    prompts: PromptSet,
    watch: Watch | None = None,
    *,
    encoder: Encodes | None = None,
    judge: Judge | None = None,
    costs: Costs | None = None,
) -> Expansion:
    """Let the generator write about the concepts and about what stands beside them.

    Args:
        config: The whole config; its ``generator.engine`` is not ``none``.
        engine: The generator.
        prompts: The prompts to put to it.
        watch: Is told of every reply.
        encoder: Gives the vectors of some gates and of diversity; None: they are left out.
        judge: The model that judges every item; None: nobody does.
        costs: Is told of the seconds that gates and diversity took.

    Raises:
        StageError: A step gave nothing that the next one could work with, or a concept is left without a fact.
        DataError: A prompt file is absent or cannot be filled in.
    """
    ledger = Ledger()
    writer = Writer(engine, prompts, config.generator, config.seed, ledger, watch)
    subjects = [
        *(Subject(concept, concept.name) for concept in config.concepts),
        *find_neighbours(writer, config.concepts, config.expand),
    ]
    topics = list_facets(writer, subjects, config.expand)
    screen = Screen(config.expand, config.concepts, config.seed, ledger, encoder)
    facts = screen.keep_facts(state_facts(writer, topics, config.concepts, config.expand))
    sheets = check_answers(writer, write_questions(writer, facts, config.expand, screen), config)
    if judge is not None:
        sheets = judge.keep_sheets(sheets, writer)
    write_refusals(writer, sheets)
    diversity = measure_diversity(config, topics, sheets, screen)
    if costs is not None:
        costs.gate_seconds += screen.seconds
    return Expansion(
        facts=tuple(sheet.stated.fact for sheet in sheets),
        questions=tuple(question for sheet in sheets for question in _numbered(sheet)),
        ledger=ledger,
        budget=writer.budget,
        gates=screen.summary(),
        diversity=diversity,
    )


def _numbered(sheet: Sheet) -> list[Question]:
    """The sheet's questions, the wordings of each family counted: paraphrases from 1, for the direct one is their 0."""
    return [
        dataclasses.replace(question, variant=variant)
        for family, start in ((sheet.direct, 0), (sheet.paraphrases, 1), (sheet.reverse, 0), (sheet.cloze, 0))
        for variant, question in enumerate(family, start=start)
    ]
