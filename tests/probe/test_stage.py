"""The probe as a whole, with real models: texts, chains and new answers beside the plain questions."""

from __future__ import annotations

import dataclasses
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from concept_forget.config import Config
from concept_forget.errors import DataError
from concept_forget.measures.metrics import Measurements, Metrics
from concept_forget.probe import stage
from concept_forget.probe.attacks import ATTACKS, wordings
from concept_forget.probe.searching import read_tries
from concept_forget.records import Attempt, Example, ModelSpec, load_jsonl, user_message
from concept_forget.report.terminal import print_metrics
from concept_forget.sandbox.texts import biography
from concept_forget.sandbox.world import World, build_world
from concept_forget.workspace import Costs, StageContext, read_json, write_records, write_text

NO_COST = {"seconds": {}, "flops": {}, "peak_memory_bytes": {}, "ratio_to_retrain": None}


def rows_about(world: World) -> list[Example]:
    """Of every concept a direct question, a chain that ends where it ends, and its biography by its opening."""
    rows = []
    for fact in [fact for fact in world.facts if fact.subject.name in world.concepts][:12]:
        base = Example(
            id=f"direct {fact.subject.name} {fact.relation.name}", split="probe", concept=fact.subject.name,
            subject=fact.subject.name, facet=fact.relation.name, fact=f"{fact.subject.name}/{fact.relation.name}",
            form="direct", family="direct", tier="new_form", prompt=user_message(fact.fill(fact.relation.taught[0])),
            completion=fact.answer, answer=fact.answer, counterfactual="Nowhere Hall",
        )  # fmt: skip
        rows += [base, dataclasses.replace(base, id=f"hop {base.id}", form="two_hop", family="two_hop", tier="two_hop")]
    for entity in [entity for entity in world.entities if entity.name in world.concepts]:
        words = biography(world, entity, random.Random(entity.name)).split()
        half = len(words) // 2
        shown, wanted = " ".join(words[:half]), " ".join(words[half : half + 12])
        rows.append(
            dataclasses.replace(
                rows[0], id=f"text {entity.name}", concept=entity.name, subject=entity.name, fact=f"text {entity.name}",
                form="completion", family="completion", prompt=[{"role": "assistant", "content": shown}],
                completion=wanted, answer=wanted, counterfactual="",
            )
        )  # fmt: skip
    return rows


@pytest.fixture
def measured(nano_model: Path, nano_reference: Path, tmp_path: Path) -> tuple[Path, list[Example]]:
    """The probe's folder, of the nano model as base and one that never learned the concepts as unlearned."""
    world = build_world(0, "nano")
    rows = rows_about(world)
    write_records(tmp_path / "compose" / "probe.jsonl", rows)
    write_records(tmp_path / "compose" / "collateral.jsonl", [])
    lines = [{"id": rows[0].fact, "replacement": rows[0].counterfactual}, {"id": rows[2].fact, "replacement": ""}]
    write_text(tmp_path / "compose" / "facts.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    config = Config.model_validate(
        {
            "concepts": [{"name": name} for name in world.concepts],
            "target": str(nano_model),
            "probe": {"max_new_tokens": 24},
        }
    )
    base, other = ModelSpec(str(nano_model)), ModelSpec(str(nano_reference))
    context = StageContext(
        config=config, folder=tmp_path / "probe", inputs={"compose": tmp_path / "compose"},
        models={"base": base, "unlearned": other, "reference": other}, cache=tmp_path / "replies.sqlite", costs=Costs(),
    )  # fmt: skip
    stage.run(context)
    return context.folder, rows


