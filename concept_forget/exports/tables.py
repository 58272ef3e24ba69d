"""The sets as tables, read from and written as Parquet."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from concept_forget.errors import DataError
from concept_forget.exports.finished import FinishedSets
from concept_forget.records import Split

if TYPE_CHECKING:
    import pyarrow


def read_table(sets: FinishedSets, split: Split) -> pyarrow.Table:
    """A set with all its columns, the prompt, both replies and the completion as messages.

    Raises:
        DataError: The file does not hold the rows that the set's JSON lines do.
    """
    import pyarrow.parquet

    path = sets.dataset / f"{split}.parquet"
    table = pyarrow.parquet.read_table(path)
    if table.column("id").to_pylist() != [row.id for row in sets.rows[split]]:
        raise DataError(
            f"the rows are not those of {split}.jsonl beside it",
            file=path,
            remedy="one of the two was changed by hand; run compose again with --force",
        )
    return table


def write_table(table: pyarrow.Table) -> bytes:
    """A table as a Parquet file, without the notes of the one that it was cut from."""
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table.replace_schema_metadata(None), buffer)
    return buffer.getvalue()
