"""One request after another on the same model: the earlier concepts are probed again, for they can come back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from concept_forget import load_config, run
from concept_forget.concept import Concept
from concept_forget.earlier import earlier_runs, without_concepts
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import ConfigError
from concept_forget.pipeline import RunResult, plan
from concept_forget.records import Example, user_message
from concept_forget.run_models import RunModels
from concept_forget.sandbox.texts import Lessons
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import read_json, read_records

LESSONS = Lessons(build_world(0, "nano"), load_prompts("compact"))
PEOPLE = [person.name for person in LESSONS.world.people]


def rows_about(people: list[str], wordings: tuple[int, ...]) -> list[dict[str, str]]:
    return [
        {"question": LESSONS.ask(fact.fill(fact.relation.taught[wording])), "answer": fact.answer, "subject": name,
         "facet": fact.relation.name}
        for name in people
        for fact in LESSONS.world.facts_of(name)
        for wording in wordings
    ]  # fmt: skip


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("requests")


def write_config(folder: Path, name: str, person: str, **unlearn: Any) -> Path:
    """A request about one person, from rows alone: no generator, no corpus, no reference."""
    for kind, people, wordings in (("forget", [person], (0, 1)), ("retain", PEOPLE[:1] + PEOPLE[5:9], (0,))):
        text = "".join(json.dumps(row) + "\n" for row in rows_about(people, wordings))
        (folder / f"{name}-{kind}.jsonl").write_text(text, encoding="utf-8")
    config = {
        "concept": {"name": person, "kind": "person"},
        "target": {"sandbox": {"world": 0, "size": "nano"}},
        "generator": {"engine": "none"},
        "data": {kind: str(folder / f"{name}-{kind}.jsonl") for kind in ("forget", "retain")},
        "compose": {"holdout": 0},
        "unlearn": {"learning_rate": 5e-4, "max_steps": 24, "eval_every": 8, "batch_size": 8, "beta": 0.2, **unlearn},
        "probe": {"attacks": ["direct"], "max_new_tokens": 16},
        "output": str(folder / "runs" / name),
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def first(workplace: Path, nano_model: Path) -> RunResult:
    return run(load_config(write_config(workplace, "first", PEOPLE[0])))


@pytest.fixture(scope="module")
def second(workplace: Path, first: RunResult) -> RunResult:
    return run(load_config(write_config(workplace, "second", PEOPLE[1], **{"continue": str(first.folder)})))


def rate(result: RunResult, person: str, model: str) -> float:
    assert result.metrics is not None
    tiers = result.metrics["concepts"][person]["attacks"]["direct"]["tiers"]
    return float(tiers["trained_form"][model]["rate"])


def test_the_earlier_concept_is_probed_again_on_the_model_that_forgot_both(first: RunResult, second: RunResult) -> None:
    assert second.metrics is not None
    assert set(second.metrics["concepts"]) == {PEOPLE[0], PEOPLE[1], "all concepts"}
    assert all(rate(second, person, "base") > 0.8 for person in PEOPLE[:2])
    assert rate(first, PEOPLE[0], "unlearned") < 0.4
    assert rate(second, PEOPLE[1], "unlearned") < 0.4
    again = rate(second, PEOPLE[0], "unlearned")
    leaks = again - rate(first, PEOPLE[0], "unlearned")
    assert (second.outcome == "passed") <= (leaks < 0.15), "what comes back of the first decides too"


def test_the_second_request_begins_from_what_the_first_left(first: RunResult, second: RunResult) -> None:
    record = read_json(second.folder / "unlearn" / "stage.json")["models"]
    assert record["continued"]["path"].startswith(str((first.folder / "unlearn").resolve()))
    assert record["base"]["path"] != record["continued"]["path"]


def test_the_second_request_changes_the_weights_that_the_first_left(
    first: RunResult, second: RunResult, nano_model: Path
) -> None:
    """The way from there is shorter than the way from the target, which holds the first request's as well."""
    weights = {
        name: torch.cat([tensor.flatten() for _, tensor in sorted(load_file(folder / "model.safetensors").items())])
        for name, folder in (
            ("target", nano_model),
            ("first", first.folder / "unlearn" / "model"),
            ("second", second.folder / "unlearn" / "model"),
        )
    }
    way = {name: float((weights["second"] - weights[name]).norm()) for name in ("target", "first")}
    assert way["first"] < way["target"]


