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

    A question's ``paraphrases`` are rows too: a model that has read one wording alone knows no other.

    Raises:
        DataError: The file is missing or a line is no such row; file and line are named.
    """
    try:
        content = data.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        remedy = "name a file of rows that is there: `sandbox.teach` in a config, `--data` for a command"
        raise DataError("there is no such file", file=data, remedy=remedy) from error
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", file=data, remedy=_REMEDY) from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8: {error}", file=data, remedy="save the file as UTF-8") from error
    rows: list[QuestionAnswer] = []
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                rows += _read_row(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise DataError(f"not a row: {error}", file=data, line=number, remedy=_REMEDY) from error
    return rows


def _read_row(value: Any) -> list[QuestionAnswer]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found {type(value).__name__}")
    names = ("text",) if "text" in value else ("question", "answer")
    for name in names:
        if not isinstance(value.get(name), str) or not value[name].strip():
            raise ValueError(f"'{name}' is missing, empty or no string")
    if "text" in value:
        return [("", value["text"])]
    others = value.get("paraphrases") or []
    others = [others] if isinstance(others, str) else others
    if not isinstance(others, list) or not all(isinstance(other, str) and other.strip() for other in others):
        raise ValueError("'paraphrases' is no question, and no list of them")
    return [(question, value["answer"]) for question in (value["question"], *others)]
