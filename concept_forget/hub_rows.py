"""Rows of public data sets: from the hub by their names there, or from copies on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concept_forget.errors import DataError, first_line

TOFU = "locuslab/TOFU"
_ENDINGS = ("jsonl", "json", "parquet")


@dataclass(frozen=True, slots=True)
class HubSet:
    """A split of a configuration of a data set on the hub."""

    hub: str
    name: str
    split: str

    def __str__(self) -> str:
        return f"{self.hub}, {self.name}, {self.split}"


def read_hub_set(source: HubSet, folder: Path | None, key: str) -> list[dict[str, Any]]:
    """The rows of a set.

    Args:
        source: Which one.
        folder: Where copies lie: ``NAME.jsonl``, ``.json`` or ``.parquet``, or ``NAME/SPLIT*`` as in a clone of the
            set, there or in a folder called as the set is; None: from the hub, or its cache.
        key: What the user named the folder by, for messages.

    Raises:
        DataError: It is not there, or is no table of rows.
    """
    if folder is None:
        return _from_hub(source, key)
    files = _find(source, folder)
    if not files:
        raise DataError(
            f"there is no copy of {source} here",
            file=folder,
            key=key,
            remedy=f"save it as {source.name}.jsonl, .json or .parquet, or as {source.name}/{source.split}.parquet",
        )
    return [row for file in files for row in _read(file)]


def _find(source: HubSet, folder: Path) -> list[Path]:
    base = source.hub.rpartition("/")[2]
    for root in (folder, folder / base, folder / base.lower()):
        for ending in _ENDINGS:
            if (file := root / f"{source.name}.{ending}").is_file():
                return [file]
            if files := sorted((root / source.name).glob(f"{source.split}*.{ending}")):
                return files
    return []


def _read(file: Path) -> Iterator[dict[str, Any]]:
    if file.suffix == ".parquet":
        yield from read_parquet(file, "save it again")
        return
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"this cannot be read: {error}", file=file, remedy="save it as UTF-8") from error
    if text.lstrip().startswith("["):
        yield from _objects(_parse(text, file, None), file)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield from _objects([_parse(line, file, number)], file, number)


def read_parquet(file: Path, remedy: str) -> list[dict[str, Any]]:
    """The rows of a Parquet file.

    Args:
        file: The file.
        remedy: What to do where it cannot be read.

    Raises:
        DataError: It is no Parquet.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(file).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"this is no Parquet: {error}", file=file, remedy=remedy) from error
    return rows


def _parse(text: str, file: Path, line: int | None) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}", file=file, line=line, remedy="save it again") from error


def _objects(values: Any, file: Path, line: int | None = None) -> Iterator[dict[str, Any]]:
    for value in values:
        if not isinstance(value, dict):
            raise DataError("a row is a JSON object", file=file, line=line, remedy="save it again")
        yield value


def _from_hub(source: HubSet, key: str) -> list[dict[str, Any]]:
    import datasets

    try:
        rows: list[dict[str, Any]] = datasets.load_dataset(source.hub, source.name, split=source.split).to_list()
    except hub_faults() as error:
        raise DataError(
            f"{source} cannot be had from the hub: {first_line(error)}",
            key=key,
            remedy="check the connection, or name a folder with copies",
        ) from error
    return rows


def hub_faults() -> tuple[type[Exception], ...]:
    """What ``datasets`` raises where a set, on the hub or on this machine, cannot be had."""
    import datasets
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from pyarrow import ArrowException

    found: tuple[type[Exception], ...] = (datasets.exceptions.DatasetsError, HfHubHTTPError, HFValidationError)
    # RuntimeError: a script lies where a set is looked for, which `datasets` runs no more. TypeError, AttributeError: a
    # card is no card. MemoryError: few bytes unpack to many.
    return (
        OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, MemoryError, ArrowException, *found,
    )  # fmt: skip
