"""The files of an export, gathered before anything is written, with an account of every row."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from concept_forget.errors import ConceptForgetError
from concept_forget.records import Chat, Example

Make = Callable[[Example], Mapping[str, Any]]

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?")


@dataclass(frozen=True, slots=True)
class Subset:
    """Where a file stands for ``datasets``: the configuration and the split that it is a part of."""

    name: str
    split: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its path in the export, its rows (None: it holds none), and what it is for."""

    path: str
    rows: int | None
    about: str


class Layout:
    """Files by path, which of them ``datasets`` reads as what, and which rows found a place.

    A target either holds a row or leaves it out with a reason; ``check`` refuses an export that lost one.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.entries: list[Entry] = []
        self.subsets: dict[str, dict[str, list[str]]] = {}
        self.absent: dict[str, list[str]] = {}  # what for, and the files that have no row
        self.notes: list[str] = []
        self.left_out: Counter[tuple[str, str]] = Counter()
        self._settled: set[tuple[str, str]] = set()

    def add_file(self, path: str, content: bytes | str, about: str, rows: int | None = None) -> None:
        """Add a file that is no table of its own."""
        self.files[path] = content.encode("utf-8") if isinstance(content, str) else content
        self.entries.append(Entry(path, rows, about))

    def add_table(self, path: str, rows: Sequence[Example], content: bytes, about: str, subset: Subset) -> None:
        """Add a file that holds these rows, one entry each; without rows there is no file, and the card says so."""
        self.hold(rows)
        if not rows:
            self.absent.setdefault(about, []).append(path)
            return
        self.add_file(path, content, about, len(rows))
        self.subsets.setdefault(subset.name, {}).setdefault(subset.split, []).append(path)

    def add_json(self, path: str, rows: Sequence[Example], make: Make, about: str, subset: Subset) -> None:
        """Add rows as one JSON array, each as ``make`` turns it."""
        items = [make(row) for row in rows]
        self.add_table(path, rows, json_array(items), about, subset)
        self._warn_of_dates(path, items)

    def add_lines(self, path: str, rows: Sequence[Example], make: Make, about: str, subset: Subset) -> None:
        """Add rows as JSON lines, each as ``make`` turns it."""
        items = [make(row) for row in rows]
        text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
        self.add_table(path, rows, text.encode("utf-8"), about, subset)
        self._warn_of_dates(path, items)

    def hold(self, rows: Iterable[Example]) -> None:
        """Note that these rows are in the export."""
        self._settled.update((row.split, row.id) for row in rows)

    def leave_out(self, rows: Iterable[Example], reason: str) -> None:
        """Note that the target has no place for these rows, and why, unless they are in it in another form."""
        for row in rows:
            if (row.split, row.id) not in self._settled:
                self.left_out[row.split, reason] += 1
        self.hold(rows)

    def check(self, rows: Iterable[Example]) -> None:
        """Make sure that every row is accounted for.

        Raises:
            ConceptForgetError: A row is neither held nor left out with a reason.
        """
        lost = Counter(row.split for row in rows if (row.split, row.id) not in self._settled)
        if lost:
            counts = ", ".join(f"{count} of {split}" for split, count in lost.items())
            raise ConceptForgetError(f"the export would lose rows without saying so: {counts}")

    def _warn_of_dates(self, path: str, items: Sequence[Mapping[str, Any]]) -> None:
        for name in items[0] if items else ():
            values = [item[name] for item in items if isinstance(item[name], str)]
            if values and all(_DATE.fullmatch(value) for value in values):
                self.notes.append(
                    f"Every `{name}` in `{path}` looks like a date: `datasets` reads such a column of JSON as dates, "
                    "not as text. Cast it back, or export to `parquet`."
                )


def json_array(items: Sequence[Mapping[str, Any]]) -> bytes:
    """A JSON array with one item to a line, so that versions of it can be compared."""
    lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in items)
    return f"[\n{lines}\n]\n".encode()


@dataclass(frozen=True, slots=True)
class Turns:
    """A prompt as formats without chat messages hold it: a system message, earlier exchanges, and the question."""

    question: str
    system: str = ""
    history: tuple[tuple[str, str], ...] = ()


def read_turns(prompt: Chat) -> Turns | None:
    """A prompt as turns; None where it is not: a system message at the head, user and assistant in turn, user last."""
    system = prompt[0]["content"] if prompt and prompt[0]["role"] == "system" else ""
    messages = prompt[1:] if prompt and prompt[0]["role"] == "system" else prompt
    roles = [message["role"] for message in messages]
    if roles != ["user" if place % 2 == 0 else "assistant" for place in range(len(roles))] or len(roles) % 2 == 0:
        return None
    texts = [message["content"] for message in messages]
    return Turns(texts[-1], system, tuple(zip(texts[:-1:2], texts[1::2], strict=True)))


def is_plain_question(row: Example) -> bool:
    """Whether the prompt is one message of the user's and nothing else."""
    return [message["role"] for message in row.prompt] == ["user"]


def split_plain(rows: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Rows whose prompt is one question, and the others."""
    plain = [row for row in rows if is_plain_question(row)]
    return plain, [row for row in rows if not is_plain_question(row)]


MORE_THAN_A_QUESTION = "the prompt is more than one question (a system message, or several turns)"
"""Why a format that holds a single question leaves a row out."""
