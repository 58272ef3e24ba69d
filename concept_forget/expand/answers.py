"""Puts every question to the generator itself: only facts that it gives again under several wordings are kept."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

from concept_forget.config import Config
from concept_forget.expand.gates import check_refusal, holds, holds_any
from concept_forget.expand.questions import Sheet
from concept_forget.expand.replies import Item
from concept_forget.expand.writer import Wish, Writer
from concept_forget.records import Question

ANSWERS, REFUSALS = "answers", "refusals"
REFUSAL_ROUNDS = 3
"""Rounds of asking for refusals at most."""

DISAGREE = "the wordings do not agree on the fact's answer"
NOT_BACK = "answer does not identify the subject"
DRIFTED = "asks for another fact of the subject"


def check_answers(writer: Writer, sheets: Sequence[Sheet], config: Config) -> list[Sheet]:
    """Keep what the generator answers alike.

    A fact is kept when ``expand.self_consistency`` of its wordings (all of them, where there are fewer) get its answer.
    Stale knowledge is kept whatever the generator answers, for which it may be too new: the config vouches for it.
    A wording that gets the answer of another fact of the subject asks for that one, and is rejected; one that gets no
    known answer stays, since to be hard to answer is no fault of a question. A reverse wording is kept only when it
    leads back to the subject.

    Raises:
        StageError: A concept is left without a fact, and no rows in ``data.forget`` make up for it.
    """
    asked = [question for sheet in sheets for question in (*sheet.direct, *sheet.paraphrases, *sheet.reverse)]
    replies = dict(zip((q.id for q in asked), writer.answer(ANSWERS, [q.text for q in asked]), strict=True))
    answers = _answers_by_subject(sheets)
    kept = []
    for sheet in sheets:
        fact = sheet.stated.fact
        wordings = [*sheet.direct, *sheet.paraphrases]
        agreeing = sum(holds(replies[question.id], fact.answer) for question in wordings)
        _drop_reverse(writer, sheet, replies)
        others = _others(sheet, answers)
        sheet.direct = _without_drifted(writer, sheet.direct, others, replies)
        sheet.paraphrases = _without_drifted(writer, sheet.paraphrases, others, replies)
        needed = 0 if fact.replacement else min(config.expand.self_consistency, len(wordings))
        if agreeing < needed or not sheet.direct:
            reject_fact(writer, ANSWERS, sheet, DISAGREE if sheet.direct else DRIFTED)
        else:
            kept.append(sheet)
            writer.ledger.accept(ANSWERS)
    require_facts(writer, ANSWERS, kept, config)
    return kept


def check_indirect(writer: Writer, sheets: Sequence[Sheet]) -> None:
    """Drop scenarios, two-hop questions and translations for which the generator gives another fact of the subject."""
    asked = [q for sheet in sheets for q in (*sheet.scenarios, *sheet.two_hop, *sheet.translations)]
    replies = dict(zip((q.id for q in asked), writer.answer(ANSWERS, [q.text for q in asked]), strict=True))
    answers = _answers_by_subject(sheets)
    for sheet in sheets:
        others = _others(sheet, answers)
        sheet.scenarios = _without_drifted(writer, sheet.scenarios, others, replies)
        sheet.two_hop = _without_drifted(writer, sheet.two_hop, others, replies)
        sheet.translations = _without_drifted(writer, sheet.translations, others, replies)


def _drop_reverse(writer: Writer, sheet: Sheet, replies: dict[str, str]) -> None:
    names = sheet.stated.subject.names
    for question in sheet.reverse:
        if not holds_any(replies[question.id], names):
            writer.ledger.reject(ANSWERS, NOT_BACK, _exchange(question, replies), (question.id,))
    sheet.reverse = [question for question in sheet.reverse if holds_any(replies[question.id], names)]


def _answers_by_subject(sheets: Sequence[Sheet]) -> dict[str, list[str]]:
    answers: dict[str, list[str]] = {}
    for sheet in sheets:
        answers.setdefault(sheet.stated.fact.subject, []).append(sheet.stated.fact.answer)
    return answers


def _others(sheet: Sheet, answers: dict[str, list[str]]) -> list[str]:
    """The answers of the subject's other facts, of those that can be told from this one's."""
    fact = sheet.stated.fact
    return [answer for answer in answers[fact.subject] if not holds(answer, fact.answer)]


def _without_drifted(
    writer: Writer, questions: Sequence[Question], others: Sequence[str], replies: dict[str, str]
) -> list[Question]:
    kept = []
    for question in questions:
        reply = replies[question.id]
        if not holds_any(reply, (question.answer, *question.aliases)) and holds_any(reply, others):
            writer.ledger.reject(ANSWERS, DRIFTED, _exchange(question, replies), (question.id,))
        else:
            kept.append(question)
    return kept


def reject_fact(writer: Writer, step: str, sheet: Sheet, reason: str, why: str = "") -> None:
    """Put a fact and its questions down as rejected.

    Args:
        writer: Its ledger is written to.
        step: The step that rejects.
        sheet: The fact and its questions.
        reason: A fixed sentence.
        why: What was found, to stand behind the fact's text.
    """
    fact = sheet.stated.fact
    text = " | ".join(part for part in (fact.answer, fact.sentence, why) if part)
    writer.ledger.reject(step, reason, text, (fact.id,))
    for question in sheet.questions:
        writer.ledger.reject(step, "its fact was rejected", question.text, (question.id,))


def _exchange(question: Question, replies: dict[str, str]) -> str:
    return f"{question.text} → {replies[question.id]}"


def require_facts(writer: Writer, step: str, kept: Sequence[Sheet], config: Config) -> None:
    """Every concept has a fact left, or rows of its own.

    Raises:
        StageError: One has neither.
    """
    found = {sheet.stated.fact.concept for sheet in kept if sheet.stated.subject.distance is None}
    given = {file.concept for file in config.data.forget}
    for concept in config.concepts:
        has_rows = None in given or any(name and name.casefold() == concept.name.casefold() for name in given)
        if concept.name not in found and not has_rows:
            raise writer.ledger.fail(
                step,
                f"no fact about {concept.name!r} was left",
                "check its name, kind and description, lower `expand.self_consistency` or `expand.answer_agreement`, "
                "or give rows in `data.forget`",
            )


def write_refusals(writer: Writer, sheets: Sequence[Sheet]) -> None:
    """A refusal for every question about a concept's own facts, drawn for each question apart.

    A sentence with a gap is declined by declining the fact's direct question. A question for which none got through
    goes without.
    """
    missing = [(s, q) for s in sheets if s.stated.subject.distance is None for q in s.questions]
    refusals: dict[str, str] = {}
    check = functools.cache(check_refusal)
    for number in range(REFUSAL_ROUNDS):
        missing = [(sheet, question) for sheet, question in missing if question.id not in refusals]
        wishes = [Wish((q.id,), {"question": _declined(sheet, q).text}, draw=number) for sheet, q in missing]
        secrets = [_secrets(sheet, question) for sheet, question in missing]

        def gate(place: int, item: Item, secrets: Sequence[tuple[str, ...]] = secrets) -> None:
            check(item[0], secrets[place])

        replies = writer.gather(REFUSALS, "refusals", wishes, gate=gate)
        for (_, question), secret, items in zip(missing, secrets, replies, strict=True):
            for (text,) in items:
                if question.id in refusals:
                    reason: str | None = "more than were asked for"
                else:
                    reason = check(text, secret)
                if reason:
                    writer.ledger.reject(REFUSALS, reason, text, (question.id,))
                else:
                    refusals[question.id] = text
    writer.ledger.accept(REFUSALS, len(refusals))
    for sheet in sheets:
        for family in sheet.families:
            family[:] = [replace(question, refusal=refusals.get(question.id, "")) for question in family]


def _secrets(sheet: Sheet, question: Question) -> tuple[str, ...]:
    """What a refusal must not hold: the answer, and the subject where the question does not name it."""
    names, answers = sheet.stated.subject.names, (question.answer, *question.aliases)
    return {"reverse": names, "two_hop": (question.answer, *names)}.get(question.family, answers)


def _declined(sheet: Sheet, question: Question) -> Question:
    return sheet.direct[0] if question.family == "cloze" else question
