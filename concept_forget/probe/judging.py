"""The grader ``judge``: a language model says what a reply gave away of an answer.

What the model under test said is data. It stands in a block that it cannot close, and whatever it asks for, the judge's
reply is one word out of three.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from concept_forget.config import GeneratorConfig, GradingJudgeConfig
from concept_forget.engines.blocks import Block
from concept_forget.engines.prompts import Prompt, load_prompts, read_prompt
from concept_forget.engines.protocol import Reply, Request, Sampling
from concept_forget.errors import StageError
from concept_forget.measures.graders import Expected
from concept_forget.records import Grade

if TYPE_CHECKING:
    from concept_forget.engines.protocol import Engine

PROMPT = "grade"
VERDICT_TOKENS = 64
"""Longest verdict, with the white space that a model may put around it."""

MOST_UNREADABLE = 0.5
"""Share of verdicts that cannot be read, above which there is no judge."""

_SCORES = {"yes": 1.0, "partly": 0.5, "no": 0.0}
_LINE = re.compile(r"\W*(yes|partly|no)\b", re.IGNORECASE)


class Verdict(BaseModel):
    """Whether a reply gives the answer away."""

    model_config = ConfigDict(extra="ignore", strict=True)

    verdict: Literal["yes", "partly", "no"]


class Judge:
    """A language model with the prompt by which it grades (Zheng et al. 2023).

    Args:
        engine: The model.
        prompt: Is given ``question``, ``answer`` and ``reply``, each as a block.
        max_new_tokens: Bound of its replies.
    """

    def __init__(self, engine: Engine, prompt: Prompt, max_new_tokens: int = VERDICT_TOKENS) -> None:
        self._engine = engine
        self._prompt = prompt
        self._sampling = Sampling(max_new_tokens=min(max_new_tokens, VERDICT_TOKENS))

    def grade(self, cases: Sequence[tuple[str, Expected]]) -> list[Grade | None]:
        """What each reply gives away; None where the verdict cannot be read.

        ``yes`` is a score of 1 and a leak, ``partly`` 0.5 and none, ``no`` 0. Equal cases are judged once.

        Raises:
            StageError: More verdicts than ``MOST_UNREADABLE`` cannot be read.
        """
        if not cases:
            return []
        requests = [Request(self._prompt.render(**_blocks(reply, expected))) for reply, expected in cases]
        is_json = self._prompt.returns == "json"
        schema = Verdict if is_json and "schema" in self._engine.capabilities else None
        replies = self._engine.generate(requests, self._sampling, schema=schema)
        grades = [_grade(reply, is_json) for (reply,) in replies]
        unread = grades.count(None)
        if unread > MOST_UNREADABLE * len(grades):
            example = next(reply for (reply,), grade in zip(replies, grades, strict=True) if grade is None)
            raise StageError(
                f"of {len(grades)} verdicts of the judge {unread} cannot be read; one of them: "
                f"{(example.problem or example.text)[:200]!r}\n"
                "  → change `probe.judge.prompt`, or name another model in `probe.judge.generator`"
            )
        return grades


def judging_prompt(settings: GradingJudgeConfig, judge: GeneratorConfig) -> Prompt:
    """The prompt of the judge: a file of the user's, else ``grade`` of the judging model's prompts.

    Raises:
        DataError: It is absent, or not a prompt file.
    """
    if settings.prompt is not None:
        return read_prompt(settings.prompt)
    return load_prompts(judge.prompts).get(PROMPT)


def _blocks(reply: str, expected: Expected) -> dict[str, Block]:
    """What the prompt is given: blocks, also where a template of a user's own has no word for them."""
    answer = " / ".join(expected.wordings)
    if expected.options:
        answer += "\nout of: " + " / ".join(expected.options)
    texts = {"question": expected.question, "answer": answer, "reply": reply}
    return {name: Block(text, name) for name, text in texts.items()}


def _grade(reply: Reply, is_json: bool) -> Grade | None:
    said = _verdict(reply.text, is_json)  # of a refused or failed request there is no text
    return None if said is None else Grade(_SCORES[said], said == "yes", f"the judge says {said}")


def _verdict(text: str, is_json: bool) -> str | None:
    if not is_json:
        match = _LINE.match(text)
        return match[1].casefold() if match else None
    try:
        return Verdict.model_validate_json(text[text.find("{") : text.rfind("}") + 1]).verdict
    except ValidationError:
        return None
