"""Rounds from end to end, on the nano model of the sandbox."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from concept_forget import export, load_config, run
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import ConfigError
from concept_forget.pipeline import VERBS, RunResult
from concept_forget.pipeline import run as run_pipeline
from concept_forget.planning import check
from concept_forget.records import Attempt, Example
from concept_forget.rounds.running import plan_rounds, run_rounds
from concept_forget.sandbox.texts import Lessons
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import read_json, read_records

LESSONS = Lessons(build_world(0, "nano"), load_prompts("compact"))
PEOPLE = [person.name for person in LESSONS.world.people]
SAME_BYTES = ("compose/forget.jsonl", "compose/retain.jsonl", "compose/probe.jsonl", "probe/attempts.jsonl",
              "probe/measurements.json", "probe/previous.json")  # fmt: skip


def rows_about(people: list[str]) -> list[dict[str, Any]]:
    return [
        {"question": LESSONS.ask(fact.fill(fact.relation.taught[0])), "answer": fact.answer, "subject": name,
         "paraphrases": [LESSONS.ask(fact.fill(wording)) for wording in fact.relation.taught[1:4]],
         "facet": fact.relation.name, "concept": name if name in PEOPLE[:4] else PEOPLE[0]}
        for name in people
        for fact in LESSONS.world.facts_of(name)
    ]  # fmt: skip


def write_config(folder: Path, **changes: Any) -> Path:
    """Four people, from rows alone, of which the first round is given far too few."""
    for kind, people in (("forget", PEOPLE[:4]), ("retain", PEOPLE[4:10]), ("collateral", PEOPLE[10:12])):
        text = "".join(json.dumps(row) + "\n" for row in rows_about(people))
        (folder / f"{kind}.jsonl").write_text(text, encoding="utf-8")
    config = {
        "concepts": [{"name": name, "kind": "person"} for name in PEOPLE[:4]],
        "target": {"sandbox": {"world": 0, "size": "nano"}},
        "generator": {"engine": "none", "prompts": "compact"},
        "data": {kind: str(folder / f"{kind}.jsonl") for kind in ("forget", "retain", "collateral")},
        "compose": {"forget_tokens": 60},
        "unlearn": {"learning_rate": 3e-4, "max_steps": 10, "eval_every": 10, "batch_size": 8, "stop": "steps"},
        "probe": {"attacks": ["direct", "paraphrase"], "max_new_tokens": 16, "gate_tiers": ["new_form", "new_fact"]},
        "rounds": 2,
        "output": str(folder / "runs" / "loop"),
        **changes,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "concept_forget.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rounds")


@pytest.fixture(scope="module")
def looped(workplace: Path, nano_model: Path) -> RunResult:
    return run(load_config(write_config(workplace)))


def rows(folder: Path, split: str) -> list[Example]:
    return read_records(Example, folder / "compose" / f"{split}.jsonl")


def test_what_leaked_is_trained_on_and_fresh_facts_and_forms_are_asked(looped: RunResult) -> None:
    first, second = (looped.folder / f"round-{number}" for number in (1, 2))
    leaked = read_json(second / "compose" / "summary.json")["round"]
    assert leaked["facts_released"] > 0
    known = {row.id for row in rows(first, "forget")}
    forget = {row.id for row in rows(second, "forget")}
    assert known < forget
    assert forget & {row.id for row in rows(first, "probe")}
    asked = [{row.id for row in rows(folder, "probe")} for folder in (first, second)]
    assert all(asked)
    assert not asked[0] & asked[1]
    assert not asked[1] & forget
    for split in ("validation", "collateral"):
        assert rows(first, split) == rows(second, split)


def test_the_second_round_goes_on_from_the_first_and_both_are_asked_the_same(looped: RunResult) -> None:
    first, second = (looped.folder / f"round-{number}" for number in (1, 2))
    models = read_json(second / "unlearn" / "stage.json")["models"]
    assert models["previous"]["path"].startswith(str((first / "unlearn").resolve()))
    assert models["base"]["path"] != models["previous"]["path"]
    attempts = read_records(Attempt, second / "probe" / "attempts.jsonl")
    asked = {
        model: [attempt.example for attempt in attempts if attempt.model == model and attempt.attack != "collateral"]
        for model in ("base", "previous", "unlearned")
    }
    assert asked["previous"] == asked["unlearned"] == asked["base"] != []
    assert not (first / "probe" / "previous.json").exists()


def test_the_last_rounds_metrics_tell_all_rounds(looped: RunResult) -> None:
    assert looped.metrics is not None
    assert [told["number"] for told in looped.metrics["rounds"]] == [1, 2]
    first, last = looped.metrics["rounds"]
    assert first == read_json(looped.folder / "round-1" / "report" / "metrics.json")["rounds"][0]
    assert first["before"] is None
    assert last["before"] is not None
    assert last["residual"] == looped.metrics["concepts"]["all concepts"]["residual"]
    assert last["residual"]["value"] < last["before"]["value"], "the round forgot what it was given"
    assert set(last["attacks"]) == {"direct", "paraphrase"}
    assert set(last["attacks"]["direct"]) == {"new_form", "new_fact"}
    assert last["forget_rows"] == len(rows(looped.folder, "forget"))
    assert last["forget_rows"] - last["added_rows"] == first["forget_rows"]
    told = read_json(looped.folder / "rounds.json")
    assert (told["rounds"], told["at_most"]) == (2, 2)
    assert told["stopped"]


def test_the_runs_folder_is_a_run_like_any_other(looped: RunResult, workplace: Path) -> None:
    for verb in VERBS:
        link = looped.folder / verb
        assert link.is_symlink()
        assert not Path(os.readlink(link)).is_absolute()
        assert link.resolve() == (looped.folder / "round-2" / verb).resolve()
    assert read_json(looped.folder / "run.json")["config"]["output"] == str(looped.folder)
    shown = call("show", "runs/loop", cwd=workplace)
    assert shown.returncode == 0, shown.stderr
    for words in (
        "round by round",
        "round 1",
        "round 2",
        "left, worst attack",
        "before it",
        "of them since they leaked",
    ):
        assert words in shown.stdout
    out = export(looped.folder, "jsonl", workplace / "sets")
    exported = [json.loads(line) for line in (out / "forget.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(exported) == len(rows(looped.folder, "forget"))
    page = (looped.folder / "report" / "report.html").read_text(encoding="utf-8")
    assert "Round by round" in page
    assert page.count('<th scope="col">round ') == 2
    assert not re.findall(r"(?:src=|href=[\"'](?!#))|@import|url\(", page)


def test_the_same_command_finds_all_done(looped: RunResult, workplace: Path) -> None:
    lines: list[str] = []
    again = run(load_config(workplace / "config.yaml"), say=lines.append)
    assert again.metrics == looped.metrics
    assert [line for line in lines if line.startswith("  ") and "up to date" not in line] == []
    plans = list(plan_rounds(load_config(workplace / "config.yaml")))
    assert [[step.state for step in steps] for steps in plans] == [["up to date"] * 6] * 2
    planned = call("validate", "config.yaml", cwd=workplace)
    assert planned.returncode == 0, planned.stderr
    for words in ("1 of 2 at most: nothing to run", "2 of 2 at most: nothing to run", "the config is valid"):
        assert words in planned.stdout


def test_a_plan_writes_nothing_and_counts_what_one_round_asks(workplace: Path, looped: RunResult) -> None:
    elsewhere = f"output={workplace / 'elsewhere' / 'loop'}"
    loop, alone = (check(load_config(workplace / "config.yaml", [elsewhere, *more])) for more in ([], ["rounds=1"]))
    assert loop["rounds"] == ["1 of 2 at most: expand, mine, compose, unlearn, probe, report to run"]
    assert alone["rounds"] == []
    assert not (workplace / "elsewhere").exists()
    facts = [int(found["power"][0].split()[1]) for found in (loop, alone)]
    assert facts[0] == facts[1] // 2 > 0


@pytest.mark.long
def test_a_killed_run_goes_on_to_the_same_bytes(looped: RunResult, workplace: Path) -> None:
    killed = workplace / "killed"
    shutil.copytree(workplace / "runs", killed, symlinks=True)
    for verb in ("compose", "unlearn", "probe", "report"):  # of the second round nothing is done yet
        shutil.rmtree(killed / ".store" / verb / (looped.folder / "round-2" / verb).resolve().name)
    shutil.rmtree(killed / "loop" / "round-2")
    command = [sys.executable, "-m", "concept_forget.cli", "run", "config.yaml", "--set", "output=killed/loop"]
    process = subprocess.Popen(command, cwd=workplace, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (killed / "loop" / "round-2" / "compose").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)  # while the second round unlearns
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "loop" / "round-2" / "report").exists()
    lines: list[str] = []
    again = run(load_config(workplace / "config.yaml", [f"output={killed / 'loop'}"]), say=lines.append)
    assert [line.split()[0] for line in lines if line.endswith("…")] == ["unlearn", "probe", "report"]
    assert again.metrics is not None
    assert looped.metrics is not None
    assert again.metrics["rounds"] == looped.metrics["rounds"]
    for name in SAME_BYTES:
        assert (killed / "loop" / name).read_bytes() == (looped.folder / name).read_bytes(), name


def test_one_round_is_a_run_as_ever(looped: RunResult, workplace: Path) -> None:
    config = load_config(workplace / "config.yaml", ["rounds=1", f"output={workplace / 'runs' / 'alone'}"])
    composed = run_pipeline(config, until="compose")
    summary = read_json(composed.folder / "compose" / "summary.json")
    assert "round" not in summary
    assert "rounds" not in summary["walls"]
    parts = [{row.id for row in rows(looped.folder / f"round-{number}", "probe")} for number in (1, 2)]
    assert {row.id for row in rows(composed.folder, "probe")} == parts[0] | parts[1]
    assert rows(composed.folder, "forget") == rows(looped.folder / "round-1", "forget")


def test_what_is_for_a_single_run_is_refused(workplace: Path, looped: RunResult) -> None:
    done = call("run", "config.yaml", "--until", "compose", cwd=workplace)
    assert done.returncode == 2
    for words in ("config.yaml:", "several runs, not one", "→"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(ConfigError, match="several runs, not one"):
        run_pipeline(load_config(workplace / "config.yaml"))
    with pytest.raises(ConfigError, match="one round alone"):
        run_rounds(load_config(workplace / "config.yaml", ["rounds=1"]))


def test_several_processes_are_refused(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(write_config(workplace))
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"run in one process, and there are 2\n.*--num_processes 1"):
        run_rounds(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("compose.holdout=0", "need a `compose.holdout` above 0"),
        ("unlearn.method=rl", "which `unlearn.method: rl` does not"),
        ("unlearn.method=in_context", "which `unlearn.method: in_context` does not"),
        ("unlearn.given=a-model", "`unlearn.given` names another model"),
        ("unlearn.continue=runs/other", "`unlearn.continue` names another model"),
        ("compare={arms: {a: {}}}", "do not go together"),
        ("rounds=0", "greater than or equal to 1"),
    ],
)
def test_settings_that_rounds_cannot_do_with_are_refused(workplace: Path, change: str, message: str) -> None:
    changes = [change, *(["compose.forget_tokens=null"] if "holdout" in change else [])]
    with pytest.raises(ConfigError, match=message):
        load_config(write_config(workplace), changes)


def test_an_adapter_turned_off_is_no_reference_for_a_later_round(workplace: Path) -> None:
    with pytest.raises(ConfigError, match="`auto`, `stored` or `resident`"):
        load_config(write_config(workplace), ["unlearn.adapter=lora", "unlearn.reference=adapter_off"])