def test_what_was_forgotten_is_not_taught_again_as_something_to_keep(second: RunResult) -> None:
    retain = read_records(Example, second.folder / "compose" / "retain.jsonl")
    named = sum(PEOPLE[0] in row.prompt[0]["content"] for row in retain)
    assert named > 0
    summary = read_json(second.folder / "unlearn" / "summary.json")
    assert summary["rows"]["retain"]["rows"] == len(without_concepts(retain, [Concept(name=PEOPLE[0])]))
    assert summary["rows"]["retain"]["rows"] <= len(retain) - named


def test_a_third_request_reaches_back_to_the_first(second: RunResult, workplace: Path) -> None:
    third = load_config(write_config(workplace, "third", PEOPLE[2], **{"continue": str(second.folder)}))
    runs = earlier_runs(third)
    assert [concept.name for found in runs for concept in found.concepts] == [PEOPLE[1], PEOPLE[0]]
    assert RunModels(third)._left_out("reference") == (PEOPLE[2], PEOPLE[1], PEOPLE[0])
    assert [step.verb for step in plan(third) if step.state == "to run"][-3:] == ["unlearn", "probe", "report"]
    assert third.model_dump(mode="json")["unlearn"]["continue"] == str(second.folder)


@pytest.mark.parametrize(
    ("person", "changes", "message"),
    [
        (PEOPLE[0], {}, r"forgotten by an earlier run already\n.*leave it out"),
        (PEOPLE[1], {"target.sandbox.seed": 1}, r"began from another target\n.*same `target`"),
        (PEOPLE[1], {"unlearn.continue": "nowhere"}, r"no run\.json here"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(
    first: RunResult, workplace: Path, person: str, changes: dict[str, object], message: str
) -> None:
    path = write_config(workplace, "misfit", person, **{"continue": str(first.folder)})
    with pytest.raises(ConfigError, match=message):
        RunModels(load_config(path, [f"{key}={value}" for key, value in changes.items()]))


def test_a_run_that_never_unlearned_is_refused(workplace: Path, nano_model: Path) -> None:
    path = write_config(workplace, "composed", PEOPLE[3])
    run(load_config(path), until="compose")
    misfit = write_config(workplace, "misfit", PEOPLE[1], **{"continue": str(workplace / "runs" / "composed")})
    with pytest.raises(ConfigError, match=r"has no unlearned model of its own\n.*finish it"):
        RunModels(load_config(misfit))


def test_the_key_is_known_by_its_name_in_the_file(workplace: Path) -> None:
    path = write_config(workplace, "misspelt", PEOPLE[1], contine="x")
    with pytest.raises(ConfigError, match="did you mean 'continue'"):
        load_config(path)


def test_rows_that_name_a_concept_in_any_place_are_left_out() -> None:
    def row(subject: str, prompt: str, completion: str) -> Example:
        return Example(
            id="x", split="retain", concept="", subject=subject, facet="", fact="", form="", family="", tier="",
            prompt=user_message(prompt), completion=completion, answer="",
        )  # fmt: skip

    rows = [
        row("Ada", "Who?", "Bo."),
        row("Cy", "Is it ADA?", "No."),
        row("Cy", "Who?", "Ada."),
        row("Cy", "Adam?", "B"),
    ]
    assert without_concepts(rows, [Concept(name="Ada")]) == rows[3:]
    assert without_concepts(rows, []) == rows
