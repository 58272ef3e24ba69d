from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset

from concept_forget import export, load_config, plan, run
from concept_forget.config import Config
from concept_forget.errors import ConfigError, DataError, MissingExtraError
from concept_forget.pipeline import RunResult
from concept_forget.pipeline import run as run_pipeline
from concept_forget.planning import check as check_plan
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import read_json
from tests.surface.told import columns

VERBS = ("expand", "mine", "compose", "unlearn", "probe", "report")
SAME_BYTES = (
    "expand/facts.jsonl",
    "expand/questions.jsonl",
    "mine/snippets.jsonl",
    "compose/forget.jsonl",
    "compose/retain.jsonl",
    "compose/validation.jsonl",
    "compose/probe.jsonl",
    "compose/collateral.jsonl",
    "probe/attempts.jsonl",
    "probe/membership.jsonl",
    "probe/lens.jsonl",
    "probe/memory.jsonl",
)


def write_config(folder: Path, **changes: object) -> Path:
    """The quickstart in small: world 0, size nano, and its four people."""
    config: dict[str, object] = {
        "concepts": [{"name": name, "kind": "person"} for name in build_world(0, "nano").concepts],
        "target": {"sandbox": {"world": 0, "size": "nano"}},
        "reference": {"sandbox": {"world": 0, "size": "nano"}},
        "generator": {"engine": "target", "prompts": "compact", "max_new_tokens": 48},
        "corpus": [{"sandbox": True}],
        "expand": {"paraphrases": 3, "neighbours": {"near": 8, "middle": 4, "far": 3}},
        "compose": {"collateral": {"near": 2, "middle": 2, "far": 1}, "validation_neighbours": 2},
        "unlearn": {"learning_rate": 5e-4, "max_steps": 30, "eval_every": 10, "retain_weight": 2},
        "probe": {"attacks": ["quick", "white_box"]},
        "output": str(folder / "runs" / "nano"),
        **changes,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipeline")


@pytest.fixture(scope="module")
def finished(workplace: Path, nano_model: Path, nano_reference: Path) -> RunResult:
    return run(load_config(write_config(workplace)))


def test_a_run_leaves_every_stage_the_report_and_a_record(finished: RunResult) -> None:
    assert [step.verb for step in finished.steps] == list(VERBS)
    for verb in VERBS:
        assert (finished.folder / verb / "stage.json").is_file()
        assert (finished.folder / verb).is_symlink()
    assert (finished.folder / "report" / "report.html").stat().st_size > 5000
    manifest = read_json(finished.folder / "run.json")
    assert manifest["config"]["unlearn"]["max_steps"] == 30
    assert manifest["environment"]["packages"]["torch"]
    assert manifest["stages"]["probe"]["fingerprint"] == finished.steps[4].fingerprint


def test_the_files_of_a_run_have_the_columns_that_are_written_down(finished: RunResult) -> None:
    """Where the change is meant, CONTRIBUTING.md says how it is written down."""
    written = Path(__file__).parent / "surface" / "columns.txt"
    assert columns(finished.folder).splitlines() == written.read_text(encoding="utf-8").splitlines()


def test_the_base_model_knows_and_the_reference_does_not(finished: RunResult) -> None:
    assert finished.metrics is not None
    tiers = finished.metrics["concepts"]["all concepts"]["attacks"]["direct"]["tiers"]
    assert tiers["new_form"]["base"]["rate"] > 0.8
    assert tiers["new_form"]["reference"]["rate"] < 0.2
    assert tiers["new_form"]["unlearned"]["rate"] < tiers["new_form"]["base"]["rate"]
    assert finished.outcome in ("passed", "failed", "inconclusive")


def test_scores_are_read_from_all_models_and_stand_beside_the_verdict(finished: RunResult) -> None:
    assert finished.metrics is not None
    scores = finished.metrics["white_box"]["concepts"]["all concepts"]
    areas = scores["membership"]["scores"]["loss"]
    assert areas["reference"]["auc"]["value"] + 0.2 < areas["base"]["auc"]["value"]
    for tier in ("new_form", "new_fact"):
        known = {model: scores["memory"][tier]["scores"]["probability"][model] for model in ("base", "reference")}
        assert known["base"]["low"] > known["reference"]["high"]
        assert scores["lens"][tier]["base"]["layers"][-1]["first"]["value"] > 0.8
    assert finished.metrics["white_box"]["utility"]["value"]["base"] > 0.6
    assert not any("membership" in reason or "lens" in reason for reason in finished.metrics["verdict"]["reasons"])
    page = (finished.folder / "report" / "report.html").read_text(encoding="utf-8")
    assert "extraction strength" in page


def test_the_report_of_a_run_shows_what_was_said_unless_it_is_redacted(finished: RunResult, workplace: Path) -> None:
    lines = (finished.folder / "compose" / "facts.jsonl").read_text(encoding="utf-8").splitlines()
    facts = [json.loads(line) for line in lines]
    answers = {fact["answer"].casefold() for fact in facts if fact["distance"] is None}
    output = workplace / "runs" / "redacted"
    command = [sys.executable, "-m", "concept_forget.cli", "report", str(workplace / "config.yaml"), "--redact"]
    done = subprocess.run([*command, "--set", f"output={output}"], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "probe    up to date" in done.stdout
    for name in ("report.html", "report.md"):
        plain = (finished.folder / "report" / name).read_bytes().decode().casefold()
        hidden = (output / "report" / name).read_bytes().decode().casefold()
        assert [answer for answer in answers if answer in hidden] == []
        assert name == "report.md" or all(answer in plain for answer in answers)
    page = (finished.folder / "report" / "report.html").read_text(encoding="utf-8")
    assert "the plain question" in page.casefold()  # what an attack asks, and its paper
    assert "Maini et al. 2024 (TOFU)" in page
    assert page.count('class="exchange"') > 20


def test_cost_is_counted_for_every_stage(finished: RunResult) -> None:
    assert finished.metrics is not None
    cost = finished.metrics["cost"]
    assert set(cost["seconds"]) == {"expand", "mine", "compose", "unlearn", "probe"}
    assert cost["flops"]["unlearn"] > 0
    assert 0 < cost["ratio_to_retrain"] < 10
    assert min(cost["peak_memory_bytes"].values()) > 10_000_000


def test_the_data_set_loads_as_it_is(finished: RunResult) -> None:
    data = load_dataset(str(finished.folder / "compose" / "dataset"))
    assert set(data) == {"forget", "retain", "validation", "probe", "collateral"}
    assert {"prompt", "completion", "chosen", "rejected"} <= set(data["forget"].column_names)


def test_a_run_is_exported_with_how_it_was_made(finished: RunResult, tmp_path: Path) -> None:
    export(finished.folder, "rwku", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    generator = read_json(finished.folder / "expand" / "stage.json")["models"]["generator"]
    assert f"- Hash of its weights: {generator['fingerprint']}" in card
    steps = read_json(finished.folder / "expand" / "summary.json")["steps"]
    assert all(f"| {step} | {account['requests']} |" in card for step, account in steps.items())
    asked = load_dataset(str(tmp_path / "out"), "forget_level1", cache_dir=str(tmp_path / "cache"))["test"]
    probe = (finished.folder / "compose" / "probe.jsonl").read_text(encoding="utf-8").splitlines()
    clozes = [row for row in map(json.loads, probe) if row["family"] == "cloze"]
    assert sorted(asked["query"]) == sorted(row["prompt"][0]["content"] for row in clozes)
    hashes = {row["prompt_hash"]: name for row in clozes for name in ["cloze"] if row["prompt_hash"]}
    assert all(f"| `{known}` | {name} |" in card for known, name in hashes.items())
    assert str(finished.folder.parent) not in card


def test_a_second_run_does_nothing(finished: RunResult, workplace: Path) -> None:
    lines: list[str] = []
    again = run(load_config(workplace / "config.yaml"), say=lines.append)
    assert all("up to date" in line for line in lines)
    assert again.metrics == finished.metrics


def test_a_change_makes_stale_what_depends_on_it_and_nothing_else(finished: RunResult, workplace: Path) -> None:
    changed = load_config(workplace / "config.yaml", ["probe.threshold=0.3"])
    assert [step.state for step in plan(changed)] == ["up to date"] * 4 + ["to run"] * 2
    changed = load_config(workplace / "config.yaml", ["seed=1"])
    assert {step.state for step in plan(changed)} == {"to run"}
    changed = load_config(workplace / "config.yaml", [f"output={workplace}/runs/other"])
    assert {step.state for step in plan(changed)} == {"up to date"}


def test_regrading_asks_nothing_and_changes_nothing(finished: RunResult, workplace: Path) -> None:
    before = (finished.folder / "probe" / "attempts.jsonl").read_bytes()
    grades = (finished.folder / "probe" / "grades.jsonl").read_bytes()
    result = run_pipeline(load_config(workplace / "config.yaml"), until="probe", regrade=True)
    record = read_json(result.folder / "probe" / "stage.json")
    assert record["requests"] == 0
    assert record["cached_requests"] == 0
    assert record["flops"] == 0
    assert (result.folder / "probe" / "attempts.jsonl").read_bytes() == before
    assert (result.folder / "probe" / "grades.jsonl").read_bytes() == grades


def test_regrading_with_another_grader_keeps_the_replies(finished: RunResult, workplace: Path) -> None:
    before = (finished.folder / "probe" / "attempts.jsonl").read_bytes()
    config = load_config(workplace / "config.yaml", ["probe.grader=rouge_l", f"output={workplace}/runs/nano"])
    result = run_pipeline(config, until="probe", regrade=True)
    assert (result.folder / "probe" / "attempts.jsonl").read_bytes() == before
    run(load_config(workplace / "config.yaml"))


def test_regrading_by_a_model_asks_nothing_and_leaves_all_before_it_as_it_is(
    finished: RunResult, workplace: Path
) -> None:
    before = (finished.folder / "probe" / "attempts.jsonl").read_bytes()
    changes = ["probe.grader=embedding", "probe.beside=[answer]", f"output={workplace}/runs/nano"]
    result = run_pipeline(load_config(workplace / "config.yaml", changes), until="probe", regrade=True)
    fingerprints = {step.verb: step.fingerprint for step in finished.steps}
    assert all(fingerprints[step.verb] == step.fingerprint for step in result.steps if step.verb != "probe")
    record = read_json(result.folder / "probe" / "stage.json")
    assert (record["requests"], record["cached_requests"]) == (0, 0)
    assert record["flops"] > 0  # the encoder's
    assert (result.folder / "probe" / "attempts.jsonl").read_bytes() == before
    graders = read_json(result.folder / "probe" / "measurements.json")["graders"]
    assert (graders["decides"], list(graders["rates"])) == ("embedding", ["embedding", "answer"])
    run(load_config(workplace / "config.yaml"))


def test_regrading_a_search_keeps_all_that_was_tried(finished: RunResult, workplace: Path) -> None:
    changes = ["probe.attacks=[direct,search]", "probe.search={requests: 2, population: 2}"]
    config = load_config(workplace / "config.yaml", [*changes, f"output={workplace}/runs/searched"])
    before = run_pipeline(config, until="probe").folder / "probe"
    kept = {name: (before / name).read_bytes() for name in ("attempts.jsonl", "tries.jsonl", "measurements.json")}
    assert read_json(before / "stage.json")["requests"] > 0
    after = run_pipeline(config, until="probe", regrade=True).folder / "probe"
    assert {name: (after / name).read_bytes() for name in kept} == kept
    record = read_json(after / "stage.json")
    assert (record["requests"], record["cached_requests"]) == (0, 0)
    measured = read_json(after / "measurements.json")["concepts"]["all concepts"]["attacks"]["search"]
    assert measured["tiers"]["new_form"]["any_tried"]["base"] > 0.8


def test_there_is_nothing_to_regrade_without_attempts(finished: RunResult, workplace: Path) -> None:
    config = load_config(workplace / "config.yaml", [f"output={workplace}/runs/empty"])
    with pytest.raises(ConfigError, match="no attempts to grade again"):
        run_pipeline(config, until="probe", regrade=True)


def test_a_forced_stage_comes_out_the_same(finished: RunResult, workplace: Path) -> None:
    before = {name: (finished.folder / name).read_bytes() for name in SAME_BYTES}
    result = run(load_config(workplace / "config.yaml"), force=("compose", "probe"))
    assert {name: (result.folder / name).read_bytes() for name in SAME_BYTES} == before


def test_a_model_unlearned_elsewhere_is_only_measured(
    finished: RunResult, workplace: Path, nano_reference: Path
) -> None:
    config = load_config(
        workplace / "config.yaml", [f"unlearn.given={nano_reference}", f"output={workplace}/runs/given"]
    )
    result = run(config)
    assert [step.state for step in result.steps if step.verb == "unlearn"] == ["given"]
    assert not (result.folder / "unlearn").exists()
    assert result.metrics is not None
    tier = result.metrics["concepts"]["all concepts"]["attacks"]["direct"]["tiers"]["new_form"]
    assert tier["unlearned"]["rate"] == tier["reference"]["rate"]


def test_without_a_reference_the_floor_is_strangers(finished: RunResult, workplace: Path) -> None:
    config = load_config(workplace / "config.yaml", ["reference=null", f"output={workplace}/runs/strangers"])
    result = run(config)
    assert result.metrics is not None
    tier = result.metrics["concepts"]["all concepts"]["attacks"]["direct"]["tiers"]["new_form"]
    assert tier["reference"] is None
    assert tier["floor"]["kind"] == "strangers"
    assert tier["floor"]["rate"] < tier["base"]["rate"] / 2


def test_rows_that_cannot_be_used_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"question": "Who?"}\n', encoding="utf-8")
    said: list[str] = []
    with pytest.raises(DataError, match=r"rows\.jsonl:1"):
        run_pipeline(
            load_config(write_config(tmp_path, data={"forget": str(tmp_path / "rows.jsonl")})), say=said.append
        )
    assert said == []


def test_an_engine_that_is_not_installed_is_refused_before_anything_is_taught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concept_forget.engines.opening.engine_problem", lambda engine: f"{engine} is not installed")
    generator = {"engine": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1", "prompts": "compact"}
    with pytest.raises(MissingExtraError, match="openai is not installed") as caught:
        run(load_config(write_config(tmp_path, generator=generator)))
    assert caught.value.key == "generator.engine"
    assert caught.value.file == str(tmp_path / "config.yaml")


@pytest.mark.parametrize("act", [run, check_plan], ids=["run", "validate"])
def test_a_cluster_without_ray_is_refused_with_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Config], object]
) -> None:
    monkeypatch.setattr("concept_forget.engines.opening.engine_problem", lambda engine: f"{engine} is not installed")
    with pytest.raises(MissingExtraError, match="ray is not installed") as caught:
        act(load_config(write_config(tmp_path, execution={"engine": "ray"})))
    assert caught.value.key == "execution.engine"
    assert caught.value.file == str(tmp_path / "config.yaml")
    assert "concept-forget[ray]" in caught.value.remedy


