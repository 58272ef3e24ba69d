"""From files to texts: one reader per format, found by the file's ending. A broken row is named and passed over.

A row's text is its text column. A row without one that has ``question`` and ``answer`` is read as the two lines

    Question: …
    Answer: …

white space folded, and is never cut in two, so that it can be told from prose again.
"""

from __future__ import annotations

import contextlib
import csv
import glob
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concept_forget.errors import first_line
from concept_forget.hub_rows import hub_faults
from concept_forget.mine.lines import BrokenStreamError, Line, read_blocks, read_elements, read_lines
from concept_forget.mine.parquet import read_columns

PAIR = "Question: {question}\nAnswer: {answer}"
"""How a question/answer row reads as text."""

Skip = Callable[[int, str], None]
"""Takes the line, or row of a table, counted from 1, and the reason why it is passed over."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of a document: all of it, or one paragraph of a text file. ``start`` is its place in the document's text.

    The document's text is the row's text, or what ``Path.read_text(encoding="utf-8-sig", errors="replace")`` gives.
    """

    document: str
    text: str
    start: int = 0
    whole: bool = False  # not to be cut


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the corpus. ``name`` stands for it in ``Piece.document``, with ``:`` and the line or row behind it."""

    path: Path
    name: str
    text_column: str
    max_line_bytes: int
    by_id: bool = False  # name rows by their ``id`` where they have one
    advance: Callable[[int], None] = lambda count: None  # told how many bytes were read


Reader = Callable[[SourceFile, Skip], Iterator[Piece]]
READERS: dict[str, Reader] = {}


def reader(*endings: str) -> Callable[[Reader], Reader]:
    """Register a reader for files whose names end so, ``.gz`` behind it or not."""

    def register(function: Reader) -> Reader:
        READERS.update(dict.fromkeys(endings, function))
        return function

    return register


COMPRESSING = (".parquet", ".arrow")
"""Endings of formats that are pyarrow's own, and have no .gz behind them."""


def find_reader(path: Path) -> Reader | None:
    """The reader for a file's ending; Parquet and Arrow compress by themselves and are read as they are."""
    name = path.name.casefold()
    ending = Path(name.removesuffix(".gz")).suffix
    return None if name.endswith(".gz") and ending in COMPRESSING else READERS.get(ending)


@reader(".jsonl", ".ndjson")
def read_json_lines(file: SourceFile, skip: Skip) -> Iterator[Piece]:
    """One JSON object per line."""
    return _read_objects(read_lines(file.path, file.max_line_bytes, file.advance), file, skip)


@reader(".json")
def read_json(file: SourceFile, skip: Skip) -> Iterator[Piece]:
    """JSON lines under the other name they go by, or one array of objects."""
    try:
        beginning = next(read_blocks(file.path, lambda count: None), b"")
    except BrokenStreamError:
        beginning = b""
    is_array = beginning.decode("utf-8-sig", "replace").lstrip().startswith("[")
    if not is_array:
        return read_json_lines(file, skip)
    return _read_objects(read_elements(file.path, file.max_line_bytes, file.advance), file, skip, bare="text")


@reader(".txt", ".text", ".md")
def read_text(file: SourceFile, skip: Skip) -> Iterator[Piece]:
    """One document per file, paragraph by paragraph; an empty line ends a paragraph."""
    held: list[str] = []
    size, start, place = 0, 0, 0
    for line in read_lines(file.path, file.max_line_bytes, file.advance):
        if line.problem is not None:
            skip(line.number, line.problem)
        text, fits = _lenient(line, skip)
        if held and (not text.strip() or not fits or size > file.max_line_bytes):
            yield Piece(file.name, "\n".join(held), start)
            held, size = [], 0
        if fits and text.strip():
            start = start if held else place
            held.append(text)
            size += len(text)
        place += (len(text) if line.characters is None else line.characters) + 1
    if held:
        yield Piece(file.name, "\n".join(held), start)


