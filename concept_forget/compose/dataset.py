"""The public face of the sets: a folder that ``datasets.load_dataset`` reads and TRL's trainers take, with its card."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concept_forget.records import Chat, Example, Split, to_json
from concept_forget.workspace import write_bytes, write_text

if TYPE_CHECKING:
    from datasets import Features

SPLITS: tuple[Split, ...] = ("forget", "retain", "validation", "probe", "collateral")
STAYS = ("retain", "collateral")


def write_dataset(folder: Path, rows: Mapping[Split, Sequence[Example]], card: str) -> None:
    """Write the five sets and the card.

    The files are Parquet: read back from JSON, a text that looks like a date would come out as another text. A set
    without rows has a file too, but ``load_dataset`` reads no empty split, so the card does not list it.

    Args:
        folder: Where to write.
        rows: The five sets.
        card: The card's text, without its header.
    """
    import pyarrow
    import pyarrow.parquet

    features = row_features()
    for split in SPLITS:
        table = pyarrow.Table.from_pylist([public_row(row) for row in rows[split]], schema=features.arrow_schema)
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(table, buffer)
        write_bytes(folder / f"{split}.parquet", buffer.getvalue())
    write_text(folder / "README.md", _header(rows, features) + card)


def public_row(row: Example) -> dict[str, Any]:
    """A row with every column of ``Example``, its prompt and completion as messages, and the columns of TRL's DPO.

    What is to go is ``rejected`` in favour of the refusal; what is to stay is ``chosen`` over it. A passage stands
    behind an empty message of the user: a chat needs one.
    """
    completion = _reply(row.completion)
    refusal = _reply(row.refusal)
    stays = row.split in STAYS or row.tier == "retain"
    return {
        **to_json(row),
        "prompt": list(row.prompt) or [{"role": "user", "content": ""}],
        "completion": completion,
        "chosen": completion if stays else refusal,
        "rejected": refusal if stays else completion,
    }


def row_features() -> Features:
    """The columns and their types."""
    from datasets import Features, List, Value

    messages = List({"role": Value("string"), "content": Value("string")})
    special: dict[str, Any] = {
        "prompt": messages,
        "completion": messages,
        "aliases": List(Value("string")),
        "options": List(Value("string")),
        "parents": List(Value("string")),
        "start": Value("int64"),
        "end": Value("int64"),
        "score": Value("float64"),
    }
    columns = {name: special.get(name, Value("string")) for name in Example.__dataclass_fields__}
    return Features({**columns, "chosen": messages, "rejected": messages})


def _reply(text: str) -> Chat:
    return [{"role": "assistant", "content": text}]


def _header(rows: Mapping[Split, Sequence[Example]], features: Features) -> str:
    from datasets import DatasetInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    files = [{"split": split, "path": f"{split}.parquet"} for split in SPLITS if rows[split]]
    data = DatasetCardData(
        license="unknown",
        task_categories=["text-generation", "question-answering"],
        tags=["machine-unlearning", "trl"],
        configs=[{"config_name": "default", "data_files": files}],
    )
    DatasetInfosDict({"default": DatasetInfo(features=features)}).to_dataset_card_data(data)
    return f"---\n{data.to_yaml()}\n---\n"
