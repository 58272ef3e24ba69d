"""Every row with every column, for programs of one's own: as JSON lines, or as Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from concept_forget.exports.finished import SPLITS, FinishedSets
from concept_forget.exports.layout import Layout, Subset
from concept_forget.exports.registry import target
from concept_forget.exports.tables import read_table
from concept_forget.records import Example, Split

_ABOUT: dict[Split, str] = {
    "forget": "what the concept is to be forgotten by",
    "retain": "what has to stay, to train on beside it",
    "validation": "when to stop",
    "probe": "what is asked afterwards",
    "collateral": "neighbours never trained on",
}


@target("jsonl", source="jsonlines.org", all_columns=True)
def lay_out_jsonl(sets: FinishedSets, layout: Layout) -> None:
    """JSON lines with every column, one file for each set."""
    for split in SPLITS:
        rows = sets.rows[split]
        public = {id(row): columns for row, columns in zip(rows, read_table(sets, split).to_pylist(), strict=True)}

        def columns_of(row: Example, known: Mapping[int, Any] = public) -> Any:
            return known[id(row)]

        layout.add_lines(f"{split}.jsonl", rows, columns_of, _ABOUT[split], Subset("default", split))


@target("parquet", source="parquet.apache.org", all_columns=True)
def lay_out_parquet(sets: FinishedSets, layout: Layout) -> None:
    """Parquet with every column and its type, one file for each set."""
    for split in SPLITS:
        content = (sets.dataset / f"{split}.parquet").read_bytes()
        layout.add_table(f"{split}.parquet", sets.rows[split], content, _ABOUT[split], Subset("default", split))
