from __future__ import annotations

from pathlib import Path

import pytest

from concept_forget.exports.exporting import export_sets
from concept_forget.exports.finished import SPLITS, FinishedSets
from concept_forget.records import to_json


@pytest.mark.parametrize(
    ("target", "ending", "loader"), [("jsonl", "jsonl", "json"), ("parquet", "parquet", "parquet")]
)
def test_every_row_comes_back_with_every_column(
    target: str, ending: str, loader: str, finished_run: Path, sets: FinishedSets, tmp_path: Path
) -> None:
    import datasets

    export_sets(finished_run, target, tmp_path / "out")
    for split in SPLITS:
        file = str(tmp_path / "out" / f"{split}.{ending}")
        loaded = datasets.load_dataset(loader, data_files=file, split="train", cache_dir=str(tmp_path / "cache"))
        for row, expected in zip(loaded, sets.rows[split], strict=True):
            plain = to_json(expected)
            shown = plain.pop("prompt") or [{"role": "user", "content": ""}], plain.pop("completion")
            assert {name: row[name] for name in plain} == plain
            assert (row["prompt"], row["completion"][0]["content"]) == shown
            assert {row["chosen"][0]["content"], row["rejected"][0]["content"]} == {shown[1], expected.refusal}