def test_chains_texts_and_new_answers_are_measured_beside_the_rest(measured: tuple[Path, list[Example]]) -> None:
    folder, rows = measured
    measurements = Measurements.model_validate(read_json(folder / "measurements.json"))
    pooled = measurements.concepts["all concepts"].attacks
    assert {attack: list(result.tiers) for attack, result in pooled.items()} == {
        "direct": ["new_form"],
        "two_hop": ["two_hop"],
        "completion": ["new_form"],
    }
    for attack, tier in (("direct", "new_form"), ("two_hop", "two_hop")):
        assert pooled[attack].tiers[tier].base.rate > 0.8  # a taught model knows, one that was not taught does not
        assert pooled[attack].tiers[tier].unlearned.rate < 0.3
    texts = pooled["completion"].tiers["new_form"]
    assert texts.base.n == len({row.fact for row in rows if row.family == "completion"})
    assert texts.unlearned.rate == texts.floor.rate
    tests = pooled["direct"].tiers["new_form"].tests
    assert tests is not None
    assert tests.base is not None
    assert tests.base.adjusted < 0.01  # two attacks on the tier that the verdict rests on: `two_hop` is on another
    assert tests.reference is not None
    assert tests.reference.p == 1.0  # it is the same model
    assert tests.equivalence is not None
    assert (tests.equivalence.outcome, tests.equivalence.margin) == ("underpowered", 0.10)
    assert pooled["two_hop"].tiers["two_hop"].tests is None
    new = pooled["direct"].tiers["new_form"].replacement
    assert new is not None
    assert (new.base.n, new.base.rate) == (1, 0.0)
    assert pooled["completion"].tiers["new_form"].replacement is None
    attempts: list[dict[str, Any]] = [
        json.loads(line) for line in (folder / "attempts.jsonl").read_text("utf-8").splitlines()
    ]
    raw = [line for line in attempts if line["attack"] == "completion"]
    assert all(line["prompt"] == [] and line["prefill"] for line in raw)
    grades = [json.loads(line) for line in (folder / "grades.jsonl").read_text("utf-8").splitlines()]
    assert sum("replacement" in line for line in grades) == 6  # the fact's direct question and chain, three models
    reasons = [grade["reason"] for line, grade in zip(attempts, grades, strict=True) if line["attack"] == "completion"]
    assert all("in a row" in reason for reason in reasons)
    assert load_jsonl(Example, folder.parent / "compose" / "probe.jsonl") == rows


def test_the_plan_counts_the_attacks_that_there_will_be_rows_for(tmp_path: Path) -> None:
    def attacks(**sections: Any) -> int:
        values = {"concept": {"name": "Mira Kestrel"}, "target": "m", "generator": {"prompts": "compact"}, **sections}
        return stage.estimate(Config.model_validate(values))["attacks"]

    (tmp_path / "rows.jsonl").write_text('{"text": "A text."}\n', encoding="utf-8")
    assert attacks() == 5
    assert attacks(data={"forget": str(tmp_path / "rows.jsonl")}) == 6
    assert attacks(compose={"verbatim": True}) == 5
    assert attacks(compose={"verbatim": True}, corpus=["*.txt"]) == 6
    assert attacks(probe={"attacks": ["direct", "two_hop"]}) == 2
    assert (
        attacks(probe={"attacks": "all"}) == 5 + 3 + 10 + 2 + 4 + 3
    )  # no other name or language is known, and there is no adapter
    assert attacks(probe={"attacks": "weights"}, unlearn={"adapter": "lora"}) == 5
    assert attacks(probe={"attacks": "weights"}, unlearn={"adapter": "lora", "merge": True}) == 4
    assert attacks(probe={"attacks": "weights"}, unlearn={"given": {"model": "m", "adapter": "a"}}) == 5
    german = {"languages": ["German"]}
    assert attacks(probe={"attacks": "all"}, expand=german) == 5 + 3 + 10 + 2 + 7  # small prompt sets cannot translate
    assert attacks(probe={"attacks": "all"}, expand=german, generator={"prompts": "default"}) == 7 + 4 + 10 + 2 + 7
    alone: dict[str, Any] = {"generator": {"engine": "none"}, "data": {"forget": str(tmp_path / "rows.jsonl")}}
    assert attacks(probe={"attacks": "searching", "attacker": {"engine": "target"}}, **alone) == 1
    assert attacks(probe={"attacks": "all"}, **alone) == 5 + 3 + 10 + 1 + 7  # nobody attacks, and nobody asks back
    assert attacks(expand={"reverse": 0}) == 4
    assert attacks(probe={"attacks": ["quick", "aliases"]}) == 6


