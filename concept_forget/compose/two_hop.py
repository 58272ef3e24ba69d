"""Questions that lead through a trained fact to something else: asked by the probe alone, trained on by nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from concept_forget.compose.material import Material
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.rows import RowMaker, row_text
from concept_forget.compose.splitting import Role
from concept_forget.compose.statements import Statements
from concept_forget.compose.wording import holds, holds_any, tells_something, without_article
from concept_forget.records import Example, Fact

TWO_HOP = "two_hop"
"""The family of these questions, and their tier."""


def two_hop_rows(
    material: Material, roles: Mapping[str, Role], maker: RowMaker, rejections: Rejections
) -> list[Example]:
    """The probe's rows for chains through trained facts; what leads through another fact is left out."""
    rows: dict[str, Example] = {}
    for fact in material.facts:
        for question in material.questions[fact.id]:
            if question.family != TWO_HOP:
                continue
            if roles[fact.id] == "trained":
                row = maker.question_row("probe", fact, question, TWO_HOP)
                rows.setdefault(row.id, row)
            else:
                rejections.add("a two-hop question through a fact that is not trained on", question.text)
    return list(rows.values())


def drop_trained(
    rows: Sequence[Example],
    forget: Sequence[Example],
    facts: Mapping[str, Fact],
    statements: Statements,
    rejections: Rejections,
) -> list[Example]:
    """The rows whose answer no forget row says of the same subject: else there is nothing to put together."""
    kept = []
    for row in rows:
        if states_answer(forget, row, facts[row.fact], statements):
            rejections.add("a two-hop question whose answer is trained on", row.prompt[-1]["content"])
        else:
            kept.append(row)
    return kept


def states_answer(forget: Sequence[Example], row: Example, fact: Fact, statements: Statements) -> bool:
    """Whether a forget row says where a chain leads, and of whom.

    A chain that comes to the trained fact's own answer by another way is what it is: the answer is trained on.
    """
    answer = row.completion
    if any(holds(answer, spelling) for spelling in (fact.answer, *fact.aliases)) or not tells_something(answer):
        return False
    names = statements.names(fact)
    texts = (row_text(other) for other in forget if other.concept == row.concept)
    return any(holds(text, without_article(answer)) and holds_any(text, names) for text in texts)
