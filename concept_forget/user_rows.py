"""Reads the user's own rows, JSON lines of question/answer, prompt/completion or text, and those of benchmarks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from concept_forget.config import Config, RowFile
from concept_forget.errors import DataError
from concept_forget.hub_rows import TOFU, HubSet, read_hub_set
from concept_forget.records import Chat, Distance, content_hash, user_message
from concept_forget.text import normalise_name
from concept_forget.workspace import file_hash

LOOK = "check the spelling; a relative path starts at the folder in which the command is run"
_SHAPES = "`question` and `answer`, `prompt` and `completion`, or `text`"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _Message(BaseModel):
    """One chat message; ``records.Message`` cannot be read by pydantic on Python 3.11."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class _Line(BaseModel):
    """One line of a file as it is read; columns that mean nothing here are left alone."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True, str_strip_whitespace=True)

    question: str | None = None
    answer: str | None = None
    prompt: str | list[_Message] | None = None
    completion: str | list[_Message] | None = None
    text: str | None = None
    concept: str | None = None
    subject: str | None = None
    facet: str | None = None
    aliases: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = None
    refusal: str | None = None
    paraphrases: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = None


@dataclass(frozen=True, slots=True)
class UserRow:
    """One row: a question with its answer, or, where ``question`` is empty, a text.

    ``chat`` is empty unless the row itself brought its prompt as messages; it is then put as it is.
    """

    file: Path
    line: int
    question: str
    answer: str
    text: str
    chat: Chat
    concept: str | None
    subject: str
    facet: str
    aliases: tuple[str, ...]
    refusal: str
    paraphrases: tuple[str, ...]
    distance: Distance

    @property
    def place(self) -> str:
        """Where to find it again."""
        return f"{self.file.as_posix()}:{self.line}"


def read_rows(files: Sequence[RowFile], key: str) -> list[UserRow]:
    """The rows of all files of one section of ``data:``, in order.

    Args:
        files: What the config says.
        key: The config key, for messages.

    Raises:
        DataError: A file is absent or not UTF-8, has too few rows, or a row is none; file, line and remedy are named.
    """
    return [row for file, own in _keyed(files, key) for row in _read_file(file, own)]


def hash_files(config: Config) -> dict[str, list[str]]:
    """The hash of every file of rows, by section.

    Raises:
        DataError: A file is absent.
    """
    hashes: dict[str, list[str]] = {}
    for section in ("forget", "retain", "collateral", "oracle"):
        if files := getattr(config.data, section):
            hashes[section] = hash_rows(files, f"data.{section}")
    return hashes


def hash_rows(files: Sequence[RowFile], key: str) -> list[str]:
    """The hash of every file of rows of one config key.

    Raises:
        DataError: A file is absent.
    """
    return [_hash(file, own) for file, own in _keyed(files, key)]


def _keyed(files: Sequence[RowFile], key: str) -> list[tuple[RowFile, str]]:
    """Each file with the key of its own, where there are several."""
    return [(file, f"{key}.{number}" if len(files) > 1 else key) for number, file in enumerate(files)]


def _hash(file: RowFile, key: str) -> str:
    if file.benchmark is not None:
        return content_hash(_lines(file, key))
    _require_file(file.place, key)
    return file_hash(file.place)


def _require_file(path: Path, key: str) -> None:
    if path.is_dir():
        raise DataError(f"{str(path)!r} is a folder", key=key, remedy="give the path of a file of JSON lines")
    if not path.is_file():
        raise DataError(f"there is no file {str(path)!r}", key=key, remedy=LOOK)
    if not os.access(path, os.R_OK):
        raise DataError("the file must not be read", file=path, key=key, remedy="give yourself the right to read it")


def _read_file(file: RowFile, key: str) -> Iterator[UserRow]:
    lines = _lines(file, key)
    first, end = file.rows or (0, len(lines))
    if end > len(lines) or not lines:
        raise DataError(
            f"`rows: [{first}, {end}]` was asked for, the file has {len(lines)} rows" if lines else "the file is empty",
            file=file.place,
            key=key,
            remedy="rows count from 0 and END is not included" if lines else f"give rows with {_SHAPES}",
        )
    for number, text in lines[first:end]:
        yield _read_line(text, file, number)


def _lines(file: RowFile, key: str) -> list[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1."""
    if file.benchmark is not None:
        rows = read_hub_set(HubSet(TOFU, file.benchmark.removeprefix("tofu/"), "train"), file.path, key)
        return [(number, json.dumps(row)) for number, row in enumerate(rows, start=1)]
    _require_file(file.place, key)
    return [(number, text) for number, text in _file_lines(file.place) if text.strip()]


