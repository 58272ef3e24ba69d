"""Which facts the base model knows: whoever never knew a fact cannot be shown to have forgotten it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from concept_forget.compose.rows import asked_text
from concept_forget.engines.protocol import Engine, Request, Sampling
from concept_forget.measures.graders import Expected, get_grader
from concept_forget.records import Example

KNOWN_SHARE = 0.5
"""Share of the wordings that have to be answered: a fact is not lost over one odd wording among several."""


def find_known(
    engine: Engine, checks: Mapping[str, Sequence[Example]], grader: str, max_new_tokens: int
) -> dict[str, bool]:
    """Ask the base model for facts in words that the probe does not use.

    Args:
        engine: The base model.
        checks: Rows by fact.
        grader: What decides whether a reply gives the answer.
        max_new_tokens: Longest reply.

    Returns:
        For every fact with at least one row whether the model knows it.
    """
    asked = [(fact, row) for fact, rows in checks.items() for row in rows]
    if not asked:
        return {}
    replies = engine.generate([Request(row.prompt) for _, row in asked], Sampling(max_new_tokens=max_new_tokens))
    grade = get_grader(grader)
    answered: dict[str, list[bool]] = {}
    for (fact, row), reply in zip(asked, replies, strict=True):
        expected = Expected(row.answer, row.aliases, asked_text(row), row.options, row.subject)
        answered.setdefault(fact, []).append(grade(reply[0].text, expected).leaked)
    return {fact: sum(leaks) >= KNOWN_SHARE * len(leaks) for fact, leaks in answered.items()}