@reader(".csv")
def read_csv(file: SourceFile, skip: Skip) -> Iterator[Piece]:
    """Comma-separated values; the first row names the columns."""
    return _read_separated(file, ",", skip)


@reader(".tsv")
def read_tsv(file: SourceFile, skip: Skip) -> Iterator[Piece]:
    """Tab-separated values; the first row names the columns."""
    return _read_separated(file, "\t", skip)


@reader(".parquet")
def read_parquet(file: SourceFile, skip: Skip) -> Iterator[Piece]:
    """Parquet, of which the needed columns are read."""
    import pyarrow
    from pyarrow.parquet import read_schema

    number = 0
    try:
        there = read_schema(file.path).names
        if wanted := [name for name in _columns(file.text_column) if name in there]:
            for number, row in enumerate(read_columns(file.path, wanted, skip), start=1):
                if row is not None:
                    yield from _row_piece(row, file.text_column, f"{file.name}:{number}", number, skip)
        else:
            skip(1, _no_text(file.text_column, there))
    except (OSError, ValueError, LookupError, MemoryError, pyarrow.ArrowException) as error:
        skip(number + 1, f"the file cannot be read further: {first_line(error)}")
    with contextlib.suppress(OSError):
        file.advance(file.path.stat().st_size)


@reader(".arrow")
def read_arrow(file: SourceFile, skip: Skip) -> Iterator[Piece]:
    """Arrow, as ``datasets`` streams it."""
    import datasets

    done = 0

    def skip_row(number: int, reason: str) -> None:
        nonlocal done
        done += 1
        skip(number, reason)

    with _quiet("datasets"):
        try:
            rows = datasets.load_dataset(
                "arrow", data_files={"train": glob.escape(str(file.path.resolve()))}, split="train", streaming=True
            )
            for piece in read_rows(rows, file.name, file.text_column, skip_row):
                done += 1
                yield piece
        except hub_faults() as error:
            skip(done + 1, f"the file cannot be read further: {first_line(error)}")
    with contextlib.suppress(OSError):
        file.advance(file.path.stat().st_size)


def read_rows(rows: Any, name: str, column: str, skip: Skip) -> Iterator[Piece]:
    """The texts of a dataset that ``datasets`` opened, only the columns that are needed being decoded.

    Args:
        rows: A ``Dataset`` or ``IterableDataset``.
        name: What stands for it in ``Piece.document``; the row follows, counted from 1.
        column: The text column.
        skip: Takes broken rows.
    """
    if rows.column_names is not None:
        wanted = [name for name in _columns(column) if name in rows.column_names]
        if not wanted:
            skip(1, _no_text(column, rows.column_names))
            return
        rows = rows.select_columns(wanted)
    for number, row in enumerate(rows, start=1):
        yield from _row_piece(row, column, f"{name}:{number}", number, skip)


def _read_objects(lines: Iterable[Line], file: SourceFile, skip: Skip, bare: str | None = None) -> Iterator[Piece]:
    """Rows of JSON. A string that stands in the place of an object is the row's only column, ``bare``."""
    for line in lines:
        text = _decode(line, skip)
        if text is None:
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            skip(
                line.number,
                f"bad JSON: {error}" if text.strip() else f"the {'line' if bare is None else 'row'} is empty",
            )
            continue
        if bare is not None and isinstance(row, str):
            row = {bare: row}
        if not isinstance(row, dict):
            skip(line.number, f"a row is a JSON object, found {type(row).__name__}")
            continue
        place = row["id"] if file.by_id and isinstance(row.get("id"), (str, int)) else line.number
        yield from _row_piece(row, file.text_column, f"{file.name}:{place}", line.number, skip)


