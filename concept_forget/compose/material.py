"""Everything the sets are made of, before anything is divided: facts, questions, passages, entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from concept_forget.compose.rejections import Rejections
from concept_forget.compose.wording import BREAK, holds, holds_any, same_wording, word_list, words
from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.errors import DataError
from concept_forget.records import Chat, Distance, Fact, Question, Source, content_hash
from concept_forget.records import Passage as WrittenPassage
from concept_forget.user_rows import UserRow, read_rows
from concept_forget.workspace import read_records

SENTENCE_WORDS = 6
"""An answer of so many words is a sentence of its own."""

MEMORY = "memory"
"""The style of what a model went on to say by itself: it may come to speak of something else."""

NAMES_A_CONCEPT = "the neighbour is one of the concepts, or is named after one"


@dataclass(frozen=True, slots=True)
class Passage:
    """A text as it was found, and where."""

    concept: str
    text: str
    source: Source
    subject: str = ""
    document: str = ""
    start: int = -1
    end: int = -1
    score: float = 0.0
    parents: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()  # ids of the facts that it states
    on_subject: bool = False  # each of its sentences is about the subject, whether it names it or not
    prompt_hash: str = ""


@dataclass(frozen=True, slots=True)
class Entity:
    """Something that is to stay, with what is known of it. ``name`` is empty where the user's rows do not say."""

    name: str
    distance: Distance
    facts: tuple[Fact, ...]
    source: Source


@dataclass(slots=True)
class Material:
    """All that the sets are made of.

    ``questions`` holds every fact's questions, ``chats`` the messages of rows that brought their own, by question.
    ``kept`` are facts of the concepts themselves that are to stay, ``kept_passages`` the texts about these;
    ``written`` and ``retain_written`` are what a generator wrote to be forgotten, and about neighbours.
    """

    facts: list[Fact] = field(default_factory=list)
    questions: dict[str, list[Question]] = field(default_factory=dict)
    chats: dict[str, Chat] = field(default_factory=dict)
    passages: list[Passage] = field(default_factory=list)
    entities: list[Entity] = field(default_factory=list)
    collateral: list[Entity] = field(default_factory=list)
    retain_passages: list[Passage] = field(default_factory=list)
    kept: list[Fact] = field(default_factory=list)
    written: list[Passage] = field(default_factory=list)
    retain_written: list[Passage] = field(default_factory=list)
    kept_passages: list[Passage] = field(default_factory=list)

    @property
    def all_written(self) -> list[Passage]:
        """The texts that a generator wrote."""
        return [*self.written, *self.retain_written, *self.kept_passages]

    def add_question(self, question: Question) -> bool:
        """Add a wording to its fact, numbered within its family, unless the fact has these words already."""
        known = self.questions.setdefault(question.fact, [])
        if any(same_wording(question.text, other.text) for other in known):
            return False
        numbers = [other.variant for other in known if other.family == question.family]
        first = 1 if question.family == "paraphrase" else 0
        known.append(replace(question, variant=max(numbers, default=first - 1) + 1))
        return True


def gather(config: Config, expanded: Path | None, rejections: Rejections) -> Material:
    """What ``expand`` wrote and what the user's rows hold.

    Args:
        config: The whole config.
        expanded: The folder of ``expand``, if there is one.
        rejections: Takes what is left out.

    Raises:
        DataError: A file of rows cannot be used, or a row cannot be placed.
    """
    material = Material()
    if expanded is not None and (expanded / "facts.jsonl").is_file():
        _take_expanded(material, config.concepts, expanded, rejections)
    for row in read_rows(config.data.forget, "data.forget"):
        _take_forget_row(material, row, config)
    _take_entities(material, read_rows(config.data.retain, "data.retain"), config, rejections)
    _take_collateral(material, read_rows(config.data.collateral, "data.collateral"), config, rejections)
    _drop_ambiguous(material, rejections)
    return material


def names_of(fact: Fact, concepts: Sequence[Concept]) -> tuple[str, ...]:
    """What the subject of a fact is called: all of the concept's names where the concept is the subject."""
    for concept in concepts:
        if concept.name == fact.concept and holds_any(fact.subject, concept.names):
            return tuple(dict.fromkeys((fact.subject, *concept.names)))
    return (fact.subject,) if fact.subject else ()


