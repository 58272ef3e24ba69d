from __future__ import annotations

import dataclasses
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from concept_forget import compare, load_config, run
from concept_forget.comparison.running import PAGE, Comparison, compare_finished
from concept_forget.comparison.table import print_comparison
from concept_forget.errors import ConfigError
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import read_json

SAME_FOR_ALL = ("retain", "validation", "probe", "collateral")


def write_config(folder: Path, **changes: Any) -> Path:
    """Two arms on the nano world, as short as they can be."""
    config = {
        "concepts": [{"name": name, "kind": "person"} for name in build_world(0, "nano").concepts],
        "target": {"sandbox": {"world": 0, "size": "nano"}},
        "reference": {"sandbox": {"world": 0, "size": "nano"}},
        "generator": {"engine": "target", "prompts": "compact", "max_new_tokens": 48},
        "corpus": [{"sandbox": True}],
        "expand": {"paraphrases": 3, "neighbours": {"near": 8, "middle": 4, "far": 3}},
        "compose": {
            "collateral": {"near": 2, "middle": 2, "far": 1}, "validation_neighbours": 2, "forget_tokens": 150,
        },
        "unlearn": {"learning_rate": 5e-4, "max_steps": 10, "eval_every": 10, "retain_weight": 2},
        "probe": {"attacks": ["direct", "cloze"]},
        "compare": {
            "worlds": [0],
            "arms": {"oracle": {"compose.forget_from": "oracle"}, "name-only": {"compose.forget_from": "templates"}},
            "gap": ["name-only", "oracle"],
        },
        "output": str(folder / "runs" / "data"),
        **changes,
    }  # fmt: skip
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "concept_forget.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("comparison")


@pytest.fixture(scope="module")
def compared(workplace: Path, nano_model: Path, nano_reference: Path) -> Comparison:
    return compare(load_config(write_config(workplace)))


def test_arms_share_what_they_have_in_common_and_are_asked_the_same(compared: Comparison, workplace: Path) -> None:
    runs = [workplace / "runs" / "data" / arm / "world-0" for arm in ("oracle", "name-only")]
    for verb, shared in (("expand", True), ("mine", True), ("compose", False), ("unlearn", False), ("probe", False)):
        folders = {(run / verb).resolve() for run in runs}
        assert (len(folders) == 1) == shared, verb
        assert all(folder.is_relative_to((workplace / "runs" / ".store").resolve()) for folder in folders)
    for name in SAME_FOR_ALL:
        assert len({(run / "compose" / f"{name}.jsonl").read_bytes() for run in runs}) == 1, name
    assert len({(run / "compose" / "forget.jsonl").read_bytes() for run in runs}) == 2


def test_a_comparison_says_what_a_single_run_says_of_the_same_facts(compared: Comparison, workplace: Path) -> None:
    assert [arm.name for arm in compared.arms] == ["oracle", "name-only"]
    for arm in compared.arms:
        folder = workplace / "runs" / "data" / arm.name / "world-0"
        metrics = read_json(folder / "report" / "metrics.json")
        attacks = metrics["concepts"]["all concepts"]["attacks"]
        for tier, found in arm.tiers.items():
            assert list(found.attacks) == ["direct", "cloze"]
            for attack, pooled in found.attacks.items():
                single = attacks[attack]["tiers"][tier]["residual"]
                assert (pooled is None) == (single is None)
                if pooled is not None:
                    assert pooled.over_facts.value == pytest.approx(single["value"])
                    assert pooled.over_facts.low == pytest.approx(single["low"], abs=1e-6)
                    assert pooled.over_facts.high == pytest.approx(single["high"], abs=1e-6)
        near, single = arm.kept["near"], metrics["collateral"]["near"]["kept"]
        assert (near is None) == (single is None)
        if near is not None:
            assert near.over_facts.value == pytest.approx(single["value"])
        told = read_json(folder / "compose" / "summary.json")["forget_set"]
        assert arm.forget_tokens == told["tokens"] <= 150
        assert arm.seconds == pytest.approx(metrics["cost"]["seconds"]["unlearn"])
        assert sum(arm.outcomes.values()) == 1


def test_it_leaves_a_file_and_a_page_that_needs_nothing_else(compared: Comparison, workplace: Path) -> None:
    content = read_json(workplace / "runs" / "data" / "comparison.json")
    assert [arm["name"] for arm in content["arms"]] == ["oracle", "name-only"]
    assert content["gap"] == ["name-only", "oracle"]
    page = (workplace / "runs" / "data" / PAGE).read_text(encoding="utf-8")
    assert "<svg" in page
    assert page.count("<circle") == sum(arm.kept["near"] is not None for arm in compared.arms) > 0
    assert not re.findall(r"(?:src=|href=[\"'](?!#))|@import|url\(", page)
    for words in ("oracle", "name-only", "gap closed", "do not cover seeds and worlds"):
        assert words in page


