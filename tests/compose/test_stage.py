from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concept_forget.compose import stage
from concept_forget.compose.dataset import SPLITS
from concept_forget.errors import DataError
from concept_forget.records import Example, ModelSpec
from concept_forget.sandbox.world import World, build_world
from concept_forget.workspace import StageContext, read_json, read_records

ContextOf = Callable[..., StageContext]
TOFU = Path(__file__).resolve().parents[3] / "shared" / "data" / "tofu" / "forget10.jsonl"


def read_sets(folder: Path) -> dict[str, list[Example]]:
    return {split: read_records(Example, folder / f"{split}.jsonl") for split in SPLITS}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_quickstarts_facts_leave_enough_in_a_new_form_for_every_attack(kit: Any, context_of: ContextOf) -> None:
    world = build_world(1, "standard")
    context = context_of(kit.world_config(world), kit.write_about(world))
    summary: Any = stage.run(context)
    assert summary["facts"]["total"] == 96
    assert summary["facts"]["new_fact"] >= 29
    assert 12 <= summary["facts"]["validation"] <= 15
    assert summary["facts"]["trained"] >= 50
    assert all(counts["facts"] >= 48 for counts in summary["tiers"]["new_form"].values())
    assert all(wall["holds"] for wall in summary["walls"].values())
    assert summary == read_json(context.folder / "summary.json")
    assert {split: len(rows) for split, rows in read_sets(context.folder).items()} == {
        split: summary["rows"][split]["total"] for split in SPLITS
    }
    splits = [json.loads(line)["split"] for line in (context.folder / "facts.jsonl").read_text("utf-8").splitlines()]
    assert splits.count("trained") == summary["facts"]["trained"]
    assert set(splits) == {"trained", "validation", "new_fact", "retain", "retain validation", "collateral"}


def test_equal_inputs_give_equal_bytes_and_another_seed_others(
    kit: Any, context_of: ContextOf, nano_world: World
) -> None:
    written = kit.write_about(nano_world)
    folders = []
    for name, seed in (("first", 0), ("second", 0), ("third", 1)):
        context = context_of(kit.world_config(nano_world, seed=seed), written, name)
        stage.run(context)
        folders.append(context.folder)
    assert bytes_of(folders[0]) == bytes_of(folders[1])
    assert bytes_of(folders[0]) != bytes_of(folders[2])


def test_bytes_do_not_depend_on_the_process(kit: Any, context_of: ContextOf, nano_world: World, tmp_path: Path) -> None:
    config = kit.world_config(nano_world)
    context = context_of(config, kit.write_about(nano_world))
    stage.run(context)
    script = (
        "import sys; from pathlib import Path\n"
        "from concept_forget.compose import stage\n"
        "from concept_forget.config import Config\n"
        "from concept_forget.workspace import Costs, StageContext\n"
        "root = Path(sys.argv[1])\n"
        "inputs = {'expand': root / 'expand', 'mine': root / 'mine'}\n"
        "config = Config.model_validate_json((root / 'config.json').read_text())\n"
        "stage.run(StageContext(config, root / 'again', inputs, {}, root / 'c.sqlite', Costs()))\n"
    )
    root = tmp_path / "run"
    (root / "config.json").write_text(config.model_dump_json(), encoding="utf-8")
    for hash_seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": hash_seed, "PATH": "/usr/bin:/bin", "TZ": "Asia/Tokyo"}
        subprocess.run([sys.executable, "-c", script, str(root)], check=True, env=environment, capture_output=True)
        assert bytes_of(root / "again") == bytes_of(context.folder)


def test_what_an_interrupted_try_left_makes_no_difference(kit: Any, context_of: ContextOf, nano_world: World) -> None:
    written = kit.write_about(nano_world)
    whole = context_of(kit.world_config(nano_world), written, "whole")
    broken = context_of(kit.world_config(nano_world), written, "broken")
    stage.run(whole)
    broken.folder.mkdir(parents=True)
    (broken.folder / "forget.jsonl").write_text('{"half": ', encoding="utf-8")
    stage.run(broken)
    assert bytes_of(whole.folder) == bytes_of(broken.folder)


