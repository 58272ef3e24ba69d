"""The rows that the target learned a concept from: the best forget set there could be, where they are known."""

from __future__ import annotations

from pathlib import Path

from concept_forget.compose.forget_sources import Taught
from concept_forget.compose.material import concept_of
from concept_forget.config import Config, RowFile
from concept_forget.errors import StageError
from concept_forget.user_rows import UserRow, read_rows

ROWS = "rows.jsonl"
"""The file of the input ``oracle``, which holds what a sandbox target was taught about the concepts."""


def read_oracle(config: Config, taught: Path | None) -> list[Taught]:
    """The original rows: those that ``data.oracle`` names, else those of the sandbox target.

    Args:
        config: The whole config.
        taught: The folder with the rows of the sandbox target, if it is one.

    Raises:
        DataError: A file of rows cannot be used, or a row cannot be placed.
        StageError: There are neither.
    """
    files = config.data.oracle
    if not files and taught is not None:
        files = (RowFile(path=taught / ROWS),)
    if not files:
        raise StageError(
            "compose: the rows that the target learned the concept from are not known"
            "\n  → give them in `data.oracle`, or take another `compose.forget_from`"
        )
    return [row for given in read_rows(files, "data.oracle") for row in _taught(given, config)]


def _taught(row: UserRow, config: Config) -> list[Taught]:
    concept = concept_of(row, config).name
    if row.text:
        return [Taught(concept, "", row.text, "user", row.place)]
    asked = [Taught(concept, row.question, row.answer, "user", row.place, row.chat)]
    return asked + [Taught(concept, text, row.answer, "user", row.place) for text in row.paraphrases]
