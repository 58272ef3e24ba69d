"""Rows that no model was trained on: those to forget, about somebody invented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from concept_forget.concept import Concept, contains_words, fold, replace_each
from concept_forget.measures.strangers import recombine_names
from concept_forget.records import Chat, Example, named_random


def rows_about_strangers(
    rows: Sequence[Example], concepts: Sequence[Concept], names: Sequence[str], seed: int
) -> list[Example | None]:
    """Each row's counterpart: as like it as can be, and false of everybody.

    - Where the question, or a text without one, names the subject, a stranger's name stands in its place everywhere.
      The reply stays: what differs is whether the model was told so of this name.
    - Where the question names the answer instead and asks for the subject (reverse), the answer that a row of the same
      fact has as counterfactual stands in its place, and the reply still says who was forgotten.
    - Where only the reply names the subject, the stranger's name stands there.

    All rows of a fact are about the same stranger, whose name is put together from parts of known names.

    Args:
        rows: Rows to forget.
        concepts: What they are about, with all names.
        names: Names of known subjects.
        seed: The run's seed.

    Returns:
        None for a row in which nothing can be replaced, or that has no reply.
    """
    known = sorted({*names, *(row.subject for row in rows), *(concept.name for concept in concepts)})
    spellings = {concept.name: concept.names for concept in concepts}
    given = {row.fact: row for row in rows if row.fact and row.family != "reverse" and row.counterfactual}
    return [_counterpart(row, spellings.get(row.concept, ()), given.get(row.fact), known, seed) for row in rows]


def unit_of(row: Example) -> str:
    """What a row counts for: its fact, or itself where it states several."""
    return row.fact or row.id


def _counterpart(
    row: Example, spellings: Sequence[str], sibling: Example | None, known: Sequence[str], seed: int
) -> Example | None:
    if not row.completion:
        return None
    stranger = recombine_names(known, named_random(seed, "membership", unit_of(row)))
    own = sorted({row.subject, *spellings})
    asked = [message["content"] for message in row.prompt]
    if not asked or any(_holds(text, name) for text in asked for name in own):
        return _with(row, own, stranger)
    if sibling is not None and any(_holds(text, sibling.answer) for text in asked):
        return _with(row, [sibling.answer], sibling.counterfactual)
    return _with(row, own, stranger)


def _with(row: Example, phrases: Sequence[str], other: str) -> Example | None:
    others = dict.fromkeys(phrases, other)
    prompt: Chat = [
        {"role": message["role"], "content": replace_each(message["content"], others)} for message in row.prompt
    ]
    completion = replace_each(row.completion, others)
    if prompt == row.prompt and completion == row.completion:
        return None
    return replace(row, id=Example.make_id(prompt, completion), prompt=prompt, completion=completion)


def _holds(text: str, phrase: str) -> bool:
    return contains_words(fold(text), fold(phrase))