def test_an_unknown_stage_is_named(finished: RunResult, workplace: Path) -> None:
    with pytest.raises(ConfigError, match="no stage 'prob'"):
        run(load_config(workplace / "config.yaml"), until="prob")


@pytest.mark.long
def test_a_run_killed_twice_goes_on_to_the_same_bytes(finished: RunResult, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    command = [sys.executable, "-m", "concept_forget.cli", "run", str(config)]
    for pause_s in (6, 12):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
        time.sleep(pause_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, capture_output=True, env=os.environ)
    for name in SAME_BYTES:
        assert (tmp_path / "runs" / "nano" / name).read_bytes() == (finished.folder / name).read_bytes(), name
    model = (tmp_path / "runs" / "nano" / "unlearn" / "model" / "model.safetensors").read_bytes()
    assert model == (finished.folder / "unlearn" / "model" / "model.safetensors").read_bytes()


def test_attempts_hold_what_a_grade_needs(finished: RunResult) -> None:
    lines = (finished.folder / "probe" / "attempts.jsonl").read_text(encoding="utf-8").splitlines()
    attempts = [json.loads(line) for line in lines]
    grades = (finished.folder / "probe" / "grades.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["attempt"] for line in grades] == [attempt["id"] for attempt in attempts]
    assert {attempt["model"] for attempt in attempts} == {"base", "unlearned", "reference"}
