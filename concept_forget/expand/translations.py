"""Questions about the concepts' own facts in other languages, each with its answer as one says it there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from concept_forget.config import Config
from concept_forget.expand.gates import GIVES_ANSWER, check_question, check_text, comparable, holds
from concept_forget.expand.orders import REPEATED, ROUNDS, TOO_MANY
from concept_forget.expand.questions import Sheet
from concept_forget.expand.writer import Wish, Writer
from concept_forget.records import Question

STEP, FAMILY = "translations", "translation"
NOT_TRANSLATED = "is the question itself, not a translation"


@dataclass(slots=True)
class _Wanted:
    sheet: Sheet
    language: str
    found: list[tuple[str, str]] = field(default_factory=list)

    @property
    def parents(self) -> tuple[str, str]:
        return (self.sheet.stated.fact.id, self.language)


def write_translations(writer: Writer, sheets: Sequence[Sheet], config: Config) -> None:
    """Add to the sheets of the concepts' own facts a question in every language of the config.

    A prompt set without the prompt goes without.

    Raises:
        StageError: Languages were asked for and nothing got through.
    """
    languages = config.expand.languages
    if not languages or not writer.can(STEP, STEP):
        return
    own = [sheet for sheet in sheets if sheet.is_own]
    taken = {comparable(question.text) for sheet in own for question in sheet.questions}
    wanted = [_Wanted(sheet, language) for sheet in own for language in dict.fromkeys(languages)]
    for number in range(ROUNDS):
        waiting = [want for want in wanted if not want.found]
        wishes = [Wish(want.parents, _variables(want), 1, number) for want in waiting]
        for want, items in zip(waiting, writer.gather(STEP, STEP, wishes), strict=True):
            for text, answer in items:
                if reason := _fault(want, text, answer, taken):
                    writer.ledger.reject(STEP, reason, f"{text} | {answer}", want.parents)
                    continue
                taken.add(comparable(text))
                want.found.append((text, answer))
                writer.ledger.accept(STEP)
    account = writer.ledger.step(STEP)
    if account.requests and not account.accepted:
        raise writer.ledger.fail(
            STEP,
            "no fact got a question in another language",
            "look at rejected.jsonl, leave `expand.languages` empty, or try another generator",
        )
    for want in wanted:
        want.sheet.translations += [_question(writer, want, text, answer) for text, answer in want.found]


def check_translation(text: str, answer: str, names: Sequence[str], original: str) -> str | None:
    """A question that names its subject and holds its answer neither in one language nor in the other.

    Args:
        text: The question.
        answer: The answer as one says it in the question's language.
        names: The subject's.
        original: The answer.
    """
    if reason := check_question(text, names, original) or check_text("answer", answer):
        return reason
    return GIVES_ANSWER if holds(text, answer) else None


def _fault(want: _Wanted, text: str, answer: str, taken: set[str]) -> str | None:
    fact, names = want.sheet.stated.fact, want.sheet.stated.subject.names
    if want.found:
        return TOO_MANY
    if comparable(text) in {comparable(question.text) for question in want.sheet.questions}:
        return NOT_TRANSLATED
    return check_translation(text, answer, names, fact.answer) or (REPEATED if comparable(text) in taken else None)


def _variables(want: _Wanted) -> dict[str, object]:
    stated = want.sheet.stated
    return {
        "concept": stated.subject.concept,
        "fact": stated.fact,
        "question": want.sheet.direct[0].text,
        "language": want.language,
    }


def _question(writer: Writer, want: _Wanted, text: str, answer: str) -> Question:
    fact = want.sheet.stated.fact
    return Question(
        id=Question.make_id(fact.id, FAMILY, text),
        fact=fact.id,
        family=FAMILY,
        variant=0,
        text=text,
        answer=fact.answer,
        aliases=() if comparable(answer) == comparable(fact.answer) else (answer,),
        parents=(fact.id,),
        prompt_hash=writer.prompts.get(STEP).hash,
    )
