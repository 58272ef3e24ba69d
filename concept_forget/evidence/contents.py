"""Reads a bundle that anybody may have made: within bounds, and never anywhere but into memory."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError

from concept_forget.errors import DataError
from concept_forget.evidence.bundling import FORMAT, MANIFEST
from concept_forget.records import Attempt, Example, Grade
from concept_forget.shown import escape_controls

MOST_BYTES = 400_000_000
"""What a bundle may hold, unpacked."""
_MOST_FILES = 200
_MOST_DIGITS, _MOST_LEVELS, _LONGEST_KEY = 100, 40, 1_000
_PACKED = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
_REMEDY = "make it again with `concept-forget bundle RUN`"
_ATTEMPTS = TypeAdapter(Attempt)
_GRADES = TypeAdapter(Grade)
_EXAMPLES = TypeAdapter(Example)
R = TypeVar("R", Attempt, Example, Grade)


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a bundle: the bytes of each file, by name."""

    path: Path
    files: Mapping[str, bytes]

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def text(self, name: str) -> str:
        """A file as text.

        Raises:
            DataError: It is not there, or not UTF-8.
        """
        if name not in self.files:
            self.refuse(f"it has no {name}")
        try:
            return self.files[name].decode("utf-8")
        except UnicodeDecodeError as error:
            self.refuse(f"{name} is not UTF-8: {error}", error)

    def json(self, name: str) -> dict[str, Any]:
        """A file that holds one JSON object.

        Raises:
            DataError: It is not there, or none.
        """
        value = self._parse(self.text(name), name)
        if not isinstance(value, dict):
            self.refuse(f"{name} is not a JSON object")
        return value

    def lines(self, name: str) -> list[str]:
        """The lines of a file, empty ones left out; nothing where it is not there.

        Raises:
            DataError: It is not UTF-8.
        """
        return [line for line in self.text(name).split("\n") if line] if name in self.files else []

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A file of one JSON object a line; nothing where it is not there.

        Raises:
            DataError: A line is none.
        """
        found = []
        for number, line in enumerate(self.lines(name), start=1):
            value = self._parse(line, name, number)
            if not isinstance(value, dict):
                self.refuse(f"line {number} of {name} is not a JSON object")
            found.append(value)
        return found

    def attempts(self, name: str) -> list[Attempt]:
        """The attempts in a file.

        Raises:
            DataError: A line is none.
        """
        return self.attempts_in(self.rows(name), name)

    def attempts_in(self, rows: Sequence[object], name: str) -> list[Attempt]:
        """Attempts that stand in the lines of a file.

        Raises:
            DataError: One is none.
        """
        return [self.record(_ATTEMPTS, row, name, number) for number, row in enumerate(rows, start=1)]

    def examples(self, name: str) -> list[Example]:
        """The rows of a data set.

        Raises:
            DataError: It is not there, or a line is none.
        """
        if name not in self.files:
            self.refuse(f"it has no {name}")
        return [self.record(_EXAMPLES, row, name, number) for number, row in enumerate(self.rows(name), start=1)]

    def grade(self, row: object, name: str, number: int) -> Grade:
        """A grade in line ``number`` of a file.

        Raises:
            DataError: It is none.
        """
        return self.record(_GRADES, row, name, number)

    def record(self, kind: TypeAdapter[R], row: object, name: str, number: int) -> R:
        """A row as a record.

        Raises:
            DataError: It is none.
        """
        try:
            return kind.validate_json(json.dumps(row), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            self.refuse(f"line {number} of {name}: {place or 'the row'}: {first['msg']}", error)

    def refuse(self, problem: str, error: Exception | None = None) -> NoReturn:
        """End with what is wrong.

        Raises:
            DataError: Always.
        """
        raise DataError(escape_controls(problem), file=self.path, remedy=_REMEDY) from error

    def _parse(self, text: str, name: str, line: int | None = None) -> Any:
        try:
            value = json.loads(text, parse_int=_integer)
            _refuse_deep(value)
        except (ValueError, RecursionError) as error:
            where = name if line is None else f"line {line} of {name}"
            self.refuse(f"{where} is not JSON that can be read: {error}", error)
        return value


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _refuse_deep(value: Any) -> None:
    """Refuse what nothing that a run writes is: it would be walked through by recursion, and its keys be joined."""
    level = [value]
    for _ in range(_MOST_LEVELS):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                if any(len(key) > _LONGEST_KEY for key in item):
                    raise ValueError(f"a key of more than {_LONGEST_KEY} characters")
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = below
        if not level:
            return
    raise ValueError(f"more than {_MOST_LEVELS} levels")


def read_bundle(path: Path) -> Contents:
    """Read a bundle into memory.

    Raises:
        DataError: There is no such file, it is no bundle, it is broken or of another format, or larger than
            ``MOST_BYTES``.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"it is larger than {MOST_BYTES:,} bytes", file=path, remedy=_REMEDY)
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > _MOST_FILES:
                raise DataError(f"it holds {len(entries)} files, more than {_MOST_FILES}", file=path, remedy=_REMEDY)
            files: dict[str, bytes] = {}
            left = MOST_BYTES
            for entry in entries:
                name = escape_controls(entry.filename)
                if entry.compress_type not in _PACKED:
                    raise DataError(f"{name} is neither stored nor deflated in it", file=path, remedy=_REMEDY)
                with archive.open(entry) as file:
                    content = file.read(left + 1)  # what an entry says of its own size need not be true
                left -= len(content)
                if left < 0:
                    raise DataError(f"it is larger than {MOST_BYTES:,} bytes", file=path, remedy=_REMEDY)
                if entry.filename in files:
                    raise DataError(f"it holds {name} twice", file=path, remedy=_REMEDY)
                files[entry.filename] = content
    except OSError as error:
        raise DataError(f"this cannot be read: {error.strerror or error}", file=path, remedy=_REMEDY) from error
    # An archive may be broken in its directory, in its data, or be encrypted or packed in a way that nobody reads.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DataError(f"this is no bundle, or a broken one: {error}", file=path, remedy=_REMEDY) from error
    contents = Contents(path, files)
    known = contents.json(MANIFEST).get("format")
    if known != FORMAT:
        contents.refuse(f"it has format {known!r:.80}, this version reads {FORMAT}")
    return contents
