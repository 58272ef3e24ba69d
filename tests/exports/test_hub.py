from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from concept_forget.errors import UserError
from concept_forget.exports.finished import FinishedSets
from concept_forget.exports.hub import check_hub

READ = """
import datasets, json
from datasets import load_dataset
asked = load_dataset("tester/mira", "prompt-completion", split="forget")
print(json.dumps({"names": sorted(datasets.get_dataset_config_names("tester/mira")), "rows": list(asked)}))
"""


@pytest.fixture(scope="module")
def loopback_hub() -> ModuleType:
    import importlib.util

    place = Path(__file__).with_name("loopback_hub.py")
    spec = importlib.util.spec_from_file_location("loopback_hub", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hub(loopback_hub: ModuleType) -> Iterator[Any]:
    opened = loopback_hub.Hub()
    yield opened
    opened.close()


def python(hub: Any, home: Path, *arguments: str, token: str = "hf_loopback") -> subprocess.CompletedProcess[str]:
    """Run in a process of its own: the hub's client reads its address when it is imported."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(home / "home"),
        "HF_TOKEN": token,
    }
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)


def export(hub: Any, run: Path, place: Path, *more: str, token: str = "hf_loopback") -> Any:
    command = ["export", str(run), "--to", "trl", "--out", str(place / "out"), "--push-to-hub", "mira", *more]
    return python(hub, place, "-m", "concept_forget.cli", *command, token=token)


def test_what_is_pushed_is_private_has_its_card_and_is_read_back_by_datasets(
    hub: Any, finished_run: Path, sets: FinishedSets, tmp_path: Path
) -> None:
    import json

    done = export(hub, finished_run, tmp_path, "--license", "cc-by-4.0")
    assert done.returncode == 0, done.stderr
    assert "pushed   to the dataset mira, which is private" in done.stdout
    assert hub.private == {"tester/mira": True}
    card = hub.files["tester/mira"]["README.md"].decode()
    assert "license: cc-by-4.0" in card
    assert "config_name: preference" in card
    assert "Here on the hub, every table is Parquet" in card
    assert "## Walls" in card
    read = python(hub, tmp_path, "-c", READ)
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout)
    assert found["names"] == ["language-modeling", "preference", "prompt-completion"]
    assert [row["completion"][0]["content"] for row in found["rows"]] == [
        row.completion for row in sets.questions("forget")
    ]
    assert (tmp_path / "out" / "README.md").is_file()


def test_what_everybody_could_see_is_not_pushed_to_unless_that_is_wanted(
    hub: Any, finished_run: Path, tmp_path: Path
) -> None:
    hub.create("tester/mira", private=False)
    done = export(hub, finished_run, tmp_path)
    assert done.returncode == 2, done.stderr
    assert "everybody can see it" in done.stderr
    assert "Traceback" not in done.stderr
    assert hub.files == {"tester/mira": {}}
    assert not (tmp_path / "out").exists()


def test_a_token_that_the_hub_does_not_know_is_refused_before_anything_is_written(
    hub: Any, finished_run: Path, tmp_path: Path
) -> None:
    done = export(hub, finished_run, tmp_path, token="hf_wrong")
    assert done.returncode == 2, done.stderr
    assert "cannot be written on the hub (401)" in done.stderr
    assert "hf_wrong" not in done.stdout + done.stderr, "though the hub says it"
    assert "Traceback" not in done.stderr
    assert hub.files == {}
    assert not (tmp_path / "out").exists()


def test_a_hub_that_is_switched_off_or_a_wrong_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="switched off") as caught:
        check_hub("tester/mira", public=False)
    assert caught.value.remedy == "unset HF_HUB_OFFLINE"
    with pytest.raises(UserError, match="no name of a dataset"):
        check_hub("tester/mira/more", public=False)


def test_without_a_token_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="no token for the hub") as caught:
        check_hub("tester/mira", public=False)
    assert "HF_TOKEN" in caught.value.remedy
