"""Stale knowledge: the facts whose answer has to give way to a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from concept_forget.concept import Concept, Replacement
from concept_forget.expand.facts import StatedFact
from concept_forget.expand.gates import check_fact, comparable, holds
from concept_forget.expand.neighbours import Subject
from concept_forget.expand.writer import Writer
from concept_forget.records import Fact

STEP = "replacements"
STATEMENT = "statement"
IS_NEW = "is the new answer of stale knowledge"


def mark_stale(writer: Writer, facts: Sequence[StatedFact], concepts: Sequence[Concept]) -> list[StatedFact]:
    """The facts, those with an answer that ``concept.replace`` names with the new answer beside it.

    A concept's fact with a new answer is no fact to forget, and is rejected. Where nobody stated a fact with the old
    answer, it is made from the entry and the prompt ``statement``.

    Raises:
        StageError: A fact has to be made, and the entry names no facet or makes no statement.
        DataError: The prompt ``statement`` is absent or cannot be filled in.
    """
    left = list(facts)
    for concept in concepts:
        fresh = {comparable(entry.new) for entry in concept.replace}
        left = [stated for stated in left if not _is_fresh(writer, stated, concept, fresh)]
        for entry in concept.replace:
            stale = [stated for stated in left if _is_own(stated, concept) and _matches(stated.fact, entry)]
            if not stale:
                stale = [_make_fact(writer, concept, entry)]
                left += stale
            for stated in stale:
                stated.fact = replace(stated.fact, replacement=entry.new)
            writer.ledger.accept(STEP, len(stale))
    return left


def _is_own(stated: StatedFact, concept: Concept) -> bool:
    return stated.subject.distance is None and stated.fact.concept == concept.name


def _is_fresh(writer: Writer, stated: StatedFact, concept: Concept, fresh: set[str]) -> bool:
    if not _is_own(stated, concept) or comparable(stated.fact.answer) not in fresh:
        return False
    writer.ledger.reject(STEP, IS_NEW, f"{stated.fact.answer} | {stated.fact.sentence}", stated.fact.parents)
    return True


def _matches(fact: Fact, entry: Replacement) -> bool:
    """Whether a fact has the old answer, and the facet where the entry names one: CEO is not founder."""
    if comparable(entry.old) not in map(comparable, (fact.answer, *fact.aliases)):
        return False
    return not entry.facet or holds(fact.facet, entry.facet) or holds(entry.facet, fact.facet)


def _make_fact(writer: Writer, concept: Concept, entry: Replacement) -> StatedFact:
    if not entry.facet:
        raise writer.ledger.fail(
            STEP,
            f"no fact about {concept.name!r} has the answer {entry.old!r} that `concept.replace` names",
            "add the entry's `facet`, from which the fact is then made",
        )
    prompt = writer.prompts.get(STATEMENT)
    sentence = prompt.render_text(concept=concept, facet=entry.facet, answer=entry.old)
    if reason := check_fact(entry.old, sentence, concept.names):
        parents = (concept.name, entry.facet)
        writer.ledger.reject(STEP, reason, sentence, parents)
        raise writer.ledger.fail(
            STEP,
            f"no fact about {concept.name!r} can be made of the old answer {entry.old!r}",
            f"mend {prompt.path.name}, or the entry of `concept.replace`",
        )
    fact = Fact(
        id=Fact.make_id(concept.name, entry.facet, entry.old),
        concept=concept.name,
        subject=concept.name,
        kind=concept.kind,
        facet=entry.facet,
        answer=entry.old,
        sentence=sentence,
        source="user",
        parents=(concept.name, entry.facet),
        prompt_hash=prompt.hash,
    )
    return StatedFact(fact, Subject(concept, concept.name), [sentence])
