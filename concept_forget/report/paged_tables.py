"""Tables too long to be read at once: what a page shows of rows and snippets, and hands its script to page through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from concept_forget.records import Chat, Example, Snippet
from concept_forget.report.material import SPLITS
from concept_forget.report.redaction import HIDDEN, Redactor
from concept_forget.report.templates import page_bytes

PAGE = 25
"""Rows shown at once, and those that stand on the page without its script."""
ROW_BUDGET, SNIPPET_BUDGET = 1_800_000, 1_000_000
"""Bytes that each table may take on a page."""
_LONGEST = 1_500
_PER_ROW = 40  # what JSON takes beside the texts


@dataclass(frozen=True, slots=True)
class Column:
    """A column. ``choices``: it can be filtered by its values; ``only_opened``: it shows in the view of a row alone."""

    name: str
    choices: bool = False
    only_opened: bool = False


@dataclass(frozen=True, slots=True)
class PagedTable:
    """A table of texts; ``total`` counts the rows there are, and ``note`` says which of them are here."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    total: int
    note: str

    def first_page(self) -> list[list[str]]:
        """The cells that stand on the page without its script: those of its first rows that are not only opened."""
        seen = [index for index, column in enumerate(self.columns) if not column.only_opened]
        return [[row[index] for index in seen] for row in self.rows[:PAGE]]

    def as_json(self) -> dict[str, Any]:
        """What the page's script reads: cells of a column with choices count into them."""
        columns: list[dict[str, Any]] = []
        places: list[dict[str, int]] = []
        for index, column in enumerate(self.columns):
            values = list(dict.fromkeys(row[index] for row in self.rows)) if column.choices else []
            columns.append({"name": column.name, "choices": values, "opened": column.only_opened})
            places.append({value: place for place, value in enumerate(values)})
        items = [[place[cell] if place else cell for cell, place in zip(row, places, strict=True)] for row in self.rows]
        return {"columns": columns, "items": items, "size": PAGE}


ROW_COLUMNS = (
    Column("set", choices=True),
    Column("concept", choices=True),
    Column("prompt"),
    Column("completion"),
    Column("form", choices=True),
    Column("source", choices=True),
    Column("tier", choices=True, only_opened=True),
    Column("facet", only_opened=True),
    Column("subject", only_opened=True),
    Column("wording", only_opened=True),
    Column("refusal", only_opened=True),
    Column("counterfactual", only_opened=True),
    Column("found in", only_opened=True),
    Column("made from", only_opened=True),
    Column("id", only_opened=True),
)
SNIPPET_COLUMNS = (
    Column("concept", choices=True),
    Column("kind", choices=True),
    Column("text"),
    Column("source"),
    Column("characters"),
    Column("cosine"),
    Column("closest query", only_opened=True),
    Column("id", only_opened=True),
)


def row_table(rows: Sequence[Example], redactor: Redactor, budget: int = ROW_BUDGET) -> PagedTable:
    """The five sets.

    Where they are too many for the page, an equal share of each set is taken, evenly spread over it.

    Args:
        rows: The rows, set by set.
        redactor: What is hidden.
        budget: Bytes that they may take.
    """
    kept, note = _fitting(rows, lambda row: row.split, lambda row: _row_cells(row, redactor), budget)
    names = {split: place for place, split in enumerate(SPLITS)}
    kept.sort(key=lambda row: names.get(row[0], len(names)))  # type: ignore[call-overload]  # the first cell is a set
    where = f"{note} All of them stand in compose/{{forget,retain,validation,probe,collateral}}.jsonl." if note else ""
    return PagedTable("rows", "Rows of the data sets", ROW_COLUMNS, tuple(kept), len(rows), where)