def _read_separated(file: SourceFile, delimiter: str, skip: Skip) -> Iterator[Piece]:
    # The limit is the process's own and low; a row is held to max_line_bytes here.
    csv.field_size_limit(max(csv.field_size_limit(), file.max_line_bytes))
    columns: list[str] | None = None
    for number, values in _separated_rows(file, delimiter, skip):
        if not values:
            skip(number, "the line is empty")
        elif columns is None:
            columns = values
            if file.text_column not in columns and not {"question", "answer"} <= set(columns):
                skip(number, _no_text(file.text_column, columns))
                return
        elif len(values) != len(columns):
            skip(number, f"the row has {len(values)} values for {len(columns)} columns")
        else:
            row = dict(zip(columns, values, strict=True))
            yield from _row_piece(row, file.text_column, f"{file.name}:{number}", number, skip)


def _separated_rows(file: SourceFile, delimiter: str, skip: Skip) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line they begin in. Of a row that is none, only the first line is given up."""
    lines = read_lines(file.path, file.max_line_bytes, file.advance)
    waiting: deque[tuple[int, str]] = deque()
    taken: list[tuple[int, str]] = []

    def feed() -> Iterator[str]:
        size = 0
        while size <= file.max_line_bytes:
            if not waiting:
                line = next(lines, None)
                if line is None:
                    return
                text = _decode(line, skip)
                if text is not None:
                    waiting.append((line.number, text))
                continue
            taken.append(waiting.popleft())
            size += len(taken[-1][1])
            yield taken[-1][1] + "\n"

    while True:
        taken.clear()
        try:
            row = next(csv.reader(feed(), delimiter=delimiter, strict=True), None)
        except csv.Error as error:
            skip(taken[0][0], f"bad CSV: {error}")
            waiting.extendleft(reversed(taken[1:]))
            continue
        if row is None:
            return
        yield taken[0][0], row


def _decode(line: Line, skip: Skip) -> str | None:
    if line.problem is not None:
        skip(line.number, line.problem)
        return None
    try:
        return line.data.decode("utf-8")
    except UnicodeDecodeError as error:
        skip(line.number, f"bad encoding: {error.reason} at byte {error.start + 1} of the line; UTF-8 is expected")
        return None


def _lenient(line: Line, skip: Skip) -> tuple[str, bool]:
    """A line of running text, and whether it may be used. What a broken stream cut off is used up to the cut."""
    if line.problem is not None:
        return line.data.decode("utf-8", "ignore").replace("\r", "\n"), line.characters is None
    try:
        return line.data.decode("utf-8").replace("\r", "\n"), True
    except UnicodeDecodeError:
        _decode(line, skip)
        return line.data.decode("utf-8", "replace"), False


def _row_piece(row: Mapping[str, Any], column: str, document: str, number: int, skip: Skip) -> Iterator[Piece]:
    text, whole = row.get(column), False
    question, answer = row.get("question"), row.get("answer")
    if text is None and question is not None and answer is not None:
        if any(isinstance(part, bool) or not isinstance(part, (str, int, float)) for part in (question, answer)):
            skip(number, "`question` and `answer` are no text")
            return
        question, answer = (" ".join(str(part).split()) for part in (question, answer))
        whole = True
        text = PAIR.format(question=question, answer=answer) if question and answer else ""
    if text is None and column not in row:
        skip(number, _no_text(column, row))
    elif not isinstance(text, str):
        skip(number, f"`{column}` is no text, found {'nothing' if text is None else type(text).__name__}")
    elif not text.strip():
        skip(number, "the text is empty")
    else:
        try:
            (document + text).encode()
        except UnicodeEncodeError:
            skip(number, "bad encoding: the text holds half a surrogate pair")
        else:
            yield Piece(document, text, whole=whole)


def _columns(column: str) -> list[str]:
    return list(dict.fromkeys((column, "question", "answer")))


def _no_text(column: str, columns: Iterable[str]) -> str:
    found = ", ".join(list(columns)[:20]) or "none"
    return f"there is neither a column `{column}` nor `question` and `answer`; the columns are: {found}"


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a library from logging what is reported here anyway."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
