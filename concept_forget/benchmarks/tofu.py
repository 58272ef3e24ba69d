"""TOFU (Maini et al. 2024): its sets, and what its evaluation measures of a model on each of them.

What the authors' evaluation does is done here: the first 300 rows of each set, losses with the token that ends an
answer, greedy replies of at most 200 tokens. A chat model is asked through its own template. One without a template is
asked as the authors ask Phi, ``Question: …`` and ``Answer: …`` as raw text.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from concept_forget.benchmarks.tofu_logs import FORGET, REAL_AUTHORS, RETAIN, WORLD_FACTS, EvalLog
from concept_forget.engines.protocol import Engine, Request, Sampling, TokenScores
from concept_forget.errors import DataError
from concept_forget.hub_rows import TOFU, HubSet, read_hub_set
from concept_forget.measures.tofu import option_probability, truth_ratio
from concept_forget.records import user_message

ROWS = 300
REPLY_TOKENS = 200

ForgetSet = Literal["forget01", "forget05", "forget10"]

_OWN_ANSWER = (REAL_AUTHORS, WORLD_FACTS)
"""Sets whose answers have no other wording, and whose wrong answers are options."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class TofuRow(BaseModel):
    """A question with its answer, the answer in other words, and wrong answers."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    paraphrased_answer: str = ""
    perturbed_answer: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Wording:
    """How a model is asked and answers.

    Args:
        ask: From a question to the prompt.
        reply: From an answer to the completion that is scored.
    """

    ask: Callable[[str], Request]
    reply: Callable[[str], str]


def chat_wording() -> Wording:
    """Through the model's chat template: the engine scores the token that ends the turn by itself."""
    return Wording(lambda question: Request(prompt=user_message(question)), lambda answer: answer)


def raw_wording(end: str) -> Wording:
    """As raw text, in the words of the authors' evaluation.

    Args:
        end: The token that ends a text, as the tokenizer writes it.
    """
    return Wording(lambda question: Request(prompt=f"Question: {question}\n"), lambda answer: f"Answer: {answer}{end}")


def read_tofu(forget: ForgetSet, folder: Path | None) -> dict[str, list[TofuRow]]:
    """The four sets that a model is evaluated on, by the name of their log.

    Args:
        forget: The forget set.
        folder: Where copies lie; None: from the hub.

    Raises:
        DataError: A set is not there, or a row is none.
    """
    names = {
        RETAIN: "retain_perturbed",
        REAL_AUTHORS: "real_authors_perturbed",
        WORLD_FACTS: "world_facts_perturbed",
        FORGET: f"{forget}_perturbed",
    }
    return {log: _read_set(log, HubSet(TOFU, name, "train"), folder) for log, name in names.items()}


def _read_set(log: str, source: HubSet, folder: Path | None) -> list[TofuRow]:
    rows = []
    for number, data in enumerate(read_hub_set(source, folder, "--data")[:ROWS], start=1):
        try:
            row = TofuRow.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            column = str(first["loc"][0]) if first["loc"] else None
            problem = f"row {number} of {source}: {first['msg']}"
            raise DataError(problem, key=column, remedy="save the set again as it is on the hub") from error
        if not row.paraphrased_answer:
            if log not in _OWN_ANSWER:
                raise DataError(
                    f"row {number} of {source} has no answer in other words",
                    key="paraphrased_answer",
                    remedy="save the set again as it is on the hub: the set without `_perturbed` in its name has none",
                )
            row = row.model_copy(update={"paraphrased_answer": row.answer})
        rows.append(row)
    if not rows:
        raise DataError(f"{source} has no row", key="--data", remedy="save the set again as it is on the hub")
    return rows


def evaluate(engine: Engine, sets: Mapping[str, Sequence[TofuRow]], wording: Wording) -> dict[str, EvalLog]:
    """Ask a model every question, and score every answer.

    Args:
        engine: The model.
        sets: Rows by the name of their log.
        wording: How it is asked.

    Returns:
        The log of each set, by its name.
    """
    return {name: _evaluate_set(engine, rows, wording, name in _OWN_ANSWER) for name, rows in sets.items()}


def _evaluate_set(engine: Engine, rows: Sequence[TofuRow], wording: Wording, has_options: bool) -> EvalLog:
    from concept_forget.measures.rouge import rouge_recall  # loads nltk

    requests = [wording.ask(row.question) for row in rows]
    replies = [several[0].text for several in engine.generate(requests, Sampling(max_new_tokens=REPLY_TOKENS))]
    pairs = [
        (request, wording.reply(answer))
        for request, row in zip(requests, rows, strict=True)
        for answer in (row.answer, row.paraphrased_answer, *row.perturbed_answer)
    ]
    scores = iter(engine.score(pairs))
    log: dict[str, dict[str, Any]] = {name: {} for name in EvalLog.model_fields}
    for number, (row, reply) in enumerate(zip(rows, replies, strict=True)):
        place = str(number)
        answer, paraphrase, *perturbed = [next(scores) for _ in range(2 + len(row.perturbed_answer))]
        recall = rouge_recall(reply, row.answer)
        wrong = [score.logprobs for score in perturbed]
        figures = {
            "avg_gt_loss": _loss(answer) / len(answer.logprobs),
            "gt_loss": _loss(answer),
            "num_token_gt": len(answer.logprobs),
            "generated_text": [row.question, reply, row.answer],
            "rouge1_recall": recall.rouge_1,
            "rougeL_recall": recall.rouge_l,
            "average_perturb_loss": [_loss(score) / len(score.logprobs) for score in perturbed],
            "avg_paraphrased_loss": _loss(paraphrase) / len(paraphrase.logprobs),
            "truth_ratio": min(truth_ratio(paraphrase.logprobs, wrong), sys.float_info.max),  # JSON has no infinity
            "paraphrased_loss": _loss(paraphrase),
            "perturb_loss": [_loss(score) for score in perturbed],
            "num_token_paraphrased": len(paraphrase.logprobs),
            "num_token_perturb": [len(score.logprobs) for score in perturbed],
        }
        if has_options:
            figures["normalized_gt_loss"] = -math.log(option_probability(answer.logprobs, wrong))
        for name, figure in figures.items():
            log[name][place] = figure
    if not has_options:
        del log["normalized_gt_loss"]
    return EvalLog.model_validate(log)


def _loss(score: TokenScores) -> float:
    """The sum of a completion's losses, in nats."""
    return -math.fsum(score.logprobs)
