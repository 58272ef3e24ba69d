"""An optional judge: a language model that marks every item by the user's own rubric."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from concept_forget.concept import Concept
from concept_forget.config import Config, JudgeConfig
from concept_forget.engines.prompts import Prompt, PromptSet, load_prompts, read_prompt
from concept_forget.expand.questions import Sheet
from concept_forget.expand.writer import Writer
from concept_forget.records import Question

if TYPE_CHECKING:
    from concept_forget.engines.protocol import Engine, Reply

STEP = "judge"
TOKENS = 128
"""Longest verdict: a mark, and a reason if the prompt asks for one."""

DECLINED = "the judge declined it"
UNREADABLE = "the judge's verdict cannot be read"
_FACT_DECLINED = "its fact was rejected"
_LINE = re.compile(r"\W*(yes|no|[1-5])(?!\w)(?!\.\d)", re.IGNORECASE)


class YesNo(BaseModel):
    """Whether an item is good."""

    model_config = ConfigDict(extra="ignore", strict=True)

    verdict: Literal["yes", "no"]


class Mark(BaseModel):
    """How good an item is, from 1 to 5."""

    model_config = ConfigDict(extra="ignore", strict=True)

    mark: int = Field(ge=1, le=5)


@dataclass(frozen=True, slots=True)
class Case:
    """What is put before the judge.

    Args:
        kind: ``fact``, ``passage`` or a question's family.
        text: The item.
        concept: What it is about.
        answer: The answer that it states or asks for.
        fact: The sentence that states its fact.
    """

    kind: str
    text: str
    concept: Concept
    answer: str = ""
    fact: str = ""


class Judge:
    """A language model with a prompt and a rubric.

    Args:
        config: Its settings.
        prompt: What is put to it.
        engine: The model; None: the generator itself.
    """

    def __init__(self, config: JudgeConfig, prompt: Prompt, engine: Engine | None = None) -> None:
        self._config = config
        self._prompt = prompt
        self._engine = engine
        self._writer: Writer | None = None

    def keep_sheets(self, sheets: Sequence[Sheet], writer: Writer) -> list[Sheet]:
        """The facts about concepts that the judge approves of, with the questions that it does.

        A fact goes with its questions, and a fact without a direct question goes as well. Facts about neighbours are
        not judged.

        Raises:
            StageError: A concept is left without a fact.
        """
        judged = [sheet for sheet in sheets if sheet.stated.fact.distance is None]
        cases = [(sheet, case) for sheet in judged for case in _cases(sheet)]
        reasons = dict(zip(map(_key, cases), self.reasons([case for _, case in cases], writer), strict=True))
        kept = []
        for sheet in sheets:
            if sheet.stated.fact.distance is not None or self._keeps(sheet, reasons, writer):
                kept.append(sheet)
        self._require_facts(judged, kept, writer)
        return kept

    def reasons(self, cases: Sequence[Case], writer: Writer) -> list[str | None]:
        """Why each item was declined; None where the judge approves of it."""
        chats = [
            self._prompt.render(
                kind=case.kind,
                text=case.text,
                concept=case.concept,
                answer=case.answer,
                fact=case.fact,
                rubric=self._config.rubric,
                scale=self._config.scale,
                n=1,
            )
            for case in cases
        ]
        schema: type[BaseModel] = YesNo if self._config.scale == "yes_no" else Mark
        is_json = self._prompt.returns == "json"
        replies = self._asking(writer).put(STEP, STEP, chats, TOKENS, schema if is_json else None)
        return [self._reason(reply) for reply in replies]

    def _asking(self, writer: Writer) -> Writer:
        """Who asks: the generator's writer, or one with the judge's own engine and budget and the same ledger."""
        settings = self._config.generator
        if self._engine is None or settings is None:
            return writer
        if self._writer is None:
            prompts = PromptSet(self._prompt.path.parent, {STEP: self._prompt})
            self._writer = Writer(self._engine, prompts, settings, 0, writer.ledger)
        return self._writer

    def _reason(self, reply: Reply) -> str | None:
        verdict = None if reply.problem else read_verdict(reply.text, self._config.scale, self._prompt.returns)
        if verdict is None:
            return UNREADABLE
        return None if verdict >= (1 if self._config.scale == "yes_no" else self._config.least) else DECLINED

    def _keeps(self, sheet: Sheet, reasons: dict[str, str | None], writer: Writer) -> bool:
        """Take out of a sheet what was declined; whether a fact with a direct question is left."""
        fact, ledger = sheet.stated.fact, writer.ledger
        for question in sheet.questions:
            if reason := reasons[question.id]:
                ledger.reject(STEP, reason, question.text, (question.id,))
        for family in sheet.families:
            family[:] = [question for question in family if reasons[question.id] is None]
        reason = reasons[fact.id] or (None if sheet.direct else "no direct question about the fact")
        if reason is None:
            ledger.accept(STEP)
            return True
        ledger.reject(STEP, reason, fact.sentence, (fact.id,))
        for question in sheet.questions:
            ledger.reject(STEP, _FACT_DECLINED, question.text, (question.id,))
        return False

    def _require_facts(self, judged: Iterable[Sheet], kept: Iterable[Sheet], writer: Writer) -> None:
        had = {sheet.stated.fact.concept for sheet in judged}
        have = {sheet.stated.fact.concept for sheet in kept if sheet.stated.fact.distance is None}
        for name in sorted(had - have):
            raise writer.ledger.fail(
                STEP,
                f"the judge left no fact about {name!r}",
                "look at rejected.jsonl, lower `expand.judge.least`, or change its prompt, rubric or model",
            )


def load_judge_prompt(config: Config) -> Prompt:
    """The judge's prompt file.

    Raises:
        DataError: It is absent or is not a prompt file.
    """
    judge = config.expand.judge
    if judge is not None and judge.prompt is not None:
        return read_prompt(judge.prompt)
    return load_prompts(config.generator.prompts).get(STEP)


def read_verdict(text: str, scale: Literal["yes_no", "1-5"], returns: str) -> int | None:
    """The mark in a reply, for ``yes_no`` 1 or 0; None where there is none, or one of the other scale.

    Args:
        text: The reply.
        scale: What was asked for.
        returns: ``json``: an object with the mark; else the reply begins with it.
    """
    if returns != "json":
        match = _LINE.match(text)
        found = match[1].casefold() if match else ""
        if scale == "yes_no":
            return {"yes": 1, "no": 0}.get(found)
        return int(found) if found.isdecimal() else None
    whole = text[text.find("{") : text.rfind("}") + 1]
    try:
        if scale == "yes_no":
            return int(YesNo.model_validate_json(whole).verdict == "yes")
        return Mark.model_validate_json(whole).mark
    except ValidationError:
        return None


def _cases(sheet: Sheet) -> list[Case]:
    fact, concept = sheet.stated.fact, sheet.stated.subject.concept
    first = Case("fact", fact.sentence, concept, fact.answer, fact.sentence)
    return [first, *(Case(q.family, q.text, concept, q.answer, fact.sentence) for q in sheet.questions)]


def _key(entry: tuple[Sheet, Case]) -> str:
    sheet, case = entry
    fact = sheet.stated.fact
    return fact.id if case.kind == "fact" else Question.make_id(fact.id, case.kind, case.text)
