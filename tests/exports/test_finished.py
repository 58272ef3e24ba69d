from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from concept_forget.errors import ConfigError
from concept_forget.exports.finished import SPLITS, FinishedSets, read_finished
from concept_forget.workspace import read_json, write_json


def test_questions_and_passages_are_all_rows(sets: FinishedSets) -> None:
    for split in SPLITS:
        assert len(sets.questions(split)) + len(sets.passages(split)) == len(sets.rows[split])
    assert len(sets.all_rows) == sum(len(sets.rows[split]) for split in SPLITS)
    assert sets.passages("forget")
    assert sets.generator is None


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match=r"there is no run\.json here"):
            read_finished(folder)


def test_a_run_without_sets_is_refused(finished_run: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "compose")
    with pytest.raises(ConfigError, match="the stage compose is missing") as caught:
        read_finished(tmp_path / "run")
    assert "concept-forget compose" in caught.value.remedy


def test_a_run_of_another_version_is_refused(finished_run: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    manifest = read_json(tmp_path / "run" / "run.json")
    manifest["config"]["expand"]["a_setting_of_later"] = 1
    write_json(tmp_path / "run" / "run.json", manifest)
    with pytest.raises(ConfigError, match="not one of this version"):
        read_finished(tmp_path / "run")


def test_the_generator_is_the_one_that_the_stage_used(finished_run: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    path = tmp_path / "run" / "expand" / "stage.json"
    stage = read_json(path)
    stage["models"]["generator"] = {"path": "m", "revision": "main", "fingerprint": "ab"}
    path.write_text(json.dumps(stage), encoding="utf-8")
    found = read_finished(tmp_path / "run").generator
    assert found is not None
    assert (found.revision, found.fingerprint) == ("main", "ab")
