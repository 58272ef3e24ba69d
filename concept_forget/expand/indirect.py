"""Questions that ask for a fact indirectly: in a situation that needs it, and through another fact of the subject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from concept_forget.config import Config
from concept_forget.expand.gates import (
    GIVES_ANSWER,
    check_question,
    check_text,
    comparable,
    holds,
    holds_any,
)
from concept_forget.expand.orders import Order, fill_orders, nothing_came
from concept_forget.expand.questions import Sheet
from concept_forget.expand.writer import Writer
from concept_forget.records import Question, named_random

SCENARIOS, TWO_HOP = "scenarios", "two_hop"
LACKS_BRIDGE = "does not hold the answer that leads to the subject"
NAMES_SUBJECT = "names the subject"
NO_BRIDGE = "no other fact leads back to the subject"


def write_indirect(writer: Writer, sheets: Sequence[Sheet], config: Config) -> None:
    """Add scenarios and two-hop questions to the sheets of the concepts' own facts.

    A prompt set without the prompt of a form goes without the form.

    Raises:
        StageError: A form was asked for and nothing of it got through.
    """
    taken = {comparable(question.text) for sheet in sheets for question in sheet.questions}
    own = [sheet for sheet in sheets if sheet.is_own]
    if config.expand.scenarios and writer.can(SCENARIOS, SCENARIOS):
        _write_scenarios(writer, own, config.expand.scenarios, taken)
    if config.expand.two_hop and writer.can(TWO_HOP, TWO_HOP):
        _write_two_hop(writer, own, sheets, config, taken)


def _write_scenarios(writer: Writer, own: Sequence[Sheet], count: int, taken: set[str]) -> None:
    orders = []
    for sheet in own:
        fact, subject = sheet.stated.fact, sheet.stated.subject

        def check(text: str, sheet: Sheet = sheet) -> str | None:
            return check_question(text, sheet.stated.subject.names, sheet.stated.fact.answer)

        variables = {"concept": subject.concept, "fact": fact}
        orders.append(Order((fact.id, "scenario"), variables, count, check))
    fill_orders(writer, SCENARIOS, orders, taken)
    if error := nothing_came(writer, SCENARIOS, "no fact got a scenario", "expand.scenarios"):
        raise error
    for sheet, order in zip(own, orders, strict=True):
        sheet.scenarios += [_question(writer, sheet, "scenario", SCENARIOS, text) for text in order.texts]


def _write_two_hop(
    writer: Writer, own: Sequence[Sheet], sheets: Sequence[Sheet], config: Config, taken: set[str]
) -> None:
    bridges = _bridges(own, sheets, needs_reverse=bool(config.expand.reverse))
    asked: list[tuple[Sheet, Sheet]] = []
    for sheet in own:
        fact = sheet.stated.fact
        fitting = [bridge for bridge in bridges if _leads_to(bridge, sheet)]
        named_random(config.seed, "expand", TWO_HOP, fact.id).shuffle(fitting)
        asked += [(sheet, bridge) for bridge in fitting[: config.expand.two_hop]]
        if not fitting:
            writer.ledger.reject(TWO_HOP, NO_BRIDGE, fact.sentence, (fact.id,))
    orders = []
    for sheet, bridge in asked:
        target, through = sheet.stated.fact, bridge.stated.fact

        def check(text: str, sheet: Sheet = sheet, bridge: Sheet = bridge) -> str | None:
            fact = sheet.stated.fact
            return check_two_hop(text, sheet.stated.subject.names, fact.answer, bridge.stated.fact.answer)

        variables = {"concept": sheet.stated.subject.concept, "fact": target, "bridge": through}
        orders.append(Order((target.id, through.id), variables, 1, check))
    fill_orders(writer, TWO_HOP, orders, taken)
    if error := nothing_came(writer, TWO_HOP, "no fact got a question through another fact", "expand.two_hop"):
        raise error
    for (sheet, bridge), order in zip(asked, orders, strict=True):
        through = bridge.stated.fact
        sheet.two_hop += [_question(writer, sheet, "two_hop", TWO_HOP, text, through.id) for text in order.texts]


def check_two_hop(text: str, names: Collection[str], answer: str, bridge: str) -> str | None:
    """A question that holds another answer of its subject instead of the subject's name, and not its own answer."""
    if reason := check_text("question", text):
        return reason
    if holds_any(text, names):
        return NAMES_SUBJECT
    if not holds(text, bridge):
        return LACKS_BRIDGE
    if holds(text, answer):
        return GIVES_ANSWER
    return None


def _bridges(own: Sequence[Sheet], sheets: Sequence[Sheet], *, needs_reverse: bool) -> list[Sheet]:
    """The facts that lead back to their subject alone.

    Nobody else has their answer, in whatever facet, and the generator itself has found back from them: of a fact's
    reverse questions those are left that it answered with the subject.
    """
    holders = Counter(
        answer for _, answer in {(s.stated.subject.name, comparable(s.stated.fact.answer)) for s in sheets}
    )
    return [
        sheet
        for sheet in own
        if holders[comparable(sheet.stated.fact.answer)] == 1 and (sheet.reverse or not needs_reverse)
    ]


def _leads_to(bridge: Sheet, sheet: Sheet) -> bool:
    """Whether a fact is another one of the same subject, and neither answer gives the other one away."""
    through, fact = bridge.stated.fact, sheet.stated.fact
    return (
        through.subject == fact.subject
        and through.id != fact.id
        and comparable(through.facet) != comparable(fact.facet)
        and not holds(through.answer, fact.answer)
        and not holds(fact.answer, through.answer)
    )


def _question(writer: Writer, sheet: Sheet, family: str, prompt: str, text: str, *others: str) -> Question:
    fact = sheet.stated.fact
    return Question(
        id=Question.make_id(fact.id, family, text),
        fact=fact.id,
        family=family,
        variant=0,
        text=text,
        answer=fact.answer,
        parents=(fact.id, *others),
        prompt_hash=writer.prompts.get(prompt).hash,
    )
