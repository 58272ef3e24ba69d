from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from concept_forget.comparison.reading import FILE, find_runs
from concept_forget.errors import ConfigError
from concept_forget.workspace import write_json


def write_run(folder: Path, *, world: int, beta: float = 0.1, finished: bool = True) -> Path:
    """As much of a run as is needed to find it."""
    config: dict[str, Any] = {"target": {"sandbox": {"world": world}}, "seed": 0, "unlearn": {"beta": beta}}
    write_json(folder / "run.json", {"format": 1, "config": {**config, "output": str(folder)}})
    if finished:
        write_json(folder / "report" / "metrics.json", {})
    return folder


def write_comparison(folder: Path, *runs: tuple[str, str], **changes: Any) -> Path:
    listed = [{"arm": arm, "repetition": repetition, "folder": f"{arm}/{repetition}"} for arm, repetition in runs]
    write_json(folder / FILE, {"format": 1, "gap": None, "runs": listed, "arms": [], **changes})
    return folder


def test_runs_that_differ_in_their_world_alone_are_one_arm(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / "a", world=0),
        write_run(tmp_path / "b", world=1),
        write_run(tmp_path / "c", world=1, beta=0.9),
    ]
    found = [(run.arm, run.repetition) for run in find_runs(folders).runs]
    assert found == [("a", "a"), ("a", "b"), ("c", "c")]


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / str(world) / "run", world=world, beta=world + 1) for world in range(2)]
    assert [run.arm for run in find_runs(folders).runs] == [folder.as_posix() for folder in folders]
    again = [write_run(tmp_path / str(world) / "same", world=world) for world in range(2)]
    assert [run.repetition for run in find_runs(again).runs] == [folder.as_posix() for folder in again]


def test_a_comparison_stands_for_its_finished_runs(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "x", ("one", "1"), ("two", "1"), gap=["one", "two"])
    write_run(folder / "one" / "1", world=0)
    found = find_runs([folder])
    assert [(run.arm, run.folder) for run in found.runs] == [("one", folder / "one" / "1")]
    assert [run.arm for run in found.unfinished] == ["two"]
    assert found.gap == ("one", "two")


def test_two_comparisons_keep_their_arms_apart(tmp_path: Path) -> None:
    folders = [write_comparison(tmp_path / name, ("one", "1"), gap=["one", "one"]) for name in "xy"]
    for folder in folders:
        write_run(folder / "one" / "1", world=0)
    found = find_runs(folders)
    assert [run.arm for run in found.runs] == ["x/one", "y/one"]
    assert found.gap is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder.mkdir(), "no run.json"),
        (lambda folder: write_run(folder, world=0, finished=False), "not finished"),
        (lambda folder: write_comparison(folder, ("one", "1")), "no run of it is finished"),
        (lambda folder: write_comparison(folder, ("one", "1"), format=9), "format 9"),
    ],
)
def test_what_cannot_be_compared_is_an_error_with_a_remedy(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path / "x")
    with pytest.raises(ConfigError, match=words) as caught:
        find_runs([tmp_path / "x"])
    assert caught.value.remedy


def test_a_file_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="not JSON"):
        find_runs([tmp_path])