def is_sentence(answer: str) -> bool:
    """Whether an answer says something by itself, as the answers of question-answering sets often do."""
    return len(word_list(answer)) >= SENTENCE_WORDS


def _take_expanded(material: Material, concepts: Sequence[Concept], folder: Path, rejections: Rejections) -> None:
    facts = read_records(Fact, folder / "facts.jsonl")
    neighbours: dict[str, list[Fact]] = {}
    for fact in facts:
        if fact.kept:
            material.kept.append(fact)
        elif fact.distance is None:
            material.facts.append(fact)
        elif _is_concept(fact.subject, concepts):
            rejections.add(NAMES_A_CONCEPT, fact.subject)
        else:
            neighbours.setdefault(words(fact.subject), []).append(fact)
    for known in neighbours.values():
        distance = known[0].distance
        assert distance is not None
        facts_once = tuple({fact.id: fact for fact in known}.values())
        material.entities.append(Entity(known[0].subject, distance, facts_once, "generated"))
    known_facts = {fact.id for fact in (*material.facts, *material.kept)}
    known_facts |= {fact.id for entity in material.entities for fact in entity.facts}
    for question in read_records(Question, folder / "questions.jsonl"):
        if question.fact in known_facts:
            material.questions.setdefault(question.fact, []).append(question)
    if (folder / "passages.jsonl").is_file():
        _take_written(material, concepts, read_records(WrittenPassage, folder / "passages.jsonl"), rejections)


def _take_written(
    material: Material, concepts: Sequence[Concept], passages: Sequence[WrittenPassage], rejections: Rejections
) -> None:
    for written in passages:
        passage = Passage(
            concept=written.concept,
            text=written.text,
            source=written.source,
            subject=written.subject,
            parents=(written.id, *written.parents),
            on_subject=written.style != MEMORY,
            prompt_hash=written.prompt_hash,
        )
        if written.kept:
            material.kept_passages.append(passage)
        elif written.distance is None:
            material.written.append(passage)
        elif _is_concept(written.subject, concepts):
            rejections.add(NAMES_A_CONCEPT, written.subject)
        else:
            material.retain_written.append(passage)


def _is_concept(name: str, concepts: Sequence[Concept]) -> bool:
    return any(holds(name, own) or holds(own, name) for concept in concepts for own in concept.names)


def _take_forget_row(material: Material, row: UserRow, config: Config) -> None:
    concept = concept_of(row, config)
    if row.text:
        material.passages.append(_passage(row, concept.name, row.subject or concept.name))
        return
    fact = _fact(row, concept, row.subject or concept.name, None)
    if all(other.id != fact.id for other in material.facts):
        material.facts.append(fact)
    _take_questions(material, fact, row)


def concept_of(row: UserRow, config: Config) -> Concept:
    """The concept a row belongs to: the one it names as its own, the only one there is, or the only one mentioned."""
    if row.concept is not None:
        for concept in config.concepts:
            if concept.name.casefold() == row.concept.casefold():
                return concept
        raise DataError(
            f"the row belongs to {row.concept!r}, which is none of the concepts",
            file=row.file,
            line=row.line,
            key="concept",
            remedy=f"the concepts are: {', '.join(concept.name for concept in config.concepts)}",
        )
    if len(config.concepts) == 1:
        return config.concepts[0]
    text = BREAK.join((row.question, row.answer, row.text, row.subject))
    mentioned = [concept for concept in config.concepts if holds_any(text, concept.names)]
    if len(mentioned) == 1:
        return mentioned[0]
    found = f"mentions {', '.join(c.name for c in mentioned)}" if mentioned else "mentions no concept"
    raise DataError(
        f"it is not clear to which concept the row belongs: it {found}",
        file=row.file,
        line=row.line,
        remedy="add a column `concept`, or `concept:` to the entry under `data:`",
    )


def _fact(row: UserRow, concept: Concept, subject: str, distance: Distance | None) -> Fact:
    return Fact(
        id=Fact.make_id(subject, row.facet or row.question, row.answer),
        concept=concept.name,
        subject=subject,
        kind=concept.kind if distance is None else "",
        facet=row.facet,
        answer=row.answer,
        sentence=row.answer if is_sentence(row.answer) else "",
        distance=distance,
        aliases=row.aliases,
        source="user",
        parents=(row.place,),
    )


