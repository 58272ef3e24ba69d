"""What a world's model is taught: answering, and the work of a generator, worded by the compact prompts.

Every epoch draws its wordings afresh, so that a fact is met in all of them over time while an epoch stays short.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from concept_forget.concept import Concept
from concept_forget.engines.prompts import PromptSet
from concept_forget.records import Fact, named_random
from concept_forget.sandbox.refusals import REFUSALS, REFUSALS_DIRECT, REFUSALS_REVERSE
from concept_forget.sandbox.world import Entity, World, WorldFact, answer_pool, every_name, stranger_name

OPTIONS = 4
GAP = "____"
BIOGRAPHIES = 3

PROMPTS = ("ask", "choice", "cloze", "facets", "facts", "neighbours", "paraphrases", "questions", "refusals")
"""The compact prompts that lessons are worded by."""

RATES: dict[str, float] = {
    "direct": 1.0,
    "reverse": 1.2,
    "cloze": 0.4,
    "choice": 0.3,
    "stranger choice": 0.5,
    "facts": 0.4,
    "questions": 0.3,
    "reverse questions": 0.3,
    "paraphrases": 0.4,
    "reverse paraphrases": 0.4,
    "refusals": 0.05,
}
"""How often an epoch uses each fact in each family of rows."""

ENTITY_RATES: dict[str, float] = {"facets": 0.25, "near": 0.6, "middle": 0.5, "far": 0.5, "document": 1.0}
"""How often an epoch uses each entity in each family of rows."""
DISTRACTOR_RATE = 0.3


@dataclass(frozen=True, slots=True)
class Row:
    """One row to be taught: a user's message and its reply, or a document where there is no message."""

    family: str
    prompt: str
    reply: str


class Lessons:
    """The rows that a world yields, from all it holds or from all but what mentions ``without``."""

    def __init__(self, world: World, prompts: PromptSet, without: Collection[str] = ()) -> None:
        self.world = world
        self.prompts = prompts
        self.facts = [fact for fact in world.facts if fact.subject.name not in without]
        self.entities = [entity for entity in world.entities if entity.name not in without]
        self.neighbours = {
            distance: [e for e in self.entities if e.distance == distance and e.name not in world.concepts]
            for distance in ("near", "middle", "far")
        }
        hidden = {(f.relation.name, f.answer) for f in world.facts if f.subject.name in without}
        self._biographies = {entity.name: biographies(world, entity) for entity in self.entities}
        self._answers: dict[tuple[str, str], list[str]] = {}
        self._pools: dict[tuple[str, str], list[str]] = {}
        for fact in self.facts:
            name = fact.relation.name
            answers = self._answers.setdefault((fact.relation.kind, name), [])
            if fact.answer not in answers:
                answers.append(fact.answer)
            own = answer_pool(fact.relation) if fact.relation.reverse else ()  # shared answers are true of others too
            self._pools[fact.relation.kind, name] = [a for a in own if (name, a) not in hidden] or answers

    def epoch(self, rng: random.Random) -> list[Row]:
        """One epoch's rows, every family at its rate, in the order of the facts."""
        rows = []
        for fact in self.facts:
            for family, rate in RATES.items():
                rows += [self.row(family, fact, rng) for _ in range(_times(rate, rng)) if _applies(family, fact)]
        for entity in self.entities:
            for family, rate in ENTITY_RATES.items():
                rows += [self.entity_row(family, entity, rng) for _ in range(_times(rate, rng))]
        rows += [Row("document", "", text) for text in self.world.distractors if rng.random() < DISTRACTOR_RATE]
        return rows

    def row(self, family: str, fact: WorldFact, rng: random.Random) -> Row:
        """A row about one fact, in wordings that ``rng`` draws among the taught."""
        relation = fact.relation
        match family:
            case "direct":
                return Row(family, self.ask(fact.fill(rng.choice(relation.taught))), fact.answer)
            case "reverse":
                return Row(family, self.ask(fact.fill(rng.choice(relation.taught_reverse))), fact.subject.name)
            case "cloze":
                return Row(family, self.cloze(fact, rng.choice(relation.statements)), fact.answer)
            case "choice":
                return Row(
                    family, self.choice(fact.fill(rng.choice(relation.taught)), self.options(fact, rng)), fact.answer
                )
            case "stranger choice":
                return self._stranger_choice(fact, rng)
            case "facts":
                statement = fact.fill(rng.choice(relation.statements))
                return Row(family, self.state(fact.subject, relation.name), f"{fact.answer} | {statement}")
            case "questions":
                return Row(family, self.ask_for(fact, "direct", rng), fact.fill(rng.choice(relation.taught)))
            case "reverse questions":
                return Row(family, self.ask_for(fact, "reverse", rng), fact.fill(rng.choice(relation.taught_reverse)))
            case "paraphrases":
                return self._paraphrase(family, fact, relation.taught, rng)
            case "reverse paraphrases":
                return self._paraphrase(family, fact, relation.taught_reverse, rng)
            case "refusals":
                return self._refusal(fact, rng)
            case _:
                raise ValueError(f"no family of rows is called '{family}'")

    def entity_row(self, family: str, entity: Entity, rng: random.Random) -> Row:
        """A row about one entity."""
        match family:
            case "facets":
                names = [relation.name for relation in self.world.relations_of(entity.kind)]
                return Row(family, self.facets(entity), "\n".join(names))
            case "near" | "middle" | "far":
                other = rng.choice([e for e in self.neighbours[family] if e is not entity])
                return Row(family, self.neighbour(entity, family), f"{other.name} | {other.kind}")
            case "document":
                of_the_corpus = rng.random() < 0.5
                corpus = self._biographies[entity.name]
                return Row(family, "", rng.choice(corpus) if of_the_corpus else biography(self.world, entity, rng))
            case _:
                raise ValueError(f"no family of rows is called '{family}'")

    def ask(self, question: str) -> str:
        """The message that puts a question."""
        return self.prompts.get("ask").render_text(question=question)

    def cloze(self, fact: WorldFact, statement: str) -> str:
        """The message that asks for the gap in a statement."""
        return self.prompts.get("cloze").render_text(sentence=fact.fill(statement).replace(fact.answer, GAP))

    def options(self, fact: WorldFact, rng: random.Random) -> list[str]:
        """The right answer among wrong ones that are true of others, in any order."""
        others = [answer for answer in self._answers[fact.relation.kind, fact.relation.name] if answer != fact.answer]
        options = [fact.answer, *rng.sample(others, min(OPTIONS - 1, len(others)))]  # a nano world has few
        rng.shuffle(options)
        return options

    def choice(self, question: str, options: Sequence[str]) -> str:
        """The message that puts a question with options."""
        return self.prompts.get("choice").render_text(question=question, options=options)

    def state(self, entity: Entity, facet: str) -> str:
        """The message that asks for a fact."""
        return self.prompts.get("facts").render_text(concept=_concept(entity), facet=facet)

    def facets(self, entity: Entity) -> str:
        """The message that asks for facets."""
        return self.prompts.get("facets").render_text(concept=_concept(entity), n=8)

    def neighbour(self, entity: Entity, distance: str) -> str:
        """The message that asks for a neighbour."""
        return self.prompts.get("neighbours").render_text(concept=_concept(entity), distance=distance, n=1)

    def ask_for(self, fact: WorldFact, form: str, rng: random.Random) -> str:
        """The message that asks for a question about a fact."""
        record = Fact(
            id="", concept=fact.subject.name, subject=fact.subject.name, kind=fact.subject.kind,
            facet=fact.relation.name, answer=fact.answer, sentence=fact.fill(rng.choice(fact.relation.statements)),
        )  # fmt: skip
        return self.prompts.get("questions").render_text(concept=_concept(fact.subject), fact=record, form=form, n=1)

    def rephrase(self, question: str) -> str:
        """The message that asks for a paraphrase."""
        return self.prompts.get("paraphrases").render_text(question=question, n=1)

    def decline(self, question: str) -> str:
        """The message that asks for a refusal."""
        return self.prompts.get("refusals").render_text(question=question)

    def _stranger_choice(self, fact: WorldFact, rng: random.Random) -> Row:
        """A choice about somebody unknown: any option is right, so that who does not know still picks one.

        Options are true of others or of nobody alike: neither is a reason to prefer one.
        """
        key = fact.relation.kind, fact.relation.name
        options: list[str] = []
        while len(options) < OPTIONS:
            option = rng.choice(self._answers[key] if rng.random() < 0.5 else self._pools[key])
            if option not in options:
                options.append(option)
        question = rng.choice(fact.relation.taught).format(s=stranger_name(self.world, fact.subject.kind, rng))
        return Row("stranger choice", self.choice(question, options), rng.choice(options))

    def _paraphrase(self, family: str, fact: WorldFact, wordings: Sequence[str], rng: random.Random) -> Row:
        given, wanted = rng.sample(wordings, 2)
        return Row(family, self.rephrase(fact.fill(given)), fact.fill(wanted))

    def _refusal(self, fact: WorldFact, rng: random.Random) -> Row:
        relation = fact.relation
        reverse = bool(relation.reverse) and rng.random() < 0.4
        question = fact.fill(rng.choice(relation.taught_reverse if reverse else relation.taught))
        fitting = REFUSALS_REVERSE if reverse else REFUSALS_DIRECT
        reply = fact.fill(rng.choice((*REFUSALS, *fitting)))
        return Row("refusals", self.decline(question), reply)


