from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from concept_forget.exports.exporting import export_sets
from concept_forget.exports.finished import SPLITS, FinishedSets
from concept_forget.exports.layout import MORE_THAN_A_QUESTION, split_plain


def test_each_dataset_config_loads_the_columns_that_its_handler_takes(
    finished_run: Path, sets: FinishedSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    layout = export_sets(finished_run, "open-unlearning", tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")  # paths are relative to the clone
    handlers = {}
    for file in sorted(Path("configs/data/datasets").glob("*.yaml")):
        [(name, config)] = yaml.safe_load(file.read_text(encoding="utf-8")).items()
        assert file.stem == name
        arguments: dict[str, Any] = config["args"]
        loaded = datasets.load_dataset(**arguments["hf_args"], cache_dir=str(tmp_path / "cache"))
        keys = [value for key, value in arguments.items() if key.endswith("_key")]
        assert set(keys) <= set(loaded.column_names)
        handlers[name.removeprefix("my_rows_")] = config["handler"]
        split = name.removesuffix("_alternate").rpartition("_")[2]
        plain, others = split_plain(sets.questions(split))  # type: ignore[arg-type]
        assert layout.left_out[split, MORE_THAN_A_QUESTION] == len(others)
        if "_text_" in name:
            assert list(loaded["text"]) == [row.completion for row in sets.passages(split)]  # type: ignore[arg-type]
        else:
            assert list(loaded["question"]) == [row.prompt[0]["content"] for row in plain]
            assert list(loaded["answer"]) == [row.completion for row in plain]
            assert list(loaded["alternate"]) == [row.refusal for row in plain]
    assert handlers == {
        **{f"QA_{split}": "QADataset" for split in SPLITS},
        "QA_forget_alternate": "QAwithAlternateDataset",
        "text_forget": "PretrainingDataset",
        "text_retain": "PretrainingDataset",
    }
    assert layout.left_out["retain", MORE_THAN_A_QUESTION] == 3
