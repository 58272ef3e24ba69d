"""Rows of a Parquet file in little memory, whatever its few bytes unpack to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

HELD_BYTES = 1 << 28
"""What a column of a row group may unpack to at least."""

RATIO = 20
"""Beyond that, how often its own size it may unpack to; compression makes text some ten times smaller."""

Row = dict[str, Any]
_ROWS = 1000  # that are decoded at once


def read_columns(path: Path, names: Sequence[str], refuse: Callable[[int, str], None]) -> Iterator[Row | None]:
    """The rows of a file, each with the values of some columns.

    A text that many rows share is in memory once. A list or a record within a row is not read; an empty one stands for
    it. Rows that are passed over come as None.

    Args:
        path: The file.
        names: Columns that it has, at least one.
        refuse: Told the first row, counted from 1, of a row group that would take too much memory, and why.

    Raises:
        OSError: The file cannot be opened.
        pyarrow.ArrowException: It is damaged; the rows before the damage were given.
    """
    from pyarrow import types
    from pyarrow.parquet import ParquetFile, read_schema

    kinds = {name: read_schema(path).field(name).type for name in names}
    nested: Row = {name: {} if types.is_struct(kind) else [] for name, kind in kinds.items() if types.is_nested(kind)}
    plain = [name for name in names if name not in nested]
    texts = [name for name in plain if types.is_string(kinds[name]) or types.is_large_string(kinds[name])]
    file = ParquetFile(path, read_dictionary=texts)
    first = 1
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        problem = _too_large(group, plain)
        if problem is not None:
            refuse(first, problem)
        if problem is not None or not plain:
            yield from (None if problem else dict(nested) for _ in range(group.num_rows))
        else:
            for batch in file.iter_batches(batch_size=_ROWS, row_groups=[number], columns=plain):
                for values in zip(*map(batch.column, plain), strict=True):
                    yield nested | {name: value.as_py() for name, value in zip(plain, values, strict=True)}
        first += group.num_rows


def _too_large(group: Any, names: Sequence[str]) -> str | None:
    """What is wrong with a row group that is out for more memory than its size lets expect."""
    for index in range(group.num_columns):
        column = group.column(index)
        allowed = max(HELD_BYTES, RATIO * column.total_compressed_size)
        if column.path_in_schema in names and column.total_uncompressed_size > allowed:
            return (
                f"{group.num_rows:,} rows are passed over: `{column.path_in_schema}` has "
                f"{column.total_compressed_size:,} bytes there that unpack to {column.total_uncompressed_size:,}; "
                "write the file with smaller row groups"
            )
    return None
