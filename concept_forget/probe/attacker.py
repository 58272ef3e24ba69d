"""The model that writes a search's prompts and judges what they bring. It never sees an answer.

It is shown the question, the prompts that it wrote and the model's replies to them with their scores, and so learns of
an answer only what the model under attack says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from concept_forget.config import AttackerConfig
from concept_forget.engines.prompts import Prompt, PromptSet, load_prompts
from concept_forget.engines.protocol import Reply, Request, Sampling
from concept_forget.errors import DataError
from concept_forget.measures.refusals import is_no_answer
from concept_forget.measures.words import plain_words
from concept_forget.records import Chat

if TYPE_CHECKING:
    from concept_forget.engines.protocol import Engine

WRITE, MUTATE, JUDGE, REPHRASE = "search", "search_mutation", "search_judge", "paraphrases"
PROMPT_TOKENS, MARK_TOKENS = 256, 64
LONGEST_PROMPT, LONGEST_REPLY = 2000, 400
"""Characters of a prompt that is tried, and of a reply that the attacker is shown."""

MARKS = 5
_STYLES = ("rewording", "context", "register", "typos")


class Written(BaseModel):
    """A prompt."""

    model_config = ConfigDict(extra="ignore", strict=True)

    prompt: str


class Mark(BaseModel):
    """How definite an answer is."""

    model_config = ConfigDict(extra="ignore", strict=True)

    mark: int = Field(ge=1, le=MARKS)


@dataclass(frozen=True, slots=True)
class Shown:
    """A prompt that was tried, as the attacker sees it: with the reply and its score in [0, 1]."""

    prompt: str
    reply: str
    score: float


@dataclass(frozen=True, slots=True)
class Order:
    """A prompt that is wanted.

    ``number`` counts those wanted for a question in one generation. ``parent`` is what it is made from, with another
    good one beside it; without one it is written anew.
    """

    question: str
    number: int
    seed: int
    parent: Shown | None = None
    other: Shown | None = None


class Attacker:
    """A language model with the words to attack in.

    Args:
        engine: The model.
        prompts: Holds ``search`` and ``search_mutation``, and ``search_judge`` where it can judge; or ``paraphrases``
            alone, by which a small model rephrases what it is given.
        settings: How it is asked.

    Raises:
        DataError: The prompts hold neither.
    """

    def __init__(self, engine: Engine, prompts: PromptSet, settings: AttackerConfig) -> None:
        self._engine = engine
        self._write, self._mutate, self._marking = words_of(prompts)
        self._speaks_json = self._write.returns == "json"
        self._settings = settings

    def write(self, orders: Sequence[Order]) -> list[str]:
        """A prompt for each order; empty where the reply held none."""
        if not orders:
            return []
        limit = min(self._settings.max_new_tokens, PROMPT_TOKENS)
        sampling = Sampling(temperature=self._settings.temperature, max_new_tokens=limit)
        requests = [Request(self._chat(order), seed=order.seed) for order in orders]
        schema = Written if self._speaks_json and "schema" in self._engine.capabilities else None
        replies = self._engine.generate(requests, sampling, schema=schema)
        return [_read_prompt(reply, self._speaks_json) for (reply,) in replies]

    def judge(self, cases: Sequence[tuple[str, str, str]]) -> list[float]:
        """How far replies commit themselves to one answer to a question, be it right or wrong.

        Args:
            cases: The plain question, the prompt that was tried, and the reply to it.

        Returns:
            In [0, 1]: the judge's mark; without a judge, 1 unless the reply declines or says only what the prompt
            says. 0 where the judge gave no mark.
        """
        answering = [not (is_no_answer(reply) or _repeats(prompt, reply)) for _, prompt, reply in cases]
        if self._marking is None or not cases:
            return [float(answers) for answers in answering]
        chats = [self._marking.render(question=question, reply=reply) for question, _, reply in cases]
        schema = Mark if "schema" in self._engine.capabilities else None
        sampling = Sampling(max_new_tokens=MARK_TOKENS)
        replies = self._engine.generate([Request(chat) for chat in chats], sampling, schema=schema)
        return [_read_mark(reply.text) for (reply,) in replies]

    def close(self) -> None:
        """Give the model's memory back."""
        self._engine.close()

    def _chat(self, order: Order) -> Chat:
        turn = {"number": order.number, "n": 1, "styles": [_STYLES[order.number % len(_STYLES)]]}
        parent, other = order.parent, order.other
        if self._write.name == REPHRASE:
            return self._write.render(question=parent.prompt if parent else order.question, **turn)
        if parent is None:
            return self._write.render(question=order.question, **turn)
        return self._mutate.render(
            question=order.question,
            prompt=parent.prompt,
            reply=parent.reply[:LONGEST_REPLY],
            score=parent.score,
            other=other.prompt if other else "",
            **turn,
        )


def words_of(prompts: PromptSet) -> tuple[Prompt, Prompt, Prompt | None]:
    """What prompts are written, mutated and judged with.

    Raises:
        DataError: The set can do neither.
    """
    known = prompts.prompts
    if WRITE in known and MUTATE in known:
        return known[WRITE], known[MUTATE], known.get(JUDGE)
    if REPHRASE in known and known[REPHRASE].returns != "json":
        return known[REPHRASE], known[REPHRASE], None
    raise DataError(
        f"the prompt set has neither {WRITE}.jinja with {MUTATE}.jinja nor a {REPHRASE}.jinja that returns lines",
        file=prompts.folder,
        remedy="set `probe.attacker.prompts` to `attacks` or `compact`, or add them",
    )


def attacker_words(settings: AttackerConfig) -> PromptSet:
    """The prompts of an attacker.

    Raises:
        DataError: They cannot be read, or there is nothing to attack with.
    """
    prompts = load_prompts(settings.prompts)
    words_of(prompts)
    return prompts


def _read_prompt(reply: Reply, is_json: bool) -> str:
    if reply.finish_reason != "stop":
        return ""
    text = reply.text
    if is_json:
        try:
            text = Written.model_validate_json(_braces(text)).prompt
        except ValidationError:
            return ""
    else:
        text = next((line for line in text.splitlines() if line.strip()), "")
    text = text.strip()
    return text if len(text) <= LONGEST_PROMPT else ""


def _read_mark(text: str) -> float:
    try:
        return (Mark.model_validate_json(_braces(text)).mark - 1) / (MARKS - 1)
    except ValidationError:
        return 0.0


def _braces(text: str) -> str:
    return text[text.find("{") : text.rfind("}") + 1]


def _repeats(prompt: str, reply: str) -> bool:
    return set(plain_words(reply)) <= set(plain_words(prompt))