def snippet_table(snippets: Sequence[Snippet], redactor: Redactor, budget: int = SNIPPET_BUDGET) -> PagedTable:
    """What the corpus says, with its place: snippets that teach a concept, then near misses, the most similar first.

    Where near misses are too many for the page, the least similar are left out.

    Args:
        snippets: What was mined.
        redactor: What is hidden.
        budget: Bytes that they may take.
    """
    ordered = sorted(snippets, key=lambda snippet: (snippet.near_miss, -snippet.score))
    kept: list[tuple[str, ...]] = []
    left = budget
    for snippet in ordered:
        cells = _snippet_cells(snippet, redactor)
        left -= _size(cells)
        if left < 0:
            break
        kept.append(cells)
    note = (
        f"{len(kept):,} of {len(ordered):,} are here, the most similar ones; all of them stand in mine/snippets.jsonl."
        if len(kept) < len(ordered)
        else ""
    )
    return PagedTable("snippets", "Mined snippets", SNIPPET_COLUMNS, tuple(kept), len(ordered), note)


def _fitting(
    rows: Sequence[Example],
    group: Callable[[Example], str],
    cells_of: Callable[[Example], tuple[str, ...]],
    budget: int,
) -> tuple[list[tuple[str, ...]], str]:
    """As many rows as fit, an even share of each group; and a note where some do not."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for row in rows:
        groups.setdefault(group(row), []).append(cells_of(row))
    total = sum(_size(cells) for found in groups.values() for cells in found)
    if total <= budget:
        return [cells for found in groups.values() for cells in found], ""
    share = budget / total
    kept: list[tuple[str, ...]] = []
    for found in groups.values():
        wanted = max(1, int(share * len(found)))
        chosen = (found[place * len(found) // wanted] for place in range(wanted))
        kept += _within(chosen, budget * sum(map(_size, found)) / total)
    return kept, f"{len(kept):,} of {len(rows):,} rows are here, the same share of every set, evenly spread over it."


def _within(rows: Iterator[tuple[str, ...]], budget: float) -> Iterator[tuple[str, ...]]:
    for cells in rows:
        budget -= _size(cells)
        if budget < 0:
            return
        yield cells


def _size(cells: Sequence[str]) -> int:
    return _PER_ROW + sum(page_bytes(cell) for cell in cells)


def _row_cells(row: Example, redactor: Redactor) -> tuple[str, ...]:
    asked = row.split in ("forget", "validation", "probe") and row.tier != "retain"
    secret = redactor.everything or (redactor.hides(row.concept) and (asked or row.source == "mined"))
    origin = ("", "") if secret else (", ".join(row.parents), row.id)  # hashes, from which an answer can be guessed
    place = f"{row.document}, characters {row.start:,} to {row.end:,}" if row.document else ""
    prompt = _prompt(row, redactor) if secret else _chat_text(row.prompt)
    told: Mapping[str, str] = {
        "completion": row.completion,
        "refusal": row.refusal,
        "counterfactual": row.counterfactual,
    }
    shown = {name: HIDDEN if secret and text and name != "refusal" else text for name, text in told.items()}
    cells = (
        row.split, row.concept, prompt, shown["completion"], row.family.replace("_", " "), row.source,
        row.tier.replace("_", " "), row.facet, row.subject, row.form, shown["refusal"], shown["counterfactual"],
        place, *origin,
    )  # fmt: skip
    return tuple(_clipped(redactor.text(cell)) for cell in cells)


def _prompt(row: Example, redactor: Redactor) -> str:
    """What a row of a hidden concept asks, without its options; of a text to go on with, or about others, nothing."""
    if row.family == "completion" or row.split in ("retain", "collateral") or row.tier == "retain":
        return HIDDEN
    text = _chat_text(row.prompt)
    for option in row.options:
        text = text.replace(option, HIDDEN)
    return redactor.prompt(text, row.fact)


def _chat_text(prompt: Chat) -> str:
    if len(prompt) == 1:
        return prompt[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def _snippet_cells(snippet: Snippet, redactor: Redactor) -> tuple[str, ...]:
    text = redactor.whole(snippet.concept, snippet.text)
    query = redactor.whole(snippet.concept, snippet.query)
    mark = "" if redactor.hides(snippet.concept) else snippet.id  # a hash of the text
    cells = (
        snippet.concept, "near miss" if snippet.near_miss else "teaches it", text, snippet.document,
        f"{snippet.start:,} to {snippet.end:,}", f"{snippet.score:.2f}", query, mark,
    )  # fmt: skip
    return tuple(_clipped(redactor.text(cell)) for cell in cells)


def _clipped(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]} … ({len(text) - _LONGEST:,} characters more)"
