from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from concept_forget.exports.exporting import export_sets
from concept_forget.exports.finished import SPLITS, FinishedSets
from concept_forget.exports.layout import Layout, read_turns
from concept_forget.exports.llama_factory import lay_out
from concept_forget.records import Example
from concept_forget.workspace import read_json


def test_dataset_info_describes_every_file_by_columns_that_it_has(
    finished_run: Path, sets: FinishedSets, tmp_path: Path
) -> None:
    import datasets

    out = tmp_path / "out"
    layout = export_sets(finished_run, "llama-factory", out)
    described: dict[str, Any] = read_json(out / "dataset_info.json")
    assert {entry["file_name"] for entry in described.values()} == {
        path.name for path in out.glob("*.json") if path.name != "dataset_info.json"
    }
    for entry in described.values():
        file = str(out / entry["file_name"])
        loaded = datasets.load_dataset("json", data_files=file, split="train", cache_dir=str(tmp_path / "cache"))
        assert set(entry["columns"].values()) <= set(loaded.column_names)
    for split in SPLITS:
        rows = {row["id"]: row for row in read_json(out / f"my_rows_{split}.json")}
        pairs = {row["id"]: row for row in read_json(out / f"my_rows_{split}_preference.json")}
        assert described[f"my_rows_{split}_preference"]["ranking"] is True
        for row in sets.questions(split):
            if row.id in rows:
                check(row, rows[row.id], pairs[row.id])
            else:
                assert read_turns(row.prompt) is None
    assert layout.left_out.total() == 2, "a conversation that ends with a reply, and a text that is only begun"
    texts = [row["text"] for row in read_json(out / "my_rows_forget_text.json")]
    assert texts == [row.completion for row in sets.passages("forget")]


def check(row: Example, taught: dict[str, Any], pair: dict[str, Any]) -> None:
    turns = read_turns(row.prompt)
    assert turns is not None
    for shown in (taught, pair):
        assert (shown["instruction"], shown["input"]) == (turns.question, "")
        assert shown.get("system", "") == turns.system
        assert shown.get("history", []) == [list(past) for past in turns.history]
    assert taught["output"] == row.completion
    stays = row.split in ("retain", "collateral")
    assert (pair["chosen"], pair["rejected"]) == (
        (row.completion, row.refusal) if stays else (row.refusal, row.completion)
    )


def test_a_file_has_the_columns_for_earlier_turns_only_where_one_of_its_rows_needs_them(sets: FinishedSets) -> None:
    layout = Layout()
    lay_out(sets, layout)
    for split in SPLITS:
        needed = {"system", "history"} if split == "retain" else set()
        entry = json.loads(layout.files["dataset_info.json"])[f"my_rows_{split}"]
        assert {"system", "history"} & set(entry["columns"]) == needed
        for row in json.loads(layout.files[entry["file_name"]]):
            assert {"system", "history"} & set(row) == needed