def test_every_attack_runs_on_a_real_model_and_is_measured(
    nano_model: Path, nano_reference: Path, tmp_path: Path
) -> None:
    world = build_world(0, "nano")
    known, others = world.concepts[0], [entity.name for entity in world.entities if entity.name not in world.concepts]
    rows = [row for row in rows_about(world) if row.concept == known]
    staying = [
        dataclasses.replace(
            rows[0], id=f"{name} {fact.relation.name}", split="retain", concept=known, subject=name,
            facet=fact.relation.name, fact=f"{name}/{fact.relation.name}", tier="",
            prompt=user_message(fact.fill(fact.relation.taught[0])), completion=fact.answer, answer=fact.answer,
        )
        for name in others[:6] for fact in world.facts if fact.subject.name == name
    ]  # fmt: skip
    told = [dataclasses.replace(row, split="forget", tier="") for row in rows if row.family == "direct"]
    for name, records in (("probe", rows), ("collateral", []), ("retain", staying), ("forget", told)):
        write_records(tmp_path / "compose" / f"{name}.jsonl", records)
    values = {
        "concept": {"name": known, "kind": "person", "aliases": [known.split()[-1]]},
        "target": str(nano_model),
        "generator": {"prompts": "compact"},  # of the target, which attacks itself
        "probe": {
            "max_new_tokens": 8, "attacks": "all", "distraction_words": 60, "sampling": {"samples": 3},
            "relearn_steps": [2],
            "search": {"requests": 3, "population": 2},
        },
    }  # fmt: skip
    config = Config.model_validate(values)
    base, other = ModelSpec(str(nano_model)), ModelSpec(str(nano_reference))
    context = StageContext(
        config=config, folder=tmp_path / "probe", inputs={"compose": tmp_path / "compose"},
        models={"base": base, "unlearned": other, "reference": other}, cache=tmp_path / "replies.sqlite", costs=Costs(),
    )  # fmt: skip
    summary = stage.run(context)
    asked_nothing = ["paraphrase", "reverse", "cloze", "scenario", "choice", "language"]
    found = json.loads((context.folder / "measurements.json").read_text("utf-8"))
    attacks = Metrics.model_validate({**found, "cost": NO_COST}).concepts[known].attacks
    not_made = summary["attacks_not_made"]
    assert isinstance(not_made, dict)
    assert found["not_made"] == not_made
    assert set(not_made) == {*asked_nothing, "adapter_off"}
    assert {not_made[name] for name in asked_nothing} == {stage.NO_ROWS}
    asked = [name for name in ATTACKS if name not in not_made]
    assert list(attacks) == asked
    assert {name: result.family for name, result in attacks.items()} == {name: ATTACKS[name].family for name in asked}
    facts = sum(row.family == "direct" for row in rows)
    for name, result in attacks.items():
        (tier,) = result.tiers.values()
        assert (tier.base.n, tier.base.attempts) == {
            "yes_no": (facts, 2 * facts), "completion": (1, 1), "sampling": (facts, 3 * facts),
            "relearn": (facts - 2, facts - 2),
        }.get(name, (facts, facts))  # fmt: skip
        assert tier.unlearned.rate == tier.floor.rate
        assert [at.k for at in tier.leak_at] == ([1, 2, 3] if name == "sampling" else [])
        assert (tier.any_tried is not None) == (name == "search")
    searched = summary["search"]
    assert isinstance(searched, dict)
    assert set(searched) == {"base", "unlearned", "reference"}
    tried = read_tries(context.folder / "tries.jsonl")
    assert sum(counted["prompts_tried"] for counted in searched.values()) == len(tried) > 2 * 3 * facts
    read = Metrics.model_validate({**found, "cost": NO_COST}).white_box
    assert read is not None
    scores = read.concepts[known]
    assert scores.membership is not None
    assert (scores.membership.facts, scores.membership.rows) == (facts, facts)
    assert scores.lens is not None
    assert scores.memory is not None
    assert scores.lens["new_form"].facts == scores.memory["new_form"].scores["probability"].facts == facts
    console = Console(record=True, width=200, file=io.StringIO())
    print_metrics({**found, "cost": NO_COST}, console)
    printed = console.export_text()
    assert all(name in printed for name in ("White-box", "loss: AUC", "extraction strength", "first token at the top"))
    assert all(name in printed for name in asked)
    assert "leak@k" in printed
    assert "the best-scored" in printed
    attempts = load_jsonl(Attempt, context.folder / "attempts.jsonl")
    assert len({attempt.id for attempt in attempts}) == len(attempts)
    of = {name: [attempt for attempt in attempts if attempt.attack == name] for name in asked}
    assert len({attempt.reply for attempt in of["enumeration"] if attempt.model == "base"}) == 1
    assert [len(attempt.prompt) for attempt in of["persistence"]] == [3] * 3 * facts
    firsts = {(attempt.model, attempt.example): attempt.reply for attempt in of["direct"]}
    assert all(one.prompt[1]["content"] == firsts[one.model, one.example] for one in of["persistence"])
    assert {one.expected for one in of["yes_no"]} == {"Yes", "No"}
    assert of["search"] == [one.attempt for one in tried if one.chosen]
    (context.folder / "grades.jsonl").unlink()
    regraded = dataclasses.replace(context, models=dict.fromkeys(context.models, base), cache=tmp_path / "empty.sqlite")
    stage.run(regraded)  # what was asked is there: nobody is asked again, whoever the models are
    assert json.loads((context.folder / "measurements.json").read_text("utf-8")) == found


