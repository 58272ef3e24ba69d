"""Any model is probed with the finished sets of a run: the stage's own questions, grades and rates."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from concept_forget import probe_model
from concept_forget.config import Config, ProbeConfig
from concept_forget.errors import ConfigError, DataError, ModelError
from concept_forget.measures.metrics import Measurements
from concept_forget.measures.one_model import OneModel
from concept_forget.measures.statistics import difference_bounds, rate_interval
from concept_forget.probe import stage
from concept_forget.probe.attacks import attacks_named, find_attacks
from concept_forget.probe.finished_rows import read_probes
from concept_forget.probe.measuring import measure_one
from concept_forget.records import Attempt, Example, ModelSpec, load_jsonl, user_message
from concept_forget.report.one_model import print_one_model
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import RUN_FORMAT, Costs, StageContext, read_json, write_json, write_records


def world_rows(split: Any, tier: str, count: int, *, concepts: bool) -> list[Example]:
    """Direct questions about the people to be forgotten, or about others."""
    world = build_world(0, "nano")
    facts = [fact for fact in world.facts if (fact.subject.name in world.concepts) == concepts]
    return [
        Example(
            id=f"{split} {number}", split=split, concept=fact.subject.name if concepts else world.concepts[0],
            subject=fact.subject.name, facet=fact.relation.name, fact=f"{fact.subject.name}/{fact.relation.name}",
            form="direct", family="direct", tier=tier, prompt=user_message(fact.fill(fact.relation.taught[0])),
            completion=fact.answer, answer=fact.answer,
        )
        for number, fact in enumerate(facts[:count])
    ]  # fmt: skip


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as compose leaves it."""
    folder = tmp_path_factory.mktemp("one-model") / "compose"
    write_records(folder / "probe.jsonl", world_rows("probe", "new_form", 12, concepts=True))
    write_records(folder / "collateral.jsonl", world_rows("collateral", "near", 6, concepts=False))
    return folder


def test_a_model_gets_the_rates_that_the_stage_gives_it(
    composed: Path, nano_model: Path, nano_reference: Path, tmp_path: Path
) -> None:
    found = probe_model(str(nano_model), composed, tmp_path / "out", reference=str(nano_reference))
    config = Config.model_validate(
        {"concepts": [{"name": name} for name in build_world(0, "nano").concepts], "target": str(nano_model)}
    )
    base, other = ModelSpec(str(nano_model)), ModelSpec(str(nano_reference))
    context = StageContext(
        config=config, folder=tmp_path / "probe", inputs={"compose": composed},
        models={"base": base, "unlearned": base, "reference": other}, cache=tmp_path / "r.sqlite", costs=Costs(),
    )  # fmt: skip
    stage.run(context)
    whole = Measurements.model_validate(read_json(tmp_path / "probe" / "measurements.json"))
    assert found.concepts.keys() == whole.concepts.keys()
    for concept, attacks in found.concepts.items():
        tier, same = attacks["direct"].tiers["new_form"], whole.concepts[concept].attacks["direct"].tiers["new_form"]
        assert (tier.model, tier.reference, tier.worst_form) == (
            same.unlearned, same.reference, same.worst_form.unlearned,
        )  # fmt: skip
    assert found.collateral["near"].model == whole.collateral["near"].unlearned
    assert found.verdict == whole.verdict
    assert found.verdict is not None
    assert found.verdict.outcome == "failed"
    assert found.concepts["all concepts"]["direct"].tiers["new_form"].model.rate > 0.8
    assert OneModel.model_validate(read_json(tmp_path / "out" / "metrics.json")) == found
    attempts = load_jsonl(Attempt, tmp_path / "out" / "attempts.jsonl")
    grades = [json.loads(line) for line in (tmp_path / "out" / "grades.jsonl").read_text("utf-8").splitlines()]
    assert [grade["attempt"] for grade in grades] == [attempt.id for attempt in attempts]
    assert {attempt.model for attempt in attempts} == {"model", "reference"}