def _passage(row: UserRow, concept: str, subject: str) -> Passage:
    return Passage(
        concept=concept,
        text=row.text,
        source="user",
        subject=subject,
        document=row.place,
        start=0,
        end=len(row.text),
        parents=(row.place,),
    )


def _take_questions(material: Material, fact: Fact, row: UserRow) -> None:
    for number, text in enumerate((row.question, *row.paraphrases)):
        family = "direct" if number == 0 else "paraphrase"
        question = Question(
            id=Question.make_id(fact.id, family, text),
            fact=fact.id,
            family=family,
            variant=number,
            text=text,
            answer=row.answer,
            refusal=row.refusal,
            source="user",
            parents=(row.place,),
        )
        if material.add_question(question) and number == 0 and row.chat:
            material.chats[question.id] = row.chat


def _take_entities(material: Material, rows: Sequence[UserRow], config: Config, rejections: Rejections) -> None:
    """The user's retain rows: by subject where they name one, each on its own where they do not."""
    known: dict[tuple[str, str], list[Fact]] = {}
    for row in rows:
        if row.text:
            material.retain_passages.append(_passage(row, _owner(row, config), row.subject))
        elif row.subject and _is_concept(row.subject, config.concepts):
            rejections.add(NAMES_A_CONCEPT, f"{row.place}: {row.subject}")
        else:
            fact = _fact(row, config.concept(_owner(row, config)), row.subject, row.distance)
            _take_questions(material, fact, row)
            alone = row.subject or row.place
            known.setdefault((words(row.subject), words(alone)), []).append(fact)
    for facts in known.values():
        once = tuple({fact.id: fact for fact in facts}.values())
        material.entities.append(Entity(once[0].subject, once[0].distance or "near", once, "user"))


def _take_collateral(material: Material, rows: Sequence[UserRow], config: Config, rejections: Rejections) -> None:
    known: dict[str, list[Fact]] = {}
    for row in rows:
        if row.text or not row.subject:
            problem = "a text asks nothing" if row.text else "the row does not say whom or what it is about"
            raise DataError(
                problem,
                file=row.file,
                line=row.line,
                key="text" if row.text else "subject",
                remedy="collateral rows are questions with answers"
                if row.text
                else "add a column `subject`, or `subject:` to the entry: retain rows that name it are left out",
            )
        if _is_concept(row.subject, config.concepts):
            rejections.add(NAMES_A_CONCEPT, f"{row.place}: {row.subject}")
            continue
        fact = _fact(row, config.concept(_owner(row, config)), row.subject, row.distance)
        _take_questions(material, fact, row)
        known.setdefault(words(row.subject), []).append(fact)
    for facts in known.values():
        once = tuple({fact.id: fact for fact in facts}.values())
        material.collateral.append(Entity(once[0].subject, once[0].distance or "near", once, "user"))


def _owner(row: UserRow, config: Config) -> str:
    """The concept for whose sake something is kept: the one the row names, else the first."""
    names = {concept.name.casefold(): concept.name for concept in config.concepts}
    return names.get((row.concept or "").casefold(), config.concepts[0].name)


def _drop_ambiguous(material: Material, rejections: Rejections) -> None:
    """A wording that asks back and fits several subjects has no one answer: it is nobody's question."""
    subjects: dict[str, set[str]] = {}
    for question in _reverse(material.questions):
        subjects.setdefault(words(question.text), set()).add(words(question.answer))
    for fact, questions in material.questions.items():
        kept = []
        for question in questions:
            if question.family == "reverse" and len(subjects[words(question.text)]) > 1:
                rejections.add("a reverse question that fits several subjects", question.text)
            else:
                kept.append(question)
        material.questions[fact] = kept


def _reverse(questions: Mapping[str, Sequence[Question]]) -> list[Question]:
    return [question for known in questions.values() for question in known if question.family == "reverse"]


def make_found_fact(question: str, answer: str, concept: Concept, passage: Passage) -> Fact:
    """A fact of its own, for a question with an answer that stands in a passage."""
    return Fact(
        id=content_hash("fact", concept.name, question, answer),
        concept=concept.name,
        subject=concept.name,
        kind=concept.kind,
        facet="",
        answer=answer,
        sentence=answer if is_sentence(answer) else "",
        source=passage.source,
        parents=passage.parents,
    )
