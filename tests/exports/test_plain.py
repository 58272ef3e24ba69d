from __future__ import annotations

from pathlib import Path

import pytest

from concept_forget.exports.exporting import export_sets
from concept_forget.exports.finished import SPLITS, FinishedSets
from concept_forget.probe.finished_rows import read_probes
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


def test_a_probe_reads_the_run_its_sets_and_both_exports_alike(
    finished_run: Path, sets: FinishedSets, tmp_path: Path
) -> None:
    for target in ("jsonl", "parquet"):
        export_sets(finished_run, target, tmp_path / target)
    places = (finished_run, finished_run / "compose", tmp_path / "jsonl", tmp_path / "parquet")
    found = [read_probes(place) for place in places]
    for rows in found:
        assert list(rows.probe) == list(sets.rows["probe"])
        assert list(rows.collateral) == list(sets.rows["collateral"])
        assert list(rows.retain) == list(sets.rows["retain"])
    assert [rows.concepts[0].kind for rows in found] == ["person", "person", "topic", "topic"]
    assert {rows.settings for rows in found} == {sets.config.probe}
    assert found[0].mark == found[1].mark
    assert found[2].mark == found[3].mark