def test_without_a_reference_there_is_no_verdict_and_it_says_why(
    composed: Path, nano_model: Path, tmp_path: Path
) -> None:
    found = probe_model(str(nano_model), composed, tmp_path / "out", attacks=["direct", "typos", "cloze"])
    assert found.verdict is None
    assert [line.partition(":")[0] for line in found.not_known] == ["residual knowledge", "floor and verdict"]
    assert found.attacks_without_questions == ["cloze"]
    assert list(found.concepts["all concepts"]) == ["direct", "typos"]
    assert found.concepts["all concepts"]["direct"].tiers["new_form"].above is None
    console = Console(record=True, width=200, file=io.StringIO())
    print_one_model(found, console)
    printed = console.export_text()
    assert "verdict  " not in printed
    assert "unknown  floor and verdict" in printed
    assert "no rows  for cloze" in printed
    first = (tmp_path / "out" / "attempts.jsonl").read_bytes()
    again = probe_model(str(nano_model), composed, tmp_path / "out", attacks=["direct", "typos", "cloze"])
    assert again == found
    assert (tmp_path / "out" / "attempts.jsonl").read_bytes() == first
    with pytest.raises(DataError, match="another probe lies here"):
        probe_model(str(nano_model), composed, tmp_path / "out", attacks=["direct"])


def test_what_only_a_run_does_is_named_and_not_asked(composed: Path, nano_model: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from concept_forget import Request, attack\n\n"
        '@attack("sesame", family="mine", takes="direct", source="a rumour")\n'
        "def sesame(question, rng, scene):\n"
        '    """The question as it stands."""\n'
        "    return [Request(question.prompt)]\n",
        encoding="utf-8",
    )
    names = [concept.name for concept in read_probes(composed).concepts]
    probe = ProbeConfig.model_validate(
        {
            "attack_files": [own],
            "attacks": ["sesame", "sampling", "search", "round_8bit", "lens"],
            "sampling": {"samples": 2},
        }
    )
    run = Config.model_validate({"concepts": [{"name": name} for name in names], "target": "m", "probe": probe})
    write_json(
        tmp_path / "run" / "run.json", {"format": RUN_FORMAT, "config": run.model_dump(mode="json", by_alias=True)}
    )
    shutil.copytree(composed, tmp_path / "run" / "compose")
    found = probe_model(str(nano_model), tmp_path / "run", tmp_path / "out")
    assert list(found.concepts["all concepts"]) == ["sampling", "sesame"]
    sampled = found.concepts["all concepts"]["sampling"].tiers["new_form"].model
    assert sampled.attempts == 2 * sampled.n
    assert found.not_known[-1] == "search, round_8bit, lens: only `run` does this"
    assert found.attacks_without_questions == []
    find_attacks(ProbeConfig())  # forget what the file registered


def attempt(model: str, fact: str, number: int, **others: Any) -> Attempt:
    values: dict[str, Any] = {
        "attack": "direct", "family": "asking", "tier": "new_form", "concept": "Mira", "subject": "Mira",
        "fact": fact, "example": fact, "sample": 0, "prompt": [], "prefill": "", "reply": "", "finish_reason": "stop",
        "expected": "x", **others,
    }  # fmt: skip
    return Attempt(id=f"{model} {fact} {number}", model=model, **values)