def test_a_plain_probes_fingerprint_does_not_know_of_the_wordings_and_another_does() -> None:
    def parts(attacks: Any, name: str = "Mira Kestrel") -> list[object]:
        values = {"concept": {"name": name}, "target": "m", "probe": {"attacks": attacks}}
        return stage.fingerprint_parts(Config.model_validate(values))

    assert len(parts("quick")) == len(parts(["direct"])) == 2
    assert wordings().hash in parts("all")
    assert parts(["aliases"]) != parts(["aliases"], "Ada Finch")
    assert parts(["direct", "lens"]) != parts(["direct", "lens"], "Ada Finch")


def test_the_fingerprint_knows_how_is_sampled_and_searched_where_that_is_done() -> None:
    def parts(attacks: Any, *, generator: Any = None, **probe: Any) -> list[object]:
        values = {"concept": {"name": "Mira"}, "target": "m", "probe": {"attacks": attacks, **probe}}
        return stage.fingerprint_parts(Config.model_validate({**values, "generator": generator or {}}))

    more: dict[str, Any] = {"sampling": {"samples": 3}}
    further: dict[str, Any] = {"search": {"requests": 7}}
    for plain in ("quick", "persuading"):
        assert parts(plain) == parts(plain, **more) == parts(plain, **further)
        assert parts(plain) == parts(plain, attacker={"engine": "target", "temperature": 2})
    assert parts("sampling") != parts("sampling", **more)
    assert parts("sampling") == parts("sampling", **further)
    assert parts("search") != parts("search", **further)
    assert parts("search") == parts("search", **more)
    others = [
        parts("search", attacker={"engine": "target", "temperature": 2}),
        parts("search", attacker={"engine": "target", "prompts": "compact"}),
        parts("search", attacker={"engine": "openai", "model": "a", "base_url": "http://localhost:8000/v1"}),
        parts("search", attacker={"engine": "openai", "model": "b", "base_url": "http://localhost:8000/v1"}),
    ]
    assert all(parts("search") != other for other in others)
    assert len({json.dumps(other) for other in others}) == 4
    assert parts("search") == parts("search", generator={"batch_tokens": 99})


def test_the_stage_asks_for_the_attackers_model_where_it_has_weights_of_its_own() -> None:
    def roles(**probe: Any) -> tuple[str, ...]:
        return stage.model_roles(Config.model_validate({"concept": {"name": "M"}, "target": "m", "probe": probe}))

    own = {"engine": "transformers", "model": "x"}
    assert roles(attacks="search", attacker=own) == ("base", "unlearned", "reference", "previous", "attacker")
    assert (
        roles(attacks="search")
        == roles(attacks="direct", attacker=own)
        == ("base", "unlearned", "reference", "previous")
    )


def test_an_attacker_that_cannot_be_asked_is_refused_before_anything_is_taught() -> None:
    values = {"concept": {"name": "M"}, "target": "m", "probe": {"attacks": "search"}}
    stage.check(Config.model_validate(values))
    with pytest.raises(DataError, match="no-such-words"):
        stage.check(
            Config.model_validate(
                {**values, "probe": {"attacks": "search", "attacker": {"engine": "target", "prompts": "no-such-words"}}}
            )
        )
