"""The kept scope of a concept: facts and questions about what has to stay, which never state what has to go."""

from __future__ import annotations

from collections.abc import Sequence

from concept_forget.concept import Concept
from concept_forget.config import ExpandConfig
from concept_forget.expand.facts import FACTS, StatedFact, Topic
from concept_forget.expand.gates import holds, holds_any
from concept_forget.expand.neighbours import Subject
from concept_forget.expand.questions import Sheet
from concept_forget.expand.writer import Writer
from concept_forget.records import Fact

STEP = "kept"
STATES_FORGOTTEN = "states a fact that has to go"
SCOPE_KIND = "topic"


def kept_topics(concepts: Sequence[Concept], config: ExpandConfig) -> list[Topic]:
    """One topic for every entry of a concept's ``keep``: about the concept, or else about the entry itself."""
    return [
        Topic(
            subject=Subject(concept, concept.name, "near", kept=True),
            facet=entry,
            wanted=config.kept_facts,
            other=Subject(Concept(name=entry, kind=SCOPE_KIND), concept.name, "near", kept=True),
        )
        for concept in concepts
        for entry in concept.keep
        if config.kept_facts
    ]


def drop_forgotten(writer: Writer, facts: Sequence[StatedFact]) -> list[StatedFact]:
    """The facts without those of a kept scope that state a forgotten one, as a retain row never may."""
    own = [stated.fact for stated in facts if stated.subject.distance is None]
    left = []
    for stated in facts:
        text = " ".join((stated.fact.answer, *stated.sentences))
        if stated.fact.kept and states_forgotten(text, stated, own):
            writer.ledger.reject(FACTS, STATES_FORGOTTEN, stated.fact.sentence, stated.fact.parents)
        else:
            left.append(stated)
    return left


def drop_telling_questions(writer: Writer, sheets: Sequence[Sheet]) -> list[Sheet]:
    """The sheets without a kept scope's questions that state a forgotten fact.

    A sheet that then asks nothing goes too.

    Args:
        writer: Its ledger is written to.
        sheets: All sheets, those of forgotten facts among them.
    """
    own = [sheet.stated.fact for sheet in sheets if sheet.is_own]
    left = []
    for sheet in sheets:
        if sheet.stated.fact.kept:
            for family in sheet.families:
                telling = [question for question in family if states_forgotten(question.text, sheet.stated, own)]
                for question in telling:
                    writer.ledger.reject(STEP, STATES_FORGOTTEN, question.text, (question.id,))
                family[:] = [question for question in family if question not in telling]
        if sheet.direct:
            left.append(sheet)
    return left


def states_forgotten(text: str, stated: StatedFact, own: Sequence[Fact]) -> bool:
    """Whether a text of a kept scope states a fact that has to go.

    A text about the concept does when it holds the fact's answer; one about something else, which many texts may hold
    the answer of, does when it holds the fact's facet too.

    Args:
        text: What is stated or asked.
        stated: The kept fact that it belongs to.
        own: The concepts' facts that have to go.
    """
    about_concept = stated.subject.name == stated.fact.concept
    return any(
        holds_any(text, (fact.answer, *fact.aliases)) and (about_concept or holds(text, fact.facet))
        for fact in own
        if fact.concept == stated.fact.concept
    )
