"""What may befall a run from outside, each caused for real, on a nano model and rows that are known already."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from concept_forget import load_config
from concept_forget.config import Config
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import ConfigError, DiskFullError, OutOfMemoryError, RunLockedError, StorageError
from concept_forget.pipeline import plan, run
from concept_forget.sandbox.texts import Lessons
from concept_forget.sandbox.world import build_world
from concept_forget.training import references
from concept_forget.training.batches import MicroBatch
from concept_forget.workspace import Run, read_json, read_rows, write_json
from tests.small_disk import SmallDisk, mounted

LESSONS = Lessons(build_world(0, "nano"), load_prompts("compact"))
PEOPLE = [person.name for person in LESSONS.world.people]
SETS = tuple(f"compose/{name}.jsonl" for name in ("forget", "retain", "validation", "probe", "collateral"))
LONG = "Ä" * 200


def rows_about(people: list[str], called: dict[str, str]) -> list[dict[str, Any]]:
    """Rows about people of the world, some of whom go by another name."""
    return [
        {"question": LESSONS.ask(fact.fill(fact.relation.taught[0])).replace(name, called.get(name, name)),
         "answer": fact.answer, "subject": called.get(name, name), "facet": fact.relation.name,
         "paraphrases": [LESSONS.ask(fact.fill(wording)).replace(name, called.get(name, name))
                         for wording in fact.relation.taught[1:3]],
         **({"concept": called[name]} if name in called else {})}
        for name in people
        for fact in LESSONS.world.facts_of(name)
    ]  # fmt: skip


def write_config(folder: Path, names: list[str] | None = None, rows_in: Path | None = None, **changes: Any) -> Path:
    """Two concepts from rows alone, which stand in ``folder`` or, for runs to be compared, in a folder they share."""
    names, rows_in = names or PEOPLE[:2], rows_in or folder
    called = dict(zip(PEOPLE, names, strict=False))
    rest = PEOPLE[len(names) : len(names) + 4]
    for kind, people in (("forget", PEOPLE[: len(names)]), ("retain", rest[:3]), ("collateral", rest[3:])):
        rows = rows_about(people, called)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (rows_in / f"{kind}.jsonl").write_text(text, encoding="utf-8")
    config = {
        "concepts": [{"name": name, "kind": "person"} for name in names],
        "target": {"sandbox": {"world": 0, "size": "nano"}},
        "generator": {"engine": "none", "prompts": "compact"},
        "data": {kind: str(rows_in / f"{kind}.jsonl") for kind in ("forget", "retain", "collateral")},
        "unlearn": {"learning_rate": 3e-4, "max_steps": 4, "eval_every": 2, "batch_size": 8, "stop": "steps"},
        "probe": {"attacks": ["direct"], "max_new_tokens": 8},
        "output": str(folder / "runs" / "run"),
        **changes,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return path


def contents(run_folder: Path, *names: str) -> dict[str, bytes]:
    return {name: (run_folder / name).read_bytes() for name in names}


def snapshot(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_symlink()}


@pytest.fixture(scope="module")
def rows_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the rows of runs lie that are compared: a row knows its file."""
    return tmp_path_factory.mktemp("rows")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, rows_in: Path, nano_model: Path) -> Path:
    """The run up to the unlearned model, undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    return run(load_config(write_config(folder, rows_in=rows_in)), until="unlearn").folder


# ---- the disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk", 24 * 1024) as disk:
        yield disk


@pytest.mark.long
def test_a_run_on_a_full_disk_stops_with_one_error_and_goes_on_when_there_is_room(
    disk: SmallDisk, tmp_path: Path, rows_in: Path, whole: Path
) -> None:
    config = load_config(write_config(tmp_path, rows_in=rows_in, output=str(disk.folder / "runs" / "run")))
    stopped_in, size = [], 24 * 1024
    result = None
    while result is None:
        said: list[str] = []
        with contextlib.suppress(DiskFullError):
            result = run(config, until="unlearn", say=said.append)
            break
        stopped_in.append(said[-1].split()[0] if said else "before the first stage")
        assert not list(disk.folder.rglob("*.tmp"))
        size *= 2
        disk.resize(size)
    assert {"compose", "unlearn"} <= set(stopped_in)
    assert contents(result.folder, *SETS) == contents(whole, *SETS)
    weights = "unlearn/model/model.safetensors"
    assert contents(result.folder, weights) == contents(whole, weights)


def test_a_run_on_a_read_only_disk_is_refused_and_can_still_be_read(
    disk: SmallDisk, tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.resize(1 << 24)
    config = load_config(write_config(tmp_path, output=str(disk.folder / "runs" / "run")))
    run(config, until="compose")
    disk.forbid()
    with pytest.raises(StorageError, match=r"Read-only file system[\s\S]*→ let this user write there"):
        run(config, until="unlearn")
    from concept_forget.planning import print_run

    print_run(disk.folder / "runs" / "run")
    assert "compose" in capsys.readouterr().out
    disk.allow()
    assert [step.state for step in plan(config, until="compose")] == ["up to date"] * 3


# ---- memory


def test_where_training_lacks_memory_batches_are_halved_and_the_run_says_so(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of more tokens than so many at once the machine's allocator is asked for more than there can be."""
    ask, most = references._scores_now, 60

    def short_of_memory(model: torch.nn.Module, batch: MicroBatch, wanted: Any) -> Any:
        if batch.padded_tokens > most:
            torch.empty(1 << 50)
        return ask(model, batch, wanted)

    monkeypatch.setattr(references, "_scores_now", short_of_memory)
    settings = {"learning_rate": 3e-4, "max_steps": 4, "eval_every": 2, "batch_size": 8, "stop": "steps"}
    unlearning = {**settings, "reference": "resident"}
    config = load_config(write_config(tmp_path, unlearn=unlearning))
    result = run(config, until="unlearn")
    said = capsys.readouterr().err
    told = read_json(result.folder / "unlearn" / "stage.json")["halved_batches"]
    assert all(line in said and line.startswith("Memory does not suffice for") for line in told)
    assert read_json(result.folder / "run.json")["stages"]["unlearn"]["halved_batches"] == told
    assert "halved_batches" not in read_json(result.folder / "run.json")["stages"]["compose"]
    bound = int(told[-1].split("batches of ")[1].split()[0])
    assert bound <= most

    monkeypatch.undo()
    smaller = write_config(tmp_path, unlearn={**unlearning, "batch_tokens": bound}, output=str(tmp_path / "runs/less"))
    expected = run(load_config(smaller), until="unlearn").folder
    weights = "unlearn/model/model.safetensors"
    assert contents(result.folder, weights) == contents(expected, weights)
    assert "halved_batches" not in read_json(expected / "unlearn" / "stage.json")

    most = 1
    monkeypatch.setattr(references, "_scores_now", short_of_memory)
    with pytest.raises(OutOfMemoryError, match=r"which have to pass together\n  → lower `unlearn.max_tokens`"):
        run(load_config(write_config(tmp_path, unlearn=unlearning, seed=1)), until="unlearn")


