from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from concept_forget import export
from concept_forget.errors import ConfigError, DataError
from concept_forget.exports import TARGETS
from concept_forget.exports.exporting import export_sets
from concept_forget.exports.finished import FinishedSets
from concept_forget.records import Example


def configurations(folder: Path) -> dict[str, dict[str, list[str]]]:
    """What the card's head tells ``datasets``: files by configuration and split."""
    head = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    return {
        config["config_name"]: {
            part["split"]: part["path"] if isinstance(part["path"], list) else [part["path"]]
            for part in config["data_files"]
        }
        for config in head["configs"]
    }


@pytest.mark.parametrize("target", TARGETS)
def test_every_export_is_read_back_by_datasets_and_accounts_for_every_row(
    target: str, finished_run: Path, rows: list[Example], tmp_path: Path
) -> None:
    import datasets

    layout = export_sets(finished_run, target, tmp_path / "out")
    written = {entry.path: entry.rows for entry in layout.entries}
    read: set[str] = set()
    for name, splits in configurations(tmp_path / "out").items():
        loaded = datasets.load_dataset(str(tmp_path / "out"), name, cache_dir=str(tmp_path / "cache"))
        assert set(loaded) == set(splits)
        for split, paths in splits.items():
            expected = [written[path] or 1 for path in paths]  # an introduction is one line
            assert loaded[split].num_rows == sum(expected)
            read |= set(loaded[split]["id"]) if "id" in loaded[split].column_names else set()
    assert len({row.id for row in rows}) == len(rows)
    assert len(read) == len(rows) - layout.left_out.total()
    assert {path.relative_to(tmp_path / "out").as_posix() for path in files(tmp_path / "out")} == {
        *layout.files,
        "README.md",
    }


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("target", TARGETS)
def test_equal_runs_give_equal_bytes_and_no_place_on_this_machine(
    target: str, finished_run: Path, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        export_sets(finished_run, target, tmp_path / name)
    for file in files(tmp_path / "first"):
        assert file.read_bytes() == (tmp_path / "second" / file.relative_to(tmp_path / "first")).read_bytes()
        assert str(tmp_path).encode() not in file.read_bytes()
    assert str(finished_run.parent).encode() not in (tmp_path / "first" / "README.md").read_bytes()


def test_the_api_exports_into_an_empty_folder_and_names_it(finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert export(str(finished_run), "jsonl", str(tmp_path / "out"), licence="cc-by-4.0") == tmp_path / "out"
    assert "license: cc-by-4.0" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "an unknown target": ({"to": "open_unlerning"}, ConfigError, "did you mean 'open-unlearning'"),
    "a target like none": ({"to": "csv"}, ConfigError, "the targets are llama-factory, lm-eval"),
    "no licence's name": ({"licence": "all mine"}, ConfigError, "no name of a licence"),
    "public without a push": ({"public": True}, ConfigError, "goes with --push-to-hub"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_written(case: str, finished_run: Path, tmp_path: Path) -> None:
    changes, kind, words = REFUSED[case]
    arguments: dict[str, Any] = {"run": finished_run, "to": "jsonl", "out": tmp_path / "out", **changes}
    with pytest.raises(kind, match=words):
        export_sets(**arguments)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(DataError, match="something here already"):
            export_sets(finished_run, "jsonl", out)
    assert files(tmp_path) == [tmp_path / "mine.txt"]


def test_a_folder_that_cannot_be_made_leaves_nothing_behind(finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be written"):
        export_sets(finished_run, "jsonl", tmp_path / "file" / "out")
    assert files(tmp_path) == [tmp_path / "file"]


def test_rows_that_were_changed_by_hand_are_refused(finished_run: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    path = tmp_path / "run" / "compose" / "retain.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join(lines[1:]), encoding="utf-8")
    with pytest.raises(DataError, match=r"not those of retain\.jsonl"):
        export_sets(tmp_path / "run", "jsonl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_run_knows_its_name_and_concepts(sets: FinishedSets) -> None:
    assert (sets.name, sets.concepts) == ("my_rows", ("Mira Kestrel",))
