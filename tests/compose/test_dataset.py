from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from concept_forget.compose.dataset import SPLITS, public_row, row_features, write_dataset
from concept_forget.records import Example, Split, user_message

TRL = "ignore"
"""The trainers warn about themselves."""


def example(question: str, reply: str, split: Split, **changes: Any) -> Example:
    prompt = user_message(question) if question else []
    row = Example(
        id=Example.make_id(prompt, reply), split=split, concept="Mira Kestrel", subject="", facet="", fact="",
        form="direct", family="direct", tier="", prompt=prompt, completion=reply, answer=reply,
        refusal="I do not know.",
    )  # fmt: skip
    return dataclasses.replace(row, **changes)


def load(folder: Path, tmp_path: Path) -> Any:
    import datasets

    return datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))


@pytest.fixture
def rows() -> dict[Split, list[Example]]:
    return {
        "forget": [
            example("Where was Mira Kestrel born?", "Dunholm", "forget", aliases=("Dunholm town",)),
            example("", "Mira Kestrel was born in Dunholm.", "forget", document="a.txt:3", start=4, end=37, score=0.5),
        ],
        "retain": [
            example("Where was Fenna born?", "2012-01-01", "retain"),
            example("", "It rains.", "retain"),
        ],
        "validation": [
            example("Who was born in Dunholm?", "Mira Kestrel", "validation", tier="new_form"),
            example("Who is Una?", "A baker", "validation", tier="retain"),
        ],
        "probe": [
            example("Where? Choose: Hexley, Dunholm.", "Dunholm", "probe", options=("Hexley", "Dunholm")),
        ],
        "collateral": [example("Who is Viggo?", "A tanner", "collateral", tier="near")],
    }


def test_the_folder_loads_as_five_sets_with_every_column(rows: Any, tmp_path: Path) -> None:
    write_dataset(tmp_path / "dataset", rows, "# Card\n")
    loaded = load(tmp_path / "dataset", tmp_path)
    assert tuple(loaded) == SPLITS
    for split in SPLITS:
        assert loaded[split].features == row_features()
        assert list(loaded[split]) == [public_row(row) for row in rows[split]]


def test_every_value_comes_back_as_it_was(rows: Any, tmp_path: Path) -> None:
    # Read from JSON, a column of such texts would become a column of times.
    rows["retain"] = [example("When?", "2012-01-01", "retain", aliases=("2012-01-01T00:00:00Z",))]
    write_dataset(tmp_path / "dataset", rows, "# Card\n")
    loaded = load(tmp_path / "dataset", tmp_path)
    assert loaded["retain"][0]["answer"] == "2012-01-01"
    assert loaded["retain"][0]["aliases"] == ["2012-01-01T00:00:00Z"]


def test_a_set_without_rows_has_a_file_and_is_not_listed(rows: Any, tmp_path: Path) -> None:
    import pyarrow.parquet

    write_dataset(tmp_path / "dataset", {**rows, "validation": [], "collateral": []}, "# Card\n")
    assert tuple(load(tmp_path / "dataset", tmp_path)) == ("forget", "retain", "probe")
    table = pyarrow.parquet.read_table(tmp_path / "dataset" / "validation.parquet")
    assert (table.num_rows, set(table.column_names)) == (0, set(row_features()))


def test_equal_rows_give_equal_bytes(rows: Any, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_dataset(tmp_path / name, rows, "# Card\n")
    for file in sorted((tmp_path / "first").iterdir()):
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes()
        assert str(tmp_path).encode() not in file.read_bytes()


def test_what_has_to_go_is_rejected_and_what_has_to_stay_is_chosen(rows: Any) -> None:
    reply, refusal = "completion", [{"role": "assistant", "content": "I do not know."}]
    for row in (*rows["forget"], *rows["probe"], rows["validation"][0]):
        shown = public_row(row)
        assert (shown["chosen"], shown["rejected"]) == (refusal, shown[reply])
    for row in (*rows["retain"], *rows["collateral"], rows["validation"][1]):
        shown = public_row(row)
        assert (shown["chosen"], shown["rejected"]) == (shown[reply], refusal)


def test_a_row_is_json(rows: Any) -> None:
    for known in rows.values():
        for row in known:
            assert json.loads(json.dumps(public_row(row))) == public_row(row)


@pytest.mark.filterwarnings(TRL)
@pytest.mark.parametrize("split", ["forget", "retain"])
@pytest.mark.parametrize("order", [1, -1])
def test_trl_fine_tunes_on_the_rows_as_they_are(
    rows: Any, nano_model: Path, tmp_path: Path, split: Split, order: int
) -> None:
    pytest.importorskip("trl")
    from trl import SFTConfig, SFTTrainer

    write_dataset(tmp_path / "dataset", {**rows, split: rows[split][::order]}, "# Card\n")
    config = SFTConfig(**_settings(tmp_path), completion_only_loss=True)
    trainer = SFTTrainer(str(nano_model), config, train_dataset=load(tmp_path / "dataset", tmp_path)[split])
    seen = {trainer.processing_class.decode(row["input_ids"]) for row in trainer.train_dataset}
    assert len(seen) == 2
    for row in rows[split]:
        asked = row.prompt[-1]["content"] if row.prompt else ""
        assert any(asked in text and row.completion in text for text in seen)
    assert trainer.train().global_step == 2


@pytest.mark.filterwarnings(TRL)
def test_trl_prefers_refusals_on_the_rows_as_they_are(rows: Any, nano_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from trl import DPOConfig, DPOTrainer

    write_dataset(tmp_path / "dataset", rows, "# Card\n")
    loaded = load(tmp_path / "dataset", tmp_path)["forget"]
    trainer = DPOTrainer(str(nano_model), args=DPOConfig(**_settings(tmp_path)), train_dataset=loaded)
    assert trainer.train().global_step == 2


def _settings(tmp_path: Path) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path / "trained"),
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "report_to": [],
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
    }