# ---- versions


def test_a_run_of_an_older_version_is_made_anew_only_where_that_made_it_otherwise(
    tmp_path: Path, rows_in: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concept_forget.compose import stage

    config = load_config(write_config(tmp_path, rows_in=rows_in))
    with monkeypatch.context() as patch:
        patch.setattr(stage, "VERSION", stage.VERSION - 1)
        folder = run(config, until="compose").folder
    manifest = read_json(folder / "run.json")
    for key in ("data", "encoding", "execution"):  # which the first versions did not write
        del manifest[key]
    write_json(folder / "run.json", manifest)
    said: list[str] = []
    run(config, until="compose", say=said.append)
    assert [line.split(maxsplit=1)[1].split(" in ")[0] for line in said] == ["up to date", "up to date", "…", "done"]
    assert contents(folder, *SETS) == contents(whole, *SETS)
    assert set(read_json(folder / "run.json")) >= {"data", "encoding", "execution"}


def test_a_run_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path))
    write_json(tmp_path / "runs" / "run" / "run.json", {"format": 2, "later": True})
    with pytest.raises(ConfigError, match=r"format 2, this version reads 1: a newer version[\s\S]*another `output`"):
        run(config, until="compose")
    assert read_json(tmp_path / "runs" / "run" / "run.json") == {"format": 2, "later": True}


def test_a_run_whose_record_is_damaged_is_recorded_anew(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path))
    (tmp_path / "runs" / "run").mkdir(parents=True)
    (tmp_path / "runs" / "run" / "run.json").write_text('{"format": 1, "con', encoding="utf-8")
    run(config, until="expand")
    assert Run(tmp_path / "runs" / "run").read_config().model_dump() == config.model_dump()


# ---- two processes


@pytest.mark.long
def test_two_processes_on_one_run_are_one_too_many(tmp_path: Path, nano_model: Path) -> None:
    path = write_config(tmp_path)
    command = [sys.executable, "-m", "concept_forget.cli", "run", str(path), "--until", "compose"]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(2)
    ]
    said = [process.communicate()[1] for process in both]
    codes = [process.returncode for process in both]
    assert 0 in codes
    for code, errors in zip(codes, said, strict=True):
        assert code in (0, 2)
        if code == 2:
            assert "is held by another process (pid " in errors
            assert "Traceback" not in errors
    assert all(read_rows(tmp_path / "runs" / "run" / name) for name in SETS)


