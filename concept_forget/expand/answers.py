"""Puts every question to the generator itself: only facts that it gives again under several wordings are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from concept_forget.config import Config
from concept_forget.expand.gates import check_refusal, holds, holds_any
from concept_forget.expand.questions import Sheet
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
    A wording that gets the answer of another fact of the subject asks for that one, and is rejected; one that gets no
    known answer stays, since to be hard to answer is no fault of a question. A reverse wording is kept only when it
    leads back to the subject.

    Raises:
        StageError: A concept is left without a fact, and no rows in ``data.forget`` make up for it.
    """
    asked = [question for sheet in sheets for question in (*sheet.direct, *sheet.paraphrases, *sheet.reverse)]
    replies = dict(zip((q.id for q in asked), writer.answer(ANSWERS, [q.text for q in asked]), strict=True))
    answers: dict[str, list[str]] = {}
    for sheet in sheets:
        answers.setdefault(sheet.stated.fact.subject, []).append(sheet.stated.fact.answer)
    kept = []
    for sheet in sheets:
        fact = sheet.stated.fact
        others = [answer for answer in answers[fact.subject] if not holds(answer, fact.answer)]
        wordings = [*sheet.direct, *sheet.paraphrases]
        agreeing = sum(holds(replies[question.id], fact.answer) for question in wordings)
        _drop_reverse(writer, sheet, replies)
        _drop_drifted(writer, sheet, others, replies)
        if agreeing < min(config.expand.self_consistency, len(wordings)) or not sheet.direct:
            _reject_fact(writer, sheet, DISAGREE if sheet.direct else DRIFTED)
        else:
            kept.append(sheet)
            writer.ledger.accept(ANSWERS)
    _require_facts(writer, kept, config)
    return kept


def _drop_reverse(writer: Writer, sheet: Sheet, replies: dict[str, str]) -> None:
    names = sheet.stated.subject.names
    for question in sheet.reverse:
        if not holds_any(replies[question.id], names):
            writer.ledger.reject(ANSWERS, NOT_BACK, _exchange(question, replies), (question.id,))
    sheet.reverse = [question for question in sheet.reverse if holds_any(replies[question.id], names)]


def _drop_drifted(writer: Writer, sheet: Sheet, others: Sequence[str], replies: dict[str, str]) -> None:
    def drifted(question: Question) -> bool:
        reply = replies[question.id]
        return not holds(reply, question.answer) and holds_any(reply, others)

    for question in (*sheet.direct, *sheet.paraphrases):
        if drifted(question):
            writer.ledger.reject(ANSWERS, DRIFTED, _exchange(question, replies), (question.id,))
    sheet.direct = [question for question in sheet.direct if not drifted(question)]
    sheet.paraphrases = [question for question in sheet.paraphrases if not drifted(question)]


def _reject_fact(writer: Writer, sheet: Sheet, reason: str) -> None:
    fact = sheet.stated.fact
    writer.ledger.reject(ANSWERS, reason, f"{fact.answer} | {fact.sentence}", (fact.id,))
    for question in sheet.questions:
        writer.ledger.reject(ANSWERS, "its fact was rejected", question.text, (question.id,))


def _exchange(question: Question, replies: dict[str, str]) -> str:
    return f"{question.text} → {replies[question.id]}"


def _require_facts(writer: Writer, kept: Sequence[Sheet], config: Config) -> None:
    found = {sheet.stated.fact.concept for sheet in kept if sheet.stated.subject.distance is None}
    given = {file.concept for file in config.data.forget}
    for concept in config.concepts:
        has_rows = None in given or any(name and name.casefold() == concept.name.casefold() for name in given)
        if concept.name not in found and not has_rows:
            raise writer.ledger.fail(
                ANSWERS,
                f"no fact about {concept.name!r} was left",
                "check its name, kind and description, lower `expand.self_consistency`, or give rows in `data.forget`",
            )


def write_refusals(writer: Writer, sheets: Sequence[Sheet]) -> None:
    """A refusal for every question about a concept's own facts, drawn for each question apart.

    A sentence with a gap is declined by declining the fact's direct question. A question for which none got through
    goes without.
    """
    missing = [(s, q) for s in sheets if s.stated.subject.distance is None for q in s.questions]
    refusals: dict[str, str] = {}
    for number in range(REFUSAL_ROUNDS):
        missing = [(sheet, question) for sheet, question in missing if question.id not in refusals]
        wishes = [Wish((q.id,), {"question": _declined(sheet, q).text}, draw=number) for sheet, q in missing]
        for (sheet, question), items in zip(missing, writer.gather(REFUSALS, "refusals", wishes), strict=True):
            secrets = sheet.stated.subject.names if question.family == "reverse" else (question.answer,)
            for (text,) in items:
                if question.id in refusals:
                    reason: str | None = "more than were asked for"
                else:
                    reason = check_refusal(text, secrets)
                if reason:
                    writer.ledger.reject(REFUSALS, reason, text, (question.id,))
                else:
                    refusals[question.id] = text
    writer.ledger.accept(REFUSALS, len(refusals))
    for sheet in sheets:
        for family in (sheet.direct, sheet.paraphrases, sheet.reverse, sheet.cloze):
            family[:] = [replace(question, refusal=refusals.get(question.id, "")) for question in family]


def _declined(sheet: Sheet, question: Question) -> Question:
    return sheet.direct[0] if question.family == "cloze" else question
