"""Passages about a concept: texts in textbook style for several readers, each with the facts that it states."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.expand.gates import KEPT, LACKS_SUBJECT, META_TEXT, TOO_LONG, check_text, holds_any
from concept_forget.expand.orders import Order, fill_orders, nothing_came
from concept_forget.expand.questions import Sheet
from concept_forget.expand.replies import EMPTY
from concept_forget.expand.writer import Writer
from concept_forget.records import Fact, Passage, named_random

STEP = "passages"
LEVELS = ("child", "student", "expert")
NOTES = 8
"""Facts that a passage is written from, at most: more make a list of a text."""

SHORTEST, LONGEST = 60, 4000  # characters, of which scripts without spaces need fewest
TOO_SHORT = "too short for a passage"
STATES_NOTHING = "states no fact that is known"


def write_passages(writer: Writer, sheets: Sequence[Sheet], config: Config) -> list[Passage]:
    """``expand.passages`` texts about every concept for each reader, each written from a draw of its facts.

    Raises:
        StageError: Passages were asked for and none got through.
    """
    if not config.expand.passages or not writer.can(STEP, STEP):
        return []
    orders: list[tuple[Concept, str, list[Fact], Order]] = []
    for concept in config.concepts:
        own, kept = facts_about(concept, sheets)
        if not own:
            continue  # rows of the user's make up for its facts
        for level in LEVELS:
            for number in range(config.expand.passages):
                notes = named_random(config.seed, "expand", STEP, concept.name, level, number).sample(
                    own, min(NOTES, len(own))
                )

                def check(
                    text: str, concept: Concept = concept, own: list[Fact] = own, kept: list[Fact] = kept
                ) -> str | None:
                    return check_passage(text, concept.names, own, kept)

                variables = {"concept": concept, "level": level, "facts": notes}
                orders.append((concept, level, notes, Order((concept.name, level, str(number)), variables, 1, check)))
    fill_orders(writer, STEP, [order for *_, order in orders], set())
    if error := nothing_came(writer, STEP, "no passage about any concept was written", "expand.passages"):
        raise error
    prompt_hash = writer.prompts.get(STEP).hash
    return [
        make_passage(concept, text, level, sheets, parents=tuple(note.id for note in notes), prompt_hash=prompt_hash)
        for concept, level, notes, order in orders
        for text in order.texts
    ]


def check_passage(text: str, names: Collection[str], own: Sequence[Fact], kept: Sequence[Fact]) -> str | None:
    """A text of some length about the subject that states a known fact, and none of what has to stay."""
    if reason := check_prose(text, names, kept):
        return reason
    if not stated_facts(text, names, own):
        return STATES_NOTHING
    return None


def check_prose(text: str, names: Collection[str], kept: Sequence[Fact]) -> str | None:
    """A text of some length that names the subject and states nothing that has to stay."""
    if len(text) > LONGEST:
        return TOO_LONG
    if len(text) < SHORTEST:
        return TOO_SHORT if text else EMPTY
    if any(check_text("sentence", sentence) == META_TEXT for sentence in (text[:200], text[-200:])):
        return META_TEXT
    if not holds_any(text, names):
        return LACKS_SUBJECT
    if stated_facts(text, names, kept):
        return KEPT
    return None


def facts_about(concept: Concept, sheets: Sequence[Sheet]) -> tuple[list[Fact], list[Fact]]:
    """A concept's own facts, and those of its kept scope."""
    facts = [sheet.stated.fact for sheet in sheets if sheet.stated.fact.concept == concept.name]
    return [fact for fact in facts if fact.distance is None], [fact for fact in facts if fact.kept]


def stated_facts(text: str, names: Collection[str], facts: Sequence[Fact]) -> list[Fact]:
    """The facts whose subject and answer both stand in a text.

    Args:
        text: The text.
        names: What the concept is called.
        facts: Facts of the concept, or of what else belongs to its kept scope.
    """
    return [
        fact
        for fact in facts
        if holds_any(text, (fact.answer, *fact.aliases)) and holds_any(text, {fact.subject, *names})
    ]


def make_passage(
    concept: Concept,
    text: str,
    style: str,
    sheets: Sequence[Sheet],
    *,
    parents: tuple[str, ...],
    prompt_hash: str,
    opening: str = "",
) -> Passage:
    """The record of a text about a concept, with the concept's own facts that it states."""
    own, _ = facts_about(concept, sheets)
    facts = tuple(fact.id for fact in stated_facts(text, concept.names, own))
    return Passage(
        id=Passage.make_id(concept.name, text),
        concept=concept.name,
        subject=concept.name,
        text=text,
        style=style,
        opening=opening,
        facts=facts,
        parents=parents,
        prompt_hash=prompt_hash,
    )
