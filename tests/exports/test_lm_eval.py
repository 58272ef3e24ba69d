"""The task for lm-eval: it asks and grades as the run does, and needs nothing of this program."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from concept_forget import load_config, run
from concept_forget.engines.protocol import Request, Sampling
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.exports.exporting import export_sets
from concept_forget.exports.finished import FinishedSets, read_finished
from concept_forget.exports.layout import Layout
from concept_forget.exports.lm_eval import lay_out, module_path
from concept_forget.exports.lm_eval_rules import COLUMNS, grade_reply, rate_over_facts, read_task
from concept_forget.measures.graders import GRADERS
from concept_forget.measures.statistics import rate_interval
from concept_forget.probe.asking import ask_models, plan_questions
from concept_forget.probe.attacks import attacks_named
from concept_forget.probe.grading import grade_attempts
from concept_forget.probe.measuring import measure_one
from concept_forget.records import Attempt, ModelSpec, user_message
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import Costs


def read_yaml(path: Path) -> dict[str, Any]:
    """A task's file, its functions as their names."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))
    return dict(yaml.load(path.read_text(encoding="utf-8"), Loader))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture(scope="module")
def world_run(tmp_path_factory: pytest.TempPathFactory, nano_model: Path) -> Path:
    """A run about people whom the nano model knows."""
    place = tmp_path_factory.mktemp("lm-eval")
    world = build_world(0, "nano")
    known = world.concepts[0]
    rows = {
        name: [
            {
                "question": fact.fill(fact.relation.taught[0]),
                "answer": fact.answer,
                "subject": fact.subject.name,
                "facet": fact.relation.name,
                "paraphrases": [fact.fill(wording) for wording in fact.relation.taught[1:3]],
            }
            for fact in world.facts
            if is_taken(fact.subject.name)
        ]
        for name, is_taken in (
            ("forget", lambda name: name == known),
            ("collateral", lambda name: name in world.concepts[1:]),
        )
    }
    for name, some in rows.items():
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
    config = {
        "concept": {"name": known, "kind": "person"},
        "target": str(nano_model),
        "generator": {"engine": "none", "prompts": "compact"},
        "data": {name: str(place / f"{name}.jsonl") for name in rows},
        "compose": {"knowledge_filter": False},
        "unlearn": {"retain": "none"},
        "probe": {"max_new_tokens": 24},
        "output": str(place / "runs" / "known"),
    }
    (place / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    return run(load_config(place / "config.yaml"), until="compose").folder


@pytest.fixture(scope="module")
def exported(world_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("task") / "out"
    export_sets(world_run, "lm-eval", out)
    return out


def test_every_task_names_its_rows_its_functions_and_the_runs_own_length(exported: Path, world_run: Path) -> None:
    sets = read_finished(world_run)
    tasks = {path.stem: read_yaml(path) for path in exported.glob("*.yaml") if not path.name.startswith("_")}
    assert {name.removeprefix("known_") for name in tasks} == {
        *(f"probe_{row.family}_{row.tier}" for row in sets.rows["probe"]),
        *(f"collateral_{row.tier}" for row in sets.rows["collateral"]),
    }
    for name, task in tasks.items():
        assert task["task"] == name
        assert (exported / task["dataset_kwargs"]["file"]).is_file()
        assert task["generation_kwargs"] == {"until": [], "do_sample": False, "max_gen_toks": 24}
        assert (task["doc_to_text"], task["description"]) == ("question", "system")
        stays = "_collateral_" in name
        assert {metric["metric"]: metric["higher_is_better"] for metric in task["metric_list"]} == {
            "accuracy": stays, "rate": stays,
        }  # fmt: skip
    assert read_yaml(exported / "_known.yaml") == {"group": "known", "task": list(tasks_in_order(exported))}
    assert {row.split for row in sets.all_rows} >= {"forget", "probe", "collateral"}


def tasks_in_order(folder: Path) -> Sequence[str]:
    return [str(name) for name in read_yaml(folder / "_known.yaml")["task"]]


def test_texts_and_system_messages_find_their_place_and_several_turns_are_left_out(
    finished_run: Path, sets: FinishedSets, tmp_path: Path
) -> None:
    some = next(row for row in sets.rows["probe"] if row.family != "completion")
    system = {"role": "system", "content": "Answer\nbriefly."}
    user = {"role": "user", "content": "A question?"}
    said = {"role": "assistant", "content": "So it is."}
    asked = [
        dataclasses.replace(some, id="plain", tier="new_form"),
        dataclasses.replace(some, id="system", tier="new_form", prompt=[system, user]),
        dataclasses.replace(some, id="turns", tier="new_form", prompt=[user, said, user]),
        dataclasses.replace(some, id="text", tier="new_form", prompt=[]),
        dataclasses.replace(some, id="opened", tier="new_form", family="completion", prompt=[said]),
    ]
    layout = Layout()
    lay_out(dataclasses.replace(sets, rows={**sets.rows, "probe": asked, "collateral": []}), layout)
    layout.check(asked)
    files = {path: content.decode() for path, content in layout.files.items() if path.endswith(".jsonl")}
    held = {row["id"]: row for text in files.values() for row in map(json.loads, text.splitlines())}
    assert set(held) == {"plain", "system", "opened"}
    assert (held["system"]["system"], held["system"]["question"]) == ("Answer\nbriefly.", "A question?")
    assert (held["opened"]["question"], held["opened"]["grader"]) == ("So it is.", "span")
    assert sum(count for (split, _), count in layout.left_out.items() if split == "probe") == 2
    groups = {path: yaml.safe_load(content) for path, content in layout.files.items() if path.startswith("_")}
    assert [len(group["task"]) for group in groups.values()] == [1, 1]
    assert any("_texts`, without" in note for note in layout.notes)


REPLIES = (
    "", "Dunholm", "She was born in Dunholm.", "Not Dunholm, but Vell.", "Dunholm or Vell or Rook", "It is unknown.",
    "B) Dunholm", "14 March 1932", "on 14.03.1932", "fourteen", "She mapped the whole coast of Dunholm alone in winter",
)  # fmt: skip
ANSWERS = ("Dunholm", "14 March 1932", "14", "mapped the whole coast of Dunholm")


def test_the_rules_in_the_folder_need_nothing_of_this_program_and_grade_alike(exported: Path) -> None:
    rows = [
        {
            "question": "Where was Mira Kestrel born? A) Vell B) Dunholm" if options else "Where was Mira Kestrel born?",
            "answer": answer, "aliases": ["the town of Dunholm"] if answer == "Dunholm" else [],
            "options": options, "subject": "Mira Kestrel", "fact": answer, "grader": grader, "system": "", "id": "1",
        }
        for grader in GRADERS if grader != "yes_no"
        for answer in ANSWERS
        for options in ([], ["Vell", "Dunholm"])
        if not options or (answer == "Dunholm" and grader == "answer")
    ]  # fmt: skip
    expected = [grade_reply(row, [reply]) for row in rows for reply in REPLIES]
    assert 0.1 < sum(grade["accuracy"] == 1 for grade in expected) / len(expected) < 0.9
    code = f"""
import json, sys
sys.modules["concept_forget"] = sys.modules["pydantic"] = None  # an import of either fails
sys.path.insert(0, {str(exported)!r})
import task_rules
rows, replies = json.load(sys.stdin)
graded = [task_rules.grade_reply(row, [reply]) for row in rows for reply in replies]
print(json.dumps([graded, task_rules.rate_over_facts([grade["rate"] for grade in graded])]))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], input=json.dumps([rows, REPLIES]), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    graded, rate = json.loads(done.stdout)
    assert graded == json.loads(json.dumps(expected))
    assert rate == rate_over_facts([grade["rate"] for grade in expected])


def test_a_fact_that_is_asked_often_counts_once() -> None:
    graded = [("a", 1.0), ("a", 1.0), ("a", 0.0), ("b", 0.0)]
    assert rate_over_facts(graded) == pytest.approx((2 / 3 + 0) / 2)
    assert rate_over_facts(graded) == rate_interval([2 / 3, 0.0]).value


def test_rows_are_read_as_they_were_written(exported: Path, tmp_path: Path) -> None:
    (name, *_) = tasks_in_order(exported)
    data = read_task(exported, f"{name}.jsonl")["test"]
    assert data.to_list() == [{key: row[key] for key in COLUMNS} for row in lines_of(exported / f"{name}.jsonl")]
    row = dict.fromkeys(COLUMNS, "2012-01-01") | {"aliases": [], "options": []}
    (tmp_path / "dates.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert read_task(tmp_path, "dates.jsonl")["test"][0] == row


def test_the_sources_that_are_copied_are_this_programs() -> None:
    assert module_path("concept_forget.measures.graders").name == "graders.py"
    assert module_path("concept_forget.measures").name == "__init__.py"


@pytest.fixture(scope="module")
def own(world_run: Path, nano_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Attempt, float]]:
    """What the run's own probe makes of each row."""
    sets = read_finished(world_run)
    planned = plan_questions(attacks_named("quick"), sets.rows["probe"], sets.rows["collateral"], 0)
    folder = tmp_path_factory.mktemp("own")
    attempts = ask_models(
        {"model": ModelSpec(str(nano_model))},
        {"model": planned},
        sets.config.probe,
        folder,
        cache=folder / "replies.sqlite",
        costs=Costs(),
    )
    grades = grade_attempts(attempts, sets.config.probe.grader)
    return [(attempt, float(grade.leaked)) for attempt, grade in zip(attempts, grades, strict=True)]


def test_the_tasks_ask_and_grade_each_row_as_the_run_does(
    exported: Path, nano_model: Path, own: list[tuple[Attempt, float]]
) -> None:
    engine = TransformersEngine(ModelSpec(str(nano_model)))
    measured = measure_one(
        [attempt for attempt, _ in own],
        [value for _, value in own],
        attack_families={attack.name: attack.family for attack in attacks_named("quick")},
        gate_tiers=("new_form",),
        threshold=0.15,
    )
    (attacks,) = measured.concepts.values()
    found = {}
    for name in tasks_in_order(exported):
        rows = read_task(exported, f"{name}.jsonl")["test"]
        sampling = Sampling(max_new_tokens=read_yaml(exported / f"{name}.yaml")["generation_kwargs"]["max_gen_toks"])
        replies = engine.generate([Request(prompt=user_message(row["question"])) for row in rows], sampling)
        graded = [grade_reply(row, [reply.text]) for row, (reply,) in zip(rows, replies, strict=True)]
        found |= {row["id"]: grade["accuracy"] for row, grade in zip(rows, graded, strict=True)}
        rate = rate_over_facts([grade["rate"] for grade in graded])
        part, _, rest = name.removeprefix("known_").partition("_")
        form = next((form for form in attacks if rest.startswith(form)), "")
        tier = rest.removeprefix(f"{form}_")
        same = measured.collateral[tier].model if part == "collateral" else attacks[form].tiers[tier].model
        assert rate == pytest.approx(same.rate, abs=1e-12)
    assert found == {attempt.example: value for attempt, value in own}
    assert sum(found.values()) / len(found) > 0.5


def test_lm_eval_itself_gives_the_same_accuracy_item_by_item(
    exported: Path, own: list[tuple[Attempt, float]], nano_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    command = [
        sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--device", "cpu", "--batch_size", "16",
        "--model_args", f"pretrained={nano_model},dtype=float32,add_bos_token=False",
        "--include_path", str(exported), "--tasks", "known", "--apply_chat_template",
        "--output_path", str(tmp_path / "out"), "--log_samples",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    samples = [sample for path in (tmp_path / "out").rglob("samples_*.jsonl") for sample in lines_of(path)]
    theirs = {sample["doc"]["id"]: sample["accuracy"] for sample in samples}
    assert theirs == {attempt.example: value for attempt, value in own}
