"""Reads the rows that a tiny model is to be taught."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from concept_forget.errors import DataError

QuestionAnswer = tuple[str, str]

_REMEDY = 'write one object per line: {"question": "…", "answer": "…"} or {"text": "…"}'


def read_rows(data: Path) -> list[QuestionAnswer]:
    """The rows of a JSON-lines file as (question, answer); a text has no question.

    Raises:
        DataError: The file is missing or a line is no such row; file and line are named.
    """
    try:
        content = data.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", file=data, remedy=_REMEDY) from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8: {error}", file=data, remedy="save the file as UTF-8") from error
    rows = []
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(_read_row(json.loads(line)))
            except ValueError as error:
                raise DataError(f"not a row: {error}", file=data, line=number, remedy=_REMEDY) from error
    return rows


def _read_row(value: Any) -> QuestionAnswer:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found {type(value).__name__}")
    names = ("text",) if "text" in value else ("question", "answer")
    for name in names:
        if not isinstance(value.get(name), str) or not value[name].strip():
            raise ValueError(f"'{name}' is missing, empty or no string")
    return ("", value["text"]) if "text" in value else (value["question"], value["answer"])