def test_the_probe_asks_only_what_the_base_model_knows_and_says_what_was_left_out(
    kit: Any, context_of: ContextOf, nano_world: World, nano_model: Path
) -> None:
    written = kit.write_about(nano_world)
    false = {fact.id for fact in written.facts if fact.subject == nano_world.concepts[0]}
    written.facts = [
        fact if fact.id not in false else type(fact)(**{**_values(fact), "answer": f"Gilded Otter {number}"})
        for number, fact in enumerate(written.facts)
    ]
    answers = {fact.id: fact.answer for fact in written.facts}
    written.questions = [
        question
        if question.fact not in false or question.family == "reverse"
        else type(question)(**{**_values(question), "answer": answers[question.fact]})
        for question in written.questions
    ]
    config = kit.world_config(nano_world, compose={"knowledge_filter": True})
    context = context_of(config, written, base=ModelSpec(path=str(nano_model), fingerprint="nano"))
    summary: Any = stage.run(context)
    rows = read_sets(context.folder)
    assert not false & {row.fact for row in rows["probe"]}
    assert false & {row.fact for row in rows["forget"]}
    knowledge = summary["knowledge"]
    assert knowledge["not_asked"] == 0
    assert knowledge["unknown"] >= len(false) * 0.6
    true = knowledge["facts"] - len({f for f in false if f in _probed(context.folder)})
    assert knowledge["known"] >= 0.9 * true
    assert knowledge["rows"] == len(rows["probe"]) < knowledge["rows_unfiltered"]
    assert context.costs.requests > 0
    again = stage.run(context)
    assert again == summary


