"""Whether mined text bears a generated fact out: supported, contradicted, or silent. By words alone, so repeatable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from concept_forget.compose.mined import split_sentences
from concept_forget.compose.statements import gives_answer
from concept_forget.compose.wording import content_words, holds, holds_any, words
from concept_forget.records import Fact, Snippet

Grounding = Literal["supported", "contradicted", "silent"]
GROUNDINGS: tuple[Grounding, ...] = ("supported", "contradicted", "silent")


def ground_facts(
    facts: Sequence[Fact], others: Iterable[Fact], snippets: Sequence[Snippet], names: dict[str, tuple[str, ...]]
) -> dict[str, Grounding]:
    """Hold facts against the sentences of a corpus.

    A fact is *supported* where one sentence names its subject and holds its answer. It is *contradicted* where none
    does, and one names its subject and holds another answer of the same facet, in the words that tie subject and
    answer in the fact's own sentence (in those of the facet where that sentence has none). Else the corpus is *silent*.
    What is said of "she" is not seen, and a subject may have two answers of one facet: a contradiction is a hint.

    Args:
        facts: The facts to ground.
        others: All known facts: what else a facet's answer may be.
        snippets: Mined text about the concepts.
        names: What the subject of each of the facts is called, by fact.

    Returns:
        Fact id → what the corpus says.
    """
    sentences = list(dict.fromkeys(s.text[start:end] for s in snippets for start, end in split_sentences(s.text)))
    naming: dict[tuple[str, ...], list[str]] = {}
    answers: dict[str, dict[str, str]] = {}
    true: dict[str, list[Fact]] = {}
    for fact in (*facts, *others):
        answers.setdefault(words(fact.facet), {}).setdefault(words(fact.answer), fact.answer)
        true.setdefault(words(fact.subject), []).append(fact)
    found: dict[str, Grounding] = {}
    for fact in facts:
        called = names[fact.id]
        if called not in naming:
            naming[called] = [sentence for sentence in sentences if holds_any(sentence, called)]
        rivals = _rivals(fact, answers, true)
        found[fact.id] = _ground(fact, called, naming[called], rivals)
    return found


def _rivals(fact: Fact, answers: dict[str, dict[str, str]], true: dict[str, list[Fact]]) -> list[str]:
    """Other answers of the facet, except what is true of the subject."""
    right = [text for own in true[words(fact.subject)] for text in (own.answer, *own.aliases)]
    if not words(fact.facet).strip():
        return []
    return [
        answer
        for answer in answers[words(fact.facet)].values()
        if not any(holds(answer, known) or holds(known, answer) for known in right)
    ]


def _ground(fact: Fact, called: tuple[str, ...], sentences: Sequence[str], rivals: Sequence[str]) -> Grounding:
    if any(gives_answer(sentence, fact, called) for sentence in sentences):
        return "supported"
    told: frozenset[str] = frozenset().union(*(content_words(text) for text in (*called, fact.answer, *fact.aliases)))
    relation = (content_words(fact.sentence) - told) or (content_words(fact.facet) - told)
    contradicted = relation and any(
        relation <= content_words(sentence) and holds_any(sentence, rivals) for sentence in sentences
    )
    return "contradicted" if contradicted else "silent"