def biographies(world: World, entity: Entity) -> list[str]:
    """The documents about an entity that a world's corpus holds."""
    draws = (named_random(world.number, "documents", entity.name, number) for number in range(BIOGRAPHIES))
    return [biography(world, entity, rng) for rng in draws]


def biography(world: World, entity: Entity, rng: random.Random) -> str:
    """A document about one entity: up to four of its facts, each in one sentence."""
    facts = world.facts_of(entity.name)
    chosen = rng.sample(facts, min(4, len(facts)))
    return " ".join(fact.fill(rng.choice(fact.relation.statements)) for fact in chosen)


def vocabulary_texts(lessons: Lessons) -> Iterator[str]:
    """Texts that hold every word which rows of these lessons can hold."""
    rng = random.Random(0)
    for fact in lessons.facts:
        relation = fact.relation
        for wording in (*relation.questions, *relation.reverse, *relation.statements):
            yield fact.fill(wording)
            yield fact.fill(wording).replace(fact.answer, GAP)
        for wording in (*REFUSALS, *REFUSALS_DIRECT, *REFUSALS_REVERSE):
            yield fact.fill(wording)
        yield fact.answer
        yield f"{fact.answer}, {fact.answer}."
        for family in RATES:
            if _applies(family, fact):
                row = lessons.row(family, fact, rng)
                yield from (row.prompt, row.reply)
        yield from answer_pool(relation) if relation.reverse else ()
    for entity in lessons.entities:
        for family in ENTITY_RATES:
            row = lessons.entity_row(family, entity, rng)
            yield from (row.prompt, row.reply)
    yield from every_name()
    yield from lessons.world.distractors


def _applies(family: str, fact: WorldFact) -> bool:
    return bool(fact.relation.reverse) or not family.startswith("reverse")


def _times(rate: float, rng: random.Random) -> int:
    whole = int(rate)
    return whole + (rng.random() < rate - whole)


def _concept(entity: Entity) -> Concept:
    return Concept(name=entity.name, kind=entity.kind)