def _values(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _probed(folder: Path) -> set[str]:
    lines = [json.loads(line) for line in (folder / "facts.jsonl").read_text("utf-8").splitlines()]
    return {line["id"] for line in lines if line["split"] in ("trained", "new_fact")}


def test_an_erasure_request_needs_no_generator(kit: Any, context_of: ContextOf, write_rows: Any) -> None:
    forget = [
        {"question": f"What is Mira Kestrel's secret {n}?", "answer": f"It is that secret{n} lies under stone{n}."}
        for n in range(20)
    ]
    keep = [{"question": f"What is under stone number {n} of Fenna?", "answer": f"moss{n}"} for n in range(12)]
    ask = [{"question": f"What does Viggo sell on day {n}?", "answer": f"ware{n}"} for n in range(5)]
    config = kit.config(
        generator={"engine": "none"},
        data={
            "forget": write_rows(*forget, name="forget.jsonl"),
            "retain": write_rows(*keep, *ask, {"text": "It rained on Viggo."}, name="retain.jsonl"),
            "collateral": {"path": write_rows(*ask, name="ask.jsonl"), "subject": "Viggo"},
        },
        compose={"holdout": 0, "knowledge_filter": True},
    )
    summary: Any = stage.run(context_of(config))
    assert {split: counts["total"] for split, counts in summary["rows"].items()} == {
        "forget": 20,
        "retain": 12,
        "validation": 0,
        "probe": 20,
        "collateral": 5,
    }
    assert {tier: counts["direct"]["facts"] for tier, counts in summary["tiers"].items()} == {"trained_form": 20}
    assert summary["knowledge"]["not_asked"] == 20


def test_collateral_that_never_names_itself_is_noted(kit: Any, context_of: ContextOf, write_rows: Any) -> None:
    rows = [{"question": f"What is Mira Kestrel's secret {n}?", "answer": f"secret{n}"} for n in range(4)]
    config = kit.config(
        generator={"engine": "none"},
        data={
            "forget": write_rows(*rows, name="forget.jsonl"),
            "collateral": {
                "path": write_rows({"question": "Who?", "answer": "He"}, name="c.jsonl"),
                "subject": "Viggo",
            },
        },
        compose={"holdout": 0},
        unlearn={"retain": "none"},
    )
    summary: Any = stage.run(context_of(config))
    assert any(note.startswith("collateral, Viggo: none of its rows names it") for note in summary["notes"])


@pytest.mark.skipif(not TOFU.is_file(), reason="the TOFU rows are not here")
def test_a_tofu_author_is_forgotten_by_the_benchmarks_own_protocol(kit: Any, context_of: ContextOf) -> None:
    held = [(1, "Carmen Montenegro"), (2, "Elvin Mammadov"), (9, "Tae-ho Park"), (12, "Moshe Ben-David")]
    config = kit.config(
        concept={"name": "Hsiao Yun-Hwa", "kind": "author"},
        generator={"engine": "none"},
        data={
            "forget": {"path": str(TOFU), "rows": [0, 20]},
            "retain": {"path": str(TOFU), "rows": [20, 400]},
            "collateral": [
                {"path": str(TOFU), "rows": [20 * block, 20 * block + 20], "subject": name} for block, name in held
            ],
        },
        compose={"holdout": 0, "knowledge_filter": True},
        probe={"grader": "rouge_l"},
    )
    context = context_of(config)
    stage.run(context)
    rows = read_sets(context.folder)
    assert {split: len(known) for split, known in rows.items()} == {
        "forget": 20,
        "retain": 300,
        "validation": 0,
        "probe": 20,
        "collateral": 80,
    }
    assert [(row.prompt, row.completion) for row in rows["forget"]] == [(r.prompt, r.completion) for r in rows["probe"]]
    assert stage.estimate(config)["trained_form"] == 20


def test_the_estimate_counts_what_the_plan_asks_for_by_tier(kit: Any, write_rows: Any) -> None:
    rows = [{"question": f"Number {n}?", "answer": f"a{n}"} for n in range(6)]
    config = kit.config(
        concepts=[{"name": "Mira Kestrel"}, {"name": "Tobias Wren", "forget": ["ship", "home"]}],
        expand={"facets": 10, "facts_per_facet": 2, "paraphrases": 4},
        data={"forget": {"path": write_rows(*rows, {"text": "Some text."}), "concept": "Mira Kestrel"}},
        compose={"knowledge_filter": True},
    )
    plan = stage.estimate(config)
    assert plan == {
        "facts": 30,
        "trained": 17,
        "validation": 4,
        "new_fact": 9,
        "new_form": 17,
        "texts": 1,
        "requests": round(26 * 24 / 30 * 3),
    }


def test_the_estimate_meets_what_comes_of_it(kit: Any, context_of: ContextOf, nano_world: World) -> None:
    config = kit.world_config(nano_world, expand={"facets": 5})
    summary: Any = stage.run(context_of(config, kit.write_about(nano_world)))
    plan = stage.estimate(config)
    assert {name: plan[name] for name in ("trained", "validation", "new_fact")} == {
        name: summary["facts"][name] for name in ("trained", "validation", "new_fact")
    }


def test_broken_rows_are_refused_before_anything_runs(kit: Any, write_rows: Any) -> None:
    for section in ("forget", "retain", "collateral"):
        with pytest.raises(DataError, match="not JSON"):
            stage.check(kit.config(data={section: write_rows("{")}))


@pytest.mark.parametrize(
    "change",
    [
        {"compose": {"holdout": 0.4}},
        {"compose": {"knowledge_filter": True}},
        {"concept": {"name": "Mira Kestrel", "aliases": ["Mira"]}},
        {"generator": {"engine": "target", "prompts": "default"}},
        {"probe": {"gate_tiers": ["new_fact"]}},
        {"target": "another"},
    ],
)
def test_the_fingerprint_changes_with_what_the_sets_depend_on(kit: Any, change: Any) -> None:
    assert stage.fingerprint_parts(kit.config()) == stage.fingerprint_parts(kit.config())
    assert stage.fingerprint_parts(kit.config(**change)) != stage.fingerprint_parts(kit.config())
    assert json.loads(json.dumps(stage.fingerprint_parts(kit.config(**change))))


def test_the_grader_counts_only_where_the_base_model_is_asked(kit: Any) -> None:
    def parts(**changes: Any) -> list[object]:
        return stage.fingerprint_parts(kit.config(compose=changes, probe={"grader": "rouge_l"}))

    assert parts() == stage.fingerprint_parts(kit.config())
    assert parts(knowledge_filter=True) != stage.fingerprint_parts(kit.config(compose={"knowledge_filter": True}))


def test_the_fingerprint_changes_with_the_rows_in_a_file(kit: Any, write_rows: Any) -> None:
    config = kit.config(data={"forget": write_rows({"text": "One."})})
    before = stage.fingerprint_parts(config)
    write_rows({"text": "Two."})
    assert stage.fingerprint_parts(config) != before


def test_importing_the_stage_loads_nothing_heavy() -> None:
    script = (
        "import sys, concept_forget.compose.stage\n"
        "heavy = {'torch', 'numpy', 'datasets', 'transformers', 'pandas', 'scipy', 'pyarrow'}\n"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