def test_rates_are_means_over_facts_and_the_difference_is_paired() -> None:
    leaks = {"a": (1.0, 0.0), "b": (1.0, 1.0), "c": (0.0, 0.0)}
    rows = [(attempt("model", fact, number), leak) for fact, two in leaks.items() for number, leak in enumerate(two)]
    rows += [(attempt("reference", fact, 0), 0.0) for fact in ("c", "b", "a")]
    rows += [(attempt("model", "d", 0, attack="collateral", tier="near"), 1.0)]
    found = measure_one(
        [row for row, _ in rows], [leak for _, leak in rows], attack_families={"direct": "asking"},
        gate_tiers=("new_form",), threshold=0.15,
    )  # fmt: skip
    tier = found.concepts["Mira"]["direct"].tiers["new_form"]
    expected, above = rate_interval([0.5, 1.0, 0.0]), difference_bounds([0.5, 1.0, 0.0], [0.0, 0.0, 0.0])
    assert (tier.model.rate, tier.model.low, tier.model.high) == (expected.value, expected.low, expected.high)
    assert (tier.model.n, tier.model.attempts) == (3, 6)
    assert tier.above is not None
    assert (tier.above.value, tier.above.low, tier.above.high) == (above.value, above.low, above.high)
    assert tier.worst_form == pytest.approx(2 / 3)
    assert (found.collateral["near"].model.rate, found.collateral["near"].reference) == (1.0, None)
    assert found.verdict is not None
    assert found.verdict.outcome == "inconclusive"


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no folder": ({"probes": "absent"}, DataError, "there is no such folder"),
    "a folder without rows": ({"probes": "."}, DataError, "no rows of a probe here"),
    "an unknown attack": ({"attacks": ["drect"]}, ConfigError, "no attack called 'drect'"),
    "attacks without rows": ({"attacks": ["cloze"]}, DataError, "no row that one of these attacks asks"),
    "an absent model": ({"model": "./absent"}, ModelError, "--model"),
    "an absent reference": ({"reference": "./absent"}, ModelError, "--reference"),
    "a full folder": ({"out": "full"}, DataError, "something here already"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_asked(
    case: str, composed: Path, nano_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine", encoding="utf-8")
    changes, kind, words = REFUSED[case]
    arguments: dict[str, Any] = {"model": str(nano_model), "probes": str(composed), "out": "out", **changes}
    with pytest.raises(kind, match=words):
        probe_model(**arguments)
    assert not (tmp_path / "out").exists()


def test_a_row_that_is_none_is_named_by_file_and_line(composed: Path, tmp_path: Path) -> None:
    text = (composed / "probe.jsonl").read_text(encoding="utf-8").splitlines()
    for broken, words in ('{"question": "?"}', "is not one of this program's sets"), ("{", "not JSON"):
        (tmp_path / "probe.jsonl").write_text(f"{text[0]}\n{broken}\n", encoding="utf-8")
        with pytest.raises(DataError, match=words) as caught:
            read_probes(tmp_path)
        assert (caught.value.file, caught.value.line) == (str(tmp_path / "probe.jsonl"), 2)
    (tmp_path / "probe.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="has no row"):
        read_probes(tmp_path)
    (tmp_path / "probe.jsonl").unlink()
    (tmp_path / "probe.parquet").write_bytes((composed / "probe.jsonl").read_bytes())
    with pytest.raises(DataError, match="is no Parquet") as caught:
        read_probes(tmp_path)
    assert caught.value.file == str(tmp_path / "probe.parquet")


def test_the_gate_of_sets_that_are_asked_as_trained_is_theirs(composed: Path, tmp_path: Path) -> None:
    rows = load_jsonl(Example, composed / "probe.jsonl")
    assert read_probes(composed).gate_tiers == ("new_form",)
    write_records(tmp_path / "probe.jsonl", [dataclasses.replace(row, tier="trained_form") for row in rows])
    found = read_probes(tmp_path)
    assert (found.gate_tiers, found.settings.attacks) == (("trained_form",), "quick")
    assert [concept.name for concept in found.concepts] == list(dict.fromkeys(row.concept for row in rows))
    assert len(attacks_named(found.settings.attacks)) == 8


def test_the_command_line_takes_a_config_or_a_model_and_not_both(composed: Path, tmp_path: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "concept_forget.cli", "probe", *arguments],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip

    for arguments in ((), ("config.yaml", "--model", "m"), ("--model", "m", "--probes", str(composed))):
        done = call(*arguments)
        assert done.returncode == 2
        assert "what is to be probed is not clear" in done.stderr