def test_the_same_command_goes_on_where_it_stopped(compared: Comparison, workplace: Path) -> None:
    before = read_json(workplace / "runs" / "data" / "comparison.json")
    config = load_config(workplace / "config.yaml")
    lines: list[str] = []
    assert compare(config, say=lines.append) == compared
    assert all("up to date" in line for line in lines if line.startswith("  "))
    # as a kill after the first arm would leave it: the second has no report, and the plan no result
    (workplace / "runs" / "data" / "name-only" / "world-0" / "report").unlink()
    half = compare_finished([workplace / "runs" / "data"])
    assert [arm.name for arm in half.arms] == ["oracle"]
    assert [run.arm for run in half.unfinished] == ["name-only"]
    assert compare(config) == compared
    assert read_json(workplace / "runs" / "data" / "comparison.json") == before


def test_runs_given_one_by_one_are_the_arms_that_they_are(compared: Comparison, workplace: Path) -> None:
    root = workplace / "runs" / "data"
    alone = compare_finished([root / "name-only" / "world-0", root / "oracle" / "world-0"])
    assert [arm.name for arm in alone.arms] == ["name-only", "oracle"]
    assert {arm.name: arm.tiers for arm in alone.arms} == {arm.name: arm.tiers for arm in compared.arms}
    assert alone.gap is None
    twice = compare_finished([root, root / "oracle" / "world-0"])
    assert [(arm.name, arm.worlds) for arm in twice.arms] == [("oracle", ("world-0",)), ("name-only", ("world-0",))]


def test_the_table_says_what_its_intervals_cover(compared: Comparison) -> None:
    console = Console(file=io.StringIO(), width=200)
    print_comparison(compared.arms, compared.gap, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    for words in ("oracle", "name-only", "forget tokens", "near kept", "do not cover seeds and worlds", "gap "):
        assert words in text


def test_brackets_in_the_name_of_an_arm_are_shown_as_they_are(compared: Comparison) -> None:
    console = Console(file=io.StringIO(), width=200)
    arms = [dataclasses.replace(arm, name=f"[red]{arm.name}") for arm in compared.arms]
    print_comparison(arms, (arms[0].name, arms[1].name), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert text.count("[red]oracle") == text.count("oracle") >= 2


def test_the_command_line_plans_prints_and_draws(compared: Comparison, workplace: Path) -> None:
    planned = call("validate", "config.yaml", cwd=workplace)
    assert planned.returncode == 0, planned.stderr
    for words in ("name-only", "compose  2 for 2 runs, 0 to run", "expand   1 for 2 runs", "the config is valid"):
        assert words in planned.stdout
    shown = call("compare", "runs/data", "--page", "other.html", cwd=workplace)
    assert shown.returncode == 0, shown.stderr
    assert "oracle" in shown.stdout
    page = (workplace / "other.html").read_text(encoding="utf-8")
    assert "<svg" in page
    runs = [f"runs/data/{arm}/world-0" for arm in ("oracle", "name-only")]
    reported = call("report", *runs, cwd=workplace)
    assert reported.returncode == 0, reported.stderr
    assert "page     comparison.html" in reported.stdout
    compared_page = (workplace / "comparison.html").read_text(encoding="utf-8")
    assert compared_page.count("<circle") == page.count("<circle")
    assert "oracle" in compared_page


@pytest.mark.parametrize(
    "arguments", [("config.yaml", "config.yaml"), ("config.yaml", "--page", "p.html"), ("runs/data", "--force")]
)
def test_a_report_of_neither_one_config_nor_finished_runs_is_refused(
    compared: Comparison, workplace: Path, arguments: tuple[str, ...]
) -> None:
    done = call("report", *arguments, cwd=workplace)
    assert done.returncode == 2
    assert "→" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_for_a_single_run_is_refused_for_several(workplace: Path, compared: Comparison) -> None:
    for arguments in (("run", "config.yaml", "--gate"), ("expand", "config.yaml")):
        done = call(*arguments, cwd=workplace)
        assert done.returncode == 2
        assert "compare" in done.stderr
        assert "Traceback" not in done.stderr
    with pytest.raises(ConfigError, match="several runs, not one"):
        run(load_config(workplace / "config.yaml"))
    with pytest.raises(ConfigError, match="compares nothing"):
        compare(load_config(write_config(workplace / "runs", compare=None)))


def test_a_folder_that_is_no_run_is_refused_with_a_remedy(tmp_path: Path) -> None:
    done = call("compare", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "no run.json" in done.stderr
    assert "→" in done.stderr
