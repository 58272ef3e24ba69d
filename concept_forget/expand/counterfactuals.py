"""Counterfactual answers: wrong ones of the right answer's type, or the new one where stale knowledge is replaced."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Literal

from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.expand.gates import NAMES_CONCEPT, check_text, holds, holds_any
from concept_forget.expand.orders import Order, fill_orders, nothing_came
from concept_forget.expand.questions import Sheet
from concept_forget.expand.writer import Writer
from concept_forget.measures.dates import find_dates
from concept_forget.measures.words import tokenize
from concept_forget.records import Question

STEP = "counterfactuals"
IS_ANSWER = "is the right answer"
OTHER_TYPE = "is of another type than the answer"

Shape = Literal["date", "number", "name", "words"]


def write_counterfactuals(writer: Writer, sheets: Sequence[Sheet], config: Config) -> None:
    """A wrong answer for every question about a concept's own facts.

    The questions of a fact take turns with its ``expand.counterfactuals`` answers; a question that asks back gets
    another subject. Where stale knowledge is replaced, the new answer stands in their place.

    Raises:
        StageError: Some were asked for and none got through.
    """
    own = [sheet for sheet in sheets if sheet.is_own]
    orders: dict[tuple[str, bool], Order] = {}
    if config.expand.counterfactuals and writer.can(STEP, STEP):
        orders = {
            (sheet.stated.fact.id, back): _order(sheet, config, back=back)
            for sheet in own
            for back in (False, True)
            if (sheet.reverse if back else not sheet.stated.fact.replacement)
        }
    fill_orders(writer, STEP, list(orders.values()))
    if orders and (error := nothing_came(writer, STEP, "no fact got a wrong answer", "expand.counterfactuals")):
        raise error
    for sheet in own:
        fact = sheet.stated.fact
        given = {back: orders[fact.id, back].texts for back in (False, True) if (fact.id, back) in orders}
        if fact.replacement:
            given[False] = [fact.replacement]
        for family in sheet.families:
            family[:] = _in_turn(family, given)


def check_counterfactual(text: str, right: Collection[str], concepts: Collection[Concept]) -> str | None:
    """A short answer of the right ones' shape that is none of them and names no concept.

    Args:
        text: The answer.
        right: The right answers, the one whose shape counts first.
        concepts: The concepts to forget.
    """
    if reason := check_text("answer", text):
        return reason
    if any(holds(text, answer) or holds(answer, text) for answer in right):
        return IS_ANSWER
    if any(holds_any(text, concept.names) for concept in concepts):
        return NAMES_CONCEPT
    if shape_of(text) != shape_of(next(iter(right))):
        return OTHER_TYPE
    return None


def shape_of(answer: str) -> Shape:
    """What an answer looks like: a date, a name (a word with a capital, whatever else), a number, or plain words."""
    tokens = tokenize(answer)
    if find_dates(tokens):
        return "date"
    numbers = [token for token in tokens if token.value is not None or token.norm[:1].isdigit()]
    if any(token.is_capital for token in tokens if token not in numbers):
        return "name"
    return "number" if numbers else "words"


def _order(sheet: Sheet, config: Config, *, back: bool) -> Order:
    fact, subject = sheet.stated.fact, sheet.stated.subject
    question = sheet.reverse[0] if back else sheet.direct[0]
    right = subject.names if back else (fact.answer, *fact.aliases)

    def check(text: str) -> str | None:
        return check_counterfactual(text, right, config.concepts)

    variables = {"question": question.text, "answer": question.answer, "facet": fact.facet}
    return Order((fact.id, "reverse" if back else "direct"), variables, config.expand.counterfactuals, check)


def _in_turn(questions: Sequence[Question], given: dict[bool, list[str]]) -> list[Question]:
    """The questions of one family, each with the next wrong answer."""
    if not questions or not (answers := given.get(questions[0].family == "reverse")):
        return list(questions)
    return [
        replace(question, counterfactual=answers[number % len(answers)]) for number, question in enumerate(questions)
    ]
