"""What the verbs hand each other on disk: facts, questions, snippets, rows, attempts, grades and models.

Every record is a frozen, slotted dataclass that turns into one JSON object and back. An ``id`` is a hash of the
content, so that the same content has the same id in every run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from typing_extensions import TypedDict  # pydantic checks no other kind on Python 3.11

from concept_forget.errors import DataError

Source = Literal["generated", "mined", "user"]
Split = Literal["forget", "retain", "validation", "probe", "collateral"]
Distance = Literal["near", "middle", "far"]


class Message(TypedDict):
    """One chat message, in the form that every chat template takes."""

    role: Literal["system", "user", "assistant"]
    content: str


Chat = list[Message]


def user_message(text: str) -> Chat:
    """A chat of one user message."""
    return [{"role": "user", "content": text}]


def content_hash(*parts: object) -> str:
    """A hash of JSON-able parts: 16 hexadecimal digits, equal on every machine."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def named_seed(seed: int, *names: object) -> int:
    """A seed of its own for every random draw: 63 bits from the run's seed and the draw's name."""
    digest = hashlib.sha256(json.dumps([seed, *map(str, names)]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def named_random(seed: int, *names: object) -> random.Random:
    """A generator seeded with ``named_seed``."""
    return random.Random(named_seed(seed, *names))


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known about a subject.

    ``subject`` is the entity the fact is about; ``concept`` is the configured concept for whose sake it was gathered:
    the subject itself for facts to forget, the concept it neighbours for facts to keep.
    """

    id: str  # hash of subject, facet and answer
    concept: str  # for whose sake it was gathered
    subject: str  # whom or what it is about
    kind: str  # what the subject is: person, book, …
    facet: str  # which side of the subject
    answer: str  # what has to be said to show that it is known
    sentence: str  # a sentence that states it
    distance: Distance | None = None  # None: the fact is the concept's own; else how far its subject is from it
    aliases: tuple[str, ...] = ()  # other spellings of the answer
    source: Source = "generated"  # generated, mined or user
    parents: tuple[str, ...] = ()  # what it was made from
    prompt_hash: str = ""  # hash of the prompt file that asked for it
    kept: bool = False  # of the concept itself, but in its kept scope: ``distance`` is then "near"
    replacement: str = ""  # the new answer, where stale knowledge is to be replaced

    @staticmethod
    def make_id(subject: str, facet: str, answer: str) -> str:
        """The id of the fact that ``subject`` has ``answer`` for ``facet``."""
        return content_hash("fact", subject, facet, answer)


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """A question whose answer shows that a fact is known.

    ``family`` is the way of asking (``direct``, ``paraphrase``, ``reverse``, ``cloze``, ``scenario``, ``two_hop``,
    ``translation``, ``choice``) and ``variant`` counts the wordings within it; ``form`` joins the two. ``text`` is
    what a user would type.
    """

    id: str  # hash of fact, family and text
    fact: str  # Fact.id
    family: str  # the way of asking
    variant: int  # which wording of that way, from 0
    text: str  # what a user would type
    answer: str  # for ``reverse`` the subject, else the fact's answer
    options: tuple[str, ...] = ()  # for ``choice``: the options, the right one among them, in the order shown
    refusal: str = ""  # a reply that declines
    counterfactual: str = ""  # a wrong answer of the right type
    source: Source = "generated"  # generated, mined or user
    parents: tuple[str, ...] = ()  # what it was made from
    prompt_hash: str = ""  # hash of the prompt file that asked for it
    aliases: tuple[str, ...] = ()  # other spellings of the answer, as in the question's own language

    @property
    def form(self) -> str:
        """The form's name as rows carry it: ``direct``, ``paraphrase 3`` and so on."""
        return self.family if self.variant == 0 else f"{self.family} {self.variant}"

    @staticmethod
    def make_id(fact: str, family: str, text: str) -> str:
        """The id of a question about a fact."""
        return content_hash("question", fact, family, text)


@dataclasses.dataclass(frozen=True, slots=True)
class Passage:
    """A text that a generator wrote about a subject.

    ``style`` says how it came about: the reader for whom it was written, or ``memory`` for what the target itself went
    on to say after an ``opening``.
    """

    id: str  # hash of subject and text
    concept: str  # for whose sake it was written
    subject: str  # whom or what it is about
    text: str  # the text
    style: str  # the reader it was written for, or memory
    opening: str = ""  # of a memory, what the target went on from
    facts: tuple[str, ...] = ()  # Fact.id of each fact that it states
    distance: Distance | None = None  # as in ``Fact``
    kept: bool = False  # as in ``Fact``
    source: Source = "generated"  # generated, mined or user
    parents: tuple[str, ...] = ()  # what it was made from
    prompt_hash: str = ""  # hash of the prompt file that asked for it

    @staticmethod
    def make_id(subject: str, text: str) -> str:
        """The id of a text about a subject."""
        return content_hash("passage", subject, text)


@dataclasses.dataclass(frozen=True, slots=True)
class Snippet:
    """A chunk of the corpus, with its place in the source, that teaches the concept or nearly does."""

    id: str  # hash of where it stands and what it says
    concept: str  # the concept that it is about
    document: str  # file, or hub name, and row or line: where to find it again
    start: int  # offsets into the document's text, in characters
    end: int
    text: str  # what it says
    score: float  # cosine similarity with its best query, in [-1, 1]
    query: str  # the query that it is most like
    near_miss: bool = False  # similar, but not about the concept: a candidate for the retain set
    copies: int = 1  # how often the corpus says it, in these words or nearly


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """One row of a data set, in TRL's column names.

    ``prompt`` is a chat; for plain text (a passage) it is empty and ``completion`` holds the text.
    """

    id: str
    split: Split
    concept: str
    subject: str
    facet: str
    fact: str
    form: str
    family: str
    tier: str  # probe and validation: "new_form", "new_fact", "trained_form"; collateral: the distance; else ""
    prompt: Chat
    completion: str
    answer: str
    aliases: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    refusal: str = ""
    counterfactual: str = ""
    source: Source = "generated"
    parents: tuple[str, ...] = ()
    prompt_hash: str = ""
    document: str = ""
    start: int = -1
    end: int = -1
    score: float = 0.0

    @staticmethod
    def make_id(prompt: Chat, completion: str) -> str:
        """The id of a row: a hash of what a model is shown."""
        return content_hash("example", prompt, completion)


@dataclasses.dataclass(frozen=True, slots=True)
class Grade:
    """What a reply gave away. ``score`` lies in [0, 1]; ``leaked`` is the grader's own cut of it."""

    score: float
    leaked: bool
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """One question put to one model by one attack, and its reply."""

    id: str  # hash of all that was asked of whom
    model: str  # "base", "unlearned", "reference"
    attack: str  # the attack's name
    family: str  # the family of the question
    tier: str  # new_form, new_fact, …; of collateral the distance
    concept: str  # the concept it is asked for
    subject: str  # whom or what it is about
    fact: str  # the fact that it asks for
    example: str  # Example.id
    sample: int  # which reply to the same question, from 0
    prompt: Chat  # the messages that were sent
    prefill: str  # the reply's forced opening
    reply: str  # what the model said
    finish_reason: str  # stop, or length where it was cut off
    expected: str  # the answer that would give the fact away
    aliases: tuple[str, ...] = ()  # other spellings of it
    options: tuple[str, ...] = ()  # of a choice, the options in the order shown


@dataclasses.dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that can be loaded: a folder or hub id, with an optional adapter on top."""

    path: str
    revision: str | None = None
    dtype: str = "auto"  # auto, float32, bfloat16, float16
    adapter: str | None = None
    fingerprint: str = ""  # hash of the weights' files, or the resolved hub commit


Record = Fact | Question | Passage | Snippet | Example | Attempt | Grade | ModelSpec
R = TypeVar("R", bound=Record)


def to_json(record: Record) -> dict[str, Any]:
    """The record as one JSON-able object, tuples as lists."""
    return json_ready(dataclasses.asdict(record))  # type: ignore[no-any-return]  # a dataclass becomes a dict


def json_ready(value: Any) -> Any:
    """Tuples become lists all the way down; everything else stays."""
    if isinstance(value, Mapping):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    return value


def from_json(kind: type[R], data: Mapping[str, Any]) -> R:
    """The inverse of ``to_json``.

    Raises:
        TypeError: A key is missing or unknown.
    """
    values: dict[str, Any] = dict(data)
    for field in dataclasses.fields(kind):
        if isinstance(values.get(field.name), list) and field.type != "Chat":
            values[field.name] = tuple(values[field.name])
    return kind(**values)


def read_grade(line: Mapping[str, Any]) -> Grade:
    """What a line of ``grades.jsonl`` says that decides; what stands beside it there is left out.

    Raises:
        TypeError: It says no such thing.
    """
    names = [field.name for field in dataclasses.fields(Grade)]
    return from_json(Grade, {name: line[name] for name in names if name in line})


def dump_jsonl(records: Iterable[Record]) -> str:
    """Records as JSON lines, keys in field order, so that equal records give equal bytes."""
    return "".join(json.dumps(to_json(record), ensure_ascii=False) + "\n" for record in records)


def load_jsonl(kind: type[R], path: Path) -> list[R]:
    """Read JSON lines that ``dump_jsonl`` wrote.

    Raises:
        DataError: A line is not such a record; the message names file and line.
    """
    records = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                records.append(from_json(kind, json.loads(line)))
            except (ValueError, TypeError) as error:
                raise DataError(
                    f"this line is not a {kind.__name__}: {error}",
                    file=path,
                    line=number,
                    remedy="it was changed by hand or by another version; run the stage again with --force",
                ) from error
    return records