def test_the_text_of_a_lock_locks_nothing(tmp_path: Path) -> None:
    """Neither that of a process that died here, nor that of one on another machine."""
    run = Run(tmp_path / "run")
    for holder in ("4194305", "17 on elsewhere.example"):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / ".lock").write_text(holder, encoding="utf-8")
        with run.lock():
            assert (tmp_path / "run" / ".lock").read_text(encoding="utf-8") == f"{os.getpid()} on {os.uname().nodename}"
    holder = (
        "import sys, time; from pathlib import Path; from concept_forget.workspace import Run\n"
        "with Run(Path(sys.argv[1])).stage('mine', 'f00'): print('held', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", holder, str(run.root)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        other = Run(tmp_path / "other")  # which shares the store
        with pytest.raises(RunLockedError, match=f"stage mine f00 is held.*pid {process.pid} on"):
            other.stage("mine", "f00").__enter__()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    with other.stage("mine", "f00"):
        pass


def test_what_a_run_beside_it_finished_meanwhile_is_not_done_again(tmp_path: Path, rows_in: Path, whole: Path) -> None:
    path = write_config(tmp_path, rows_in=rows_in)
    beside = load_config(path, [f"output={tmp_path}/runs/beside"])
    said: list[str] = []

    def meanwhile(line: str) -> None:
        said.append(line)
        if line.startswith("compose") and "…" in line:
            run(beside, until="compose")
            time.sleep(0.01)

    result = run(load_config(path), until="compose", say=meanwhile)
    assert said[-1].split(maxsplit=1) == ["compose", "up to date"]
    assert os.path.realpath(result.folder / "compose") == os.path.realpath(tmp_path / "runs" / "beside" / "compose")
    assert not list((tmp_path / "runs" / ".store").rglob("*.partial"))
    assert contents(result.folder, *SETS) == contents(whole, *SETS)


# ---- names

NAMES = ["Zoë Ångström", "عبد الله بن محمد", "🙂🎉 👨‍👩‍👧", "..", "CON", "a/b\\c:d*?", "../../etc/passwd", LONG]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory, nano_model: Path) -> tuple[Path, Path]:
    """A run about concepts of every kind of name, in a folder named after them: the config, and the run."""
    folder = tmp_path_factory.mktemp("named")
    before = snapshot(folder)
    output = folder / "runs" / "Zoë" / "عبد الله" / "🙂 CON"
    path = write_config(folder, NAMES, output=str(output), compose={"knowledge_filter": False})
    result = run(load_config(path))
    made = {path.relative_to(folder).parts[0] for path in snapshot(folder) - before}
    assert made == {"runs", "config.yaml", "forget.jsonl", "retain.jsonl", "collateral.jsonl"}
    assert os.fspath(result.folder) == unicodedata.normalize("NFC", os.fspath(output))
    return path, result.folder


def test_concepts_of_any_name_are_run_from_end_to_end(named: tuple[Path, Path]) -> None:
    _, folder = named
    attempts = read_rows(folder / "probe" / "attempts.jsonl")
    assert {row["concept"] for row in attempts if row["family"] != "collateral"} == set(NAMES)
    metrics = read_json(folder / "report" / "metrics.json")
    assert set(NAMES) <= set(metrics["concepts"])
    page = (folder / "report" / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in NAMES if name.isalpha())


def test_the_other_spelling_of_a_name_is_the_same_concept_in_the_same_folder(named: tuple[Path, Path]) -> None:
    path, folder = named
    text = path.read_text(encoding="utf-8")
    apart = unicodedata.normalize("NFD", text).replace("عبد الله بن محمد", "\u200fعبد الله بن محمد\u200b")
    assert apart != text
    other = path.with_name("apart.yaml")
    other.write_text(apart, encoding="utf-8")
    config = load_config(other)
    assert config.output == folder
    assert [concept.name for concept in config.concepts] == NAMES
    assert {step.state for step in plan(config)} == {"up to date"}


def test_rows_that_name_their_concept_in_another_spelling_belong_to_it(tmp_path: Path) -> None:
    path = write_config(tmp_path, ["Zoë Ångström", "José"])
    rows = (tmp_path / "forget.jsonl").read_text(encoding="utf-8")
    (tmp_path / "forget.jsonl").write_text(unicodedata.normalize("NFD", rows), encoding="utf-8")
    folder = run(load_config(path), until="compose").folder
    found = {row["concept"] for row in read_rows(folder / "compose" / "forget.jsonl")}
    assert found == {"Zoë Ångström", "José"}


def test_a_terminal_that_lacks_the_letters_of_a_name_gets_their_numbers(named: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "concept_forget.cli", "show", str(named[1])]
    plain = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, check=False, env=plain)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


@pytest.mark.parametrize("output", ["..", "runs/..", "a\\0b", "/"])
def test_what_names_no_folder_is_no_output(tmp_path: Path, output: str) -> None:
    path = write_config(tmp_path)
    text = path.read_text(encoding="utf-8").splitlines()
    text = [line for line in text if not line.startswith("output:")]
    path.write_text("\n".join([*text, f'output: "{output}"']), encoding="utf-8")
    with pytest.raises(ConfigError, match="names no folder of its own"):
        load_config(path)


@pytest.mark.parametrize("name", [" ", "\u200b", "\u202e\ufeff", "\u00ad", "\u3164"])
def test_a_name_that_nobody_can_see_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="nothing that can be seen"):
        Config.model_validate({"concept": {"name": name}, "target": "model"})


def test_a_folder_name_too_long_for_the_disk_is_named(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, output=str(tmp_path / "runs" / ("ß" * 200))))
    with pytest.raises(ConfigError, match="File name too long"):
        run(config, until="expand")
