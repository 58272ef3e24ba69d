"""The whole expansion: from concepts to facts, questions and passages, step after step, all concepts together."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from concept_forget.config import Config
from concept_forget.expand import memory
from concept_forget.expand.ahead import Ahead
from concept_forget.expand.answers import check_answers, check_indirect, write_refusals
from concept_forget.expand.budget import Budget
from concept_forget.expand.consistency import Consistency, check_samples
from concept_forget.expand.counterfactuals import write_counterfactuals
from concept_forget.expand.diversity import Measuring
from concept_forget.expand.facts import StatedFact, list_facets, require_own_facts, state_facts
from concept_forget.expand.indirect import write_indirect
from concept_forget.expand.judging import Judge
from concept_forget.expand.kept import drop_forgotten, drop_telling_questions, kept_topics
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.neighbours import DISTANCES, Subject, find_neighbours
from concept_forget.expand.passages import STEP as PASSAGES
from concept_forget.expand.passages import write_passages
from concept_forget.expand.questions import Sheet, write_questions
from concept_forget.expand.replacements import mark_stale
from concept_forget.expand.screening import Encodes, Screen
from concept_forget.expand.translations import write_translations
from concept_forget.expand.writer import Watch, Writer
from concept_forget.records import Fact, Passage, Question

if TYPE_CHECKING:
    from concept_forget.engines.prompts import PromptSet
    from concept_forget.engines.protocol import Engine
    from concept_forget.workspace import Costs

ELSEWHERE = ("vllm", "openai")
"""Engines that work in another process: while one does, this one has processors and memory left to measure with."""

OpenTarget = Callable[[], "Engine"]
"""Opens the model that is to be unlearned."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """What was written and kept, and the account of all that was not."""

    facts: tuple[Fact, ...]
    questions: tuple[Question, ...]
    ledger: Ledger
    budget: Budget = field(default_factory=Budget)
    gates: dict[str, object] = field(default_factory=dict)
    diversity: dict[str, object] = field(default_factory=dict)
    passages: tuple[Passage, ...] = ()
    consistency: Consistency = field(default_factory=Consistency)
    skipped: Mapping[str, str] = field(default_factory=dict)

    def summary(self, config: Config) -> dict[str, object]:
        """Counts by step, by concept and by distance."""
        own = Counter(fact.concept for fact in self.facts if fact.distance is None)
        neighbours = [fact for fact in self.facts if not fact.kept]
        entities = Counter(distance for _, distance in {(f.subject, f.distance) for f in neighbours})
        facts = Counter(fact.distance for fact in neighbours)
        questions = Counter(question.family for question in self.questions)
        passages = Counter(passage.style for passage in self.passages)
        return {
            "facts": {concept.name: own[concept.name] for concept in config.concepts},
            "neighbours": {distance: entities[distance] for distance in DISTANCES},
            "neighbour_facts": {distance: facts[distance] for distance in DISTANCES},
            "kept_facts": sum(fact.kept for fact in self.facts),
            "replaced_facts": sum(bool(fact.replacement) for fact in self.facts),
            "questions": dict(sorted(questions.items())),
            "counterfactuals": sum(bool(question.counterfactual) for question in self.questions),
            "passages": dict(sorted(passages.items())),
            "self_consistency": self.consistency.summary() if self.consistency.samples else None,
            "skipped": dict(self.skipped),
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
    open_target: OpenTarget | None = None,
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
        costs: Is told of the seconds that gates and diversity took, and for how many of them nothing waited.
        open_target: Opens the model to be unlearned for its memory dumps; None: only where the generator is it are
            there any.

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
    topics = [*list_facets(writer, subjects, config.expand), *kept_topics(config.concepts, config.expand)]
    screen = Screen(config.expand, config.concepts, config.seed, ledger, encoder)
    facts = mark_stale(writer, state_facts(writer, topics, config.concepts), config.concepts)
    require_own_facts(writer, facts)
    facts = screen.keep_facts(drop_forgotten(writer, facts))
    sheets, consistency = _write_sheets(writer, facts, config, screen, judge)
    measuring = Measuring(config, topics, sheets, encoder)
    with contextlib.closing(Ahead()) as ahead:
        if config.generator.engine in ELSEWHERE:
            measuring.begin(ahead, whole=not _more_texts(config, prompts))
        write_refusals(writer, sheets)
        write_counterfactuals(writer, sheets, config)
        passages = write_passages(writer, sheets, config)
        ahead.wait()  # the encoder is wanted again, and a target that is loaded wants the memory
    if config.expand.memory_dumps:
        passages += _dump_memory(writer, sheets, config, engine, open_target)
    passages = _screen_passages(passages, subjects, screen, ledger)
    with screen.timed():
        diversity = measuring.finish([(p.concept, "passage", p.text) for p in passages if p.distance is None])
    if costs is not None:
        costs.gate_seconds += screen.seconds + writer.ahead.seconds + ahead.seconds
        costs.hidden_gate_seconds += writer.ahead.hidden + ahead.hidden
    return Expansion(
        facts=tuple(sheet.stated.fact for sheet in sheets),
        questions=tuple(question for sheet in sheets for question in _numbered(sheet)),
        ledger=ledger,
        budget=writer.budget,
        passages=tuple(passages),
        consistency=consistency,
        skipped=writer.skipped,
        gates=screen.summary(),
        diversity=diversity,
    )


def _write_sheets(
    writer: Writer, facts: Sequence[StatedFact], config: Config, screen: Screen, judge: Judge | None
) -> tuple[list[Sheet], Consistency]:
    """The facts with their questions, whose answers were checked, and how far the target agrees with itself."""
    sheets = drop_telling_questions(writer, write_questions(writer, facts, config.expand, screen))
    sheets = check_answers(writer, sheets, config)
    consistency = Consistency()
    if config.expand.answer_samples:
        sheets, consistency = check_samples(writer, sheets, config)
    write_indirect(writer, sheets, config)
    write_translations(writer, sheets, config)
    check_indirect(writer, sheets)
    return (judge.keep_sheets(sheets, writer) if judge is not None else sheets), consistency


def _more_texts(config: Config, prompts: PromptSet) -> bool:
    """Whether texts may yet come besides facts and questions."""
    return bool(config.expand.memory_dumps or (config.expand.passages and PASSAGES in prompts.prompts))


def _dump_memory(
    writer: Writer, sheets: Sequence[Sheet], config: Config, engine: Engine, open_target: OpenTarget | None
) -> list[Passage]:
    """What the target goes on to write, be it the generator or a model that is opened for it."""
    if not writer.can(memory.STEP, memory.OPENINGS):
        return []
    if config.generator.engine == "target":
        return memory.dump_memory(writer, sheets, config, None)
    if open_target is None:
        writer.skipped[memory.STEP] = "the target is not at hand"
        return []
    engine.close()  # two models in memory at once are one too many for some machines
    with contextlib.closing(open_target()) as target:
        return memory.dump_memory(writer, sheets, config, target)


def _screen_passages(
    passages: Sequence[Passage], subjects: Sequence[Subject], screen: Screen, ledger: Ledger
) -> list[Passage]:
    """The texts that are about their subject, and like none that came before."""
    by_name = {subject.name: subject for subject in subjects}
    reasons = screen.passage_reasons([(by_name[passage.subject], passage.text) for passage in passages])
    kept = []
    for passage, reason in zip(passages, reasons, strict=True):
        if reason is None:
            kept.append(passage)
        else:
            ledger.reject("passages", reason, passage.text, passage.parents)
    return kept


def _numbered(sheet: Sheet) -> list[Question]:
    """The sheet's questions, the wordings of each family counted: paraphrases from 1, for the direct one is their 0."""
    return [
        dataclasses.replace(question, variant=variant)
        for family in sheet.families
        for variant, question in enumerate(family, start=1 if family is sheet.paraphrases else 0)
    ]