def _file_lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError("not UTF-8 text", file=path, line=number, remedy="save the file as UTF-8") from error


def _read_line(text: str, file: RowFile, number: int) -> UserRow:
    def fail(problem: str, remedy: str, key: str | None = None) -> DataError:
        return DataError(problem, file=file.place, line=number, key=key, remedy=remedy)

    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise fail(f"not JSON: {error}", "write one JSON object per line") from error
    if not isinstance(data, dict):
        raise fail(f"a row is a JSON object, found {type(data).__name__}", f"write {{…}} with {_SHAPES}")
    try:
        line = _Line.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        column = str(first["loc"][0]) if first["loc"] else None
        raise fail(f"{first['msg']}; found {first['input']!r:.80}", "write text there", column) from error
    question, answer, chat = _question(line, fail)
    if not question and not line.text:
        raise fail(f"the row has none of {_SHAPES}; its columns are {', '.join(data) or 'none'}", "rename the columns")
    if not question and not any(character.isalnum() for character in line.text or ""):
        raise fail(f"there is no word in it; found {line.text!r:.80}", "leave the row out", "text")
    if question and line.text:
        raise fail("the row has a question and a `text`", "make two rows of it", "text")
    return UserRow(
        file=file.place,
        line=number,
        question=question,
        answer=answer,
        text=line.text or "",
        chat=chat,
        concept=normalise_name(line.concept or file.concept or "") or None,
        subject=line.subject or file.subject or "",
        facet=line.facet or "",
        aliases=tuple(a for a in line.aliases or () if any(character.isalnum() for character in a)),
        refusal=line.refusal or "",
        paraphrases=tuple(dict.fromkeys(p for p in line.paraphrases or () if p)),
        distance=file.distance,
    )


def _question(line: _Line, fail: Any) -> tuple[str, str, Chat]:
    """Question, answer and, where the row brought messages, these."""
    pairs = [("question", line.question, "answer", line.answer), ("prompt", line.prompt, "completion", line.completion)]
    given = [pair for pair in pairs if pair[1] is not None or pair[3] is not None]
    if len(given) > 1:
        raise fail("the row has `question`/`answer` and `prompt`/`completion`", "keep one of the two pairs")
    for asked, prompt, replied, completion in given:
        for name, value in ((asked, prompt), (replied, completion)):
            if not value:
                raise fail("the column is missing or empty", f"a row needs {_SHAPES}", name)
        question = _text(prompt, "user", asked, fail)
        answer = _text(completion, "assistant", replied, fail)
        chat: Chat = [{"role": m.role, "content": m.content} for m in prompt] if isinstance(prompt, list) else []
        return question, answer, [] if chat == user_message(question) else chat
    return "", "", []


def _text(value: str | list[_Message] | None, role: str, column: str, fail: Any) -> str:
    """The text itself, or that of the last message."""
    if isinstance(value, list):
        value = value[-1].content.strip() if value[-1].role == role else ""
    if not value:
        raise fail(f"the last message is not the {role}'s, or is empty", f"end with a message of the {role}", column)
    if not any(character.isalnum() for character in value):
        raise fail(f"there is no word in it; found {value!r:.80}", "write what is asked and what is answered", column)
    return value
