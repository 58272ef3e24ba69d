from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from concept_forget.concept import Concept
from concept_forget.exports.exporting import export_sets
from concept_forget.exports.finished import FinishedSets
from concept_forget.exports.layout import Layout
from concept_forget.exports.rwku import lay_out
from concept_forget.workspace import read_json

FOLDER = "1_Mira_Kestrel"


def test_a_concept_is_a_folder_of_the_files_that_rwku_reads(
    finished_run: Path, sets: FinishedSets, tmp_path: Path
) -> None:
    layout = export_sets(finished_run, "rwku", tmp_path / "out")
    folder = tmp_path / "out" / "Target" / FOLDER
    assert read_json(folder / "intro.json") == [{"target": "Mira Kestrel", "intro": "A cartographer."}]
    probes = read_json(folder / "forget_level2.json")
    assert [(row["query"], row["answer"]) for row in probes] == [
        (row.prompt[0]["content"], row.answer) for row in sets.rows["probe"] if row.family != "completion"
    ]
    assert {(row["level"], row["type"], row["subject"]) for row in probes} == {("2", "simple question", "Mira Kestrel")}
    neighbours = read_json(folder / "neighbor_level2.json")
    assert {(row["subject"], row["neighbor"]) for row in neighbours} == {("Mira Kestrel", "Viggo Tann")}
    pairs, refusals = read_json(folder / "pair.json"), read_json(folder / "reject.json")
    for pair, refusal, row in zip(pairs, refusals, sets.questions("forget"), strict=True):
        assert pair["prompt"] == refusal["instruction"] == row.prompt[0]["content"]
        assert pair["response"] == [row.counterfactual or row.refusal, row.completion]
        assert (refusal["input"], refusal["output"]) == ("", row.refusal)
    texts = read_json(folder / "passage.json")
    assert [row["text"] for row in texts] == [row.completion for row in sets.passages("forget")]
    assert {split for split, _ in layout.left_out} == {"retain", "validation", "probe"}
    begun = sum(row.family == "completion" for row in sets.rows["probe"])
    assert layout.left_out.total() == len(sets.rows["retain"]) + len(sets.rows["validation"]) + begun


def test_the_entries_name_the_files_that_are_trained_on(finished_run: Path, tmp_path: Path) -> None:
    export_sets(finished_run, "rwku", tmp_path / "out")
    described: dict[str, Any] = read_json(tmp_path / "out" / "dataset_info.json")
    assert set(described) == {f"{FOLDER}_{kind}" for kind in ("Passage", "Pair", "Reject")}
    for entry in described.values():
        rows = read_json(tmp_path / "out" / entry["file_name"].removeprefix("RWKU/"))
        assert set(entry["columns"].values()) <= set(rows[0])
    assert described[f"{FOLDER}_Pair"]["ranking"] is True


def test_a_form_has_its_level_and_what_a_model_wrote_its_own_file(sets: FinishedSets) -> None:
    [row, *_] = sets.rows["probe"]
    forms = {"cloze": "1", "reverse": "3", "choice": "3", "scenario": "2", "two_hop": "2"}
    probed = [dataclasses.replace(row, id=family, family=family) for family in forms]
    asked = [dataclasses.replace(r, id=f"c{r.id}", family="reverse") for r in sets.rows["collateral"]]
    written = [dataclasses.replace(r, source="generated") for r in sets.rows["forget"]]
    layout = Layout()
    changed = {**sets.rows, "probe": probed, "collateral": asked, "forget": written}
    lay_out(dataclasses.replace(sets, rows=changed), layout)
    layout.check([*probed, *asked, *written])
    found = {
        entry.path.rpartition("/")[2]: entry.rows
        for entry in layout.entries
        if entry.path.startswith(f"Target/{FOLDER}")
    }
    assert [found[f"forget_level{level}.json"] for level in "123"] == [1, 2, 2]
    assert found["positive.json"] == 2
    assert not {"passage.json", "neighbor_level1.json", "neighbor_level2.json"} & set(found)
    assert layout.left_out["collateral", "RWKU asks about neighbours at levels 1 and 2 only"] == len(asked)


@pytest.mark.parametrize("letter", ["字", "𠀀", "é"])
def test_a_name_too_long_for_a_folder_is_cut_between_letters(sets: FinishedSets, tmp_path: Path, letter: str) -> None:
    concept = Concept(name=letter * 200, kind="person")
    layout = Layout()
    lay_out(dataclasses.replace(sets, config=sets.config.model_copy(update={"concepts": [concept]})), layout)
    [path] = [path for path in layout.files if path.endswith("intro.json")]
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(layout.files[path])
    assert set(Path(path).parent.name) == {"1", "_", letter}
    assert 190 < len(Path(path).parent.name.encode()) < 210
