"""Graders that ask a model, beside the one that decides: in the whole stage, with real models."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from concept_forget.config import Config
from concept_forget.embedding import find_encoder
from concept_forget.errors import ConfigError, DataError, ModelError
from concept_forget.measures.metrics import Measurements
from concept_forget.probe import stage
from concept_forget.probe.agreeing import compare_graders
from concept_forget.probe.grading import grade_by, graders_of, settle_grades
from concept_forget.probe.model_grading import MODEL_GRADERS, ModelGrading
from concept_forget.probe.recount import told_by_graders
from concept_forget.records import Attempt, Grade, ModelSpec, load_jsonl
from concept_forget.report.terminal import print_metrics
from concept_forget.run_models import RunModels
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import Costs, StageContext, read_json, write_records
from tests.probe.test_stage import NO_COST, rows_about


def configured(nano_model: Path, nli_model: Path, **probe: Any) -> Config:
    values = {
        "concepts": [{"name": name} for name in build_world(0, "nano").concepts],
        "target": str(nano_model),
        "probe": {"max_new_tokens": 24, "attacks": ["direct", "two_hop"], "nli": str(nli_model), **probe},
    }
    return Config.model_validate(values)


@pytest.fixture(scope="module")
def probed(
    nano_model: Path, nano_reference: Path, nli_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> StageContext:
    """A finished probe with three graders: the judge is the nano model, held to a schema."""
    folder = tmp_path_factory.mktemp("graders")
    write_records(folder / "compose" / "probe.jsonl", rows_about(build_world(0, "nano")))
    write_records(folder / "compose" / "collateral.jsonl", [])
    config = configured(nano_model, nli_model, beside=["embedding", "nli", "judge"])
    base, other = ModelSpec(str(nano_model)), ModelSpec(str(nano_reference))
    context = StageContext(
        config=config, folder=folder / "probe", inputs={"compose": folder / "compose"},
        models={
            "base": base, "unlearned": other, "reference": other, "grading_judge": base,
            "nli": ModelSpec(str(nli_model)),
        },
        cache=folder / "replies.sqlite", costs=Costs(),
    )  # fmt: skip
    stage.run(context)
    return context


def grades_of(context: StageContext) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (context.folder / "grades.jsonl").read_text("utf-8").splitlines()]


def measured(context: StageContext) -> Measurements:
    return Measurements.model_validate(read_json(context.folder / "measurements.json"))


def test_other_graders_stand_beside_the_one_that_decides(probed: StageContext) -> None:
    attempts, grades = load_jsonl(Attempt, probed.folder / "attempts.jsonl"), grades_of(probed)
    assert all(set(line["beside"]) == {"embedding", "nli", "judge"} for line in grades)
    graders = measured(probed).graders
    assert graders is not None
    assert (graders.decides, list(graders.rates)) == ("answer", ["answer", "embedding", "nli", "judge"])
    assert graders.ungraded == dict.fromkeys(graders.rates, 0)
    assert graders.rates["answer"]["base"].rate > 0.8
    assert graders.rates["nli"]["base"].rate > 0.6  # what it was taught to read
    assert graders.rates["nli"]["unlearned"].rate < 0.4
    found = {(one.first, one.second, one.model): one for one in graders.agreement}
    assert len(found) == 6 * 4
    one = found["answer", "nli", "all"]
    asked = [
        (line["leaked"], line["beside"]["nli"]["leaked"])
        for attempt, line in zip(attempts, grades, strict=True) if attempt.model != "strangers"
    ]  # fmt: skip
    assert (one.both, one.first_only, one.second_only, one.neither) == tuple(
        asked.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))
    )
    assert one.kappa is not None
    assert 0.4 < one.kappa.value <= 1
    assert one.kappa.low < one.kappa.value
    parts = [found["answer", "nli", model] for model in ("base", "unlearned", "reference")]
    assert sum(part.both for part in parts) == one.both
    console = Console(record=True, width=160, file=io.StringIO())
    print_metrics({**measured(probed).model_dump(mode="json"), "cost": NO_COST}, console)
    printed = console.export_text()
    assert all(text in printed for text in ("answer (decides)", "answer, nli", "embedding, judge", "kappa"))


def test_what_is_written_of_the_graders_is_enough_to_compare_them_again(probed: StageContext) -> None:
    attempts, lines = load_jsonl(Attempt, probed.folder / "attempts.jsonl"), grades_of(probed)
    grades = [Grade(line["score"], line["leaked"], line["reason"]) for line in lines]
    beside = [{name: Grade(**grade) for name, grade in line["beside"].items()} for line in lines]
    told = told_by_graders(attempts, grades, beside, probed.config)
    assert compare_graders(attempts, told, ["base", "unlearned", "reference"]) == measured(probed).graders
    grades[0] = Grade(1.0, True, "no grade by answer; gives it")
    assert told_by_graders(attempts, grades, beside, probed.config)["answer"][0] is None


def test_the_verdict_is_that_of_the_one_that_decides_and_grading_again_asks_no_model_about_the_concept(
    probed: StageContext, nano_model: Path, nli_model: Path, tmp_path: Path
) -> None:
    config = configured(nano_model, nli_model, grader="nli", beside=["answer"])
    gone = ModelSpec("gone", fingerprint="gone")
    again = dataclasses.replace(
        probed, config=config, folder=tmp_path / "probe", cache=tmp_path / "empty.sqlite",
        models={**dict.fromkeys(("base", "unlearned", "reference"), gone), "nli": ModelSpec(str(nli_model))},
    )  # fmt: skip
    again.folder.mkdir()
    for name in ("attempts.jsonl", "fluency.json"):
        (again.folder / name).write_text((probed.folder / name).read_text("utf-8"), encoding="utf-8")
    stage.run(again)
    before, after = grades_of(probed), grades_of(again)
    assert [line["leaked"] for line in after] == [line["beside"]["nli"]["leaked"] for line in before]
    assert [line["beside"]["answer"]["leaked"] for line in after] == [line["leaked"] for line in before]
    pooled = measured(again).concepts["all concepts"].attacks["direct"].tiers["new_form"]
    direct = [
        line["leaked"] for line, attempt in zip(after, load_jsonl(Attempt, again.folder / "attempts.jsonl"), strict=True)
        if (attempt.attack, attempt.model) == ("direct", "base")
    ]  # fmt: skip
    assert pooled.base.rate == pytest.approx(sum(direct) / len(direct))


def attempt(**values: Any) -> Attempt:
    usual = {
        "id": "1", "model": "base", "attack": "direct", "family": "asking", "tier": "new_form", "concept": "Mira",
        "subject": "Mira", "fact": "f", "example": "e", "sample": 0, "prompt": [{"role": "user", "content": "Long words"}],
        "prefill": "", "reply": "She was born in Dunholm.", "finish_reason": "stop", "expected": "Dunholm",
    }  # fmt: skip
    return Attempt(**{**usual, **values})


class Told(ModelGrading):
    """Grades nothing by itself and remembers what it was to grade."""

    asked: list[Any]

    def grade(self, name: str, cases: Any) -> list[Grade | None]:
        object.__setattr__(self, "asked", list(cases))
        return [None if "Skelby" in reply else Grade(1.0, True, "told") for reply, _ in cases]


def test_a_choice_and_what_a_grader_leaves_fall_to_the_answer_grader(tmp_path: Path) -> None:
    config = Config.model_validate({"concept": {"name": "M"}, "target": "m", "probe": {"grader": "embedding"}})
    attempts = [
        attempt(),
        attempt(reply="B", options=("Skelby", "Dunholm"), prompt=[{"role": "user", "content": "A Skelby B Dunholm"}]),
        attempt(reply="Skelby, not Dunholm."),
        attempt(attack="yes_no", reply="Yes", expected="Yes"),
    ]
    told = Told(config.probe, {}, tmp_path / "c.sqlite", Costs(), {"e": "Where was Mira born?"})
    found = grade_by(attempts, "embedding", told)
    assert [one is None for one in found] == [False, True, True, True]
    assert [reply for reply, _ in told.asked] == ["She was born in Dunholm.", "Skelby, not Dunholm."]
    assert {expected.question for _, expected in told.asked} == {"Where was Mira born?"}  # not the attack's words
    assert graders_of(attempts, "embedding") == ["embedding", "answer", "embedding", "yes_no"]
    assert graders_of(attempts, "judge") == ["judge", "judge", "judge", "yes_no"]
    settled = settle_grades(attempts, "embedding", found)
    assert [grade.leaked for grade in settled[:3]] == [True, True, False]
    assert settled[2].reason.startswith("no grade by embedding; ")
    result = compare_graders(attempts, {"embedding": found, "answer": grade_by(attempts, "answer")}, ["base"])
    assert result.ungraded == {"embedding": 1, "answer": 0}
    (first, second) = result.agreement
    assert (first.both, first.neither, first.facts, first.kappa) == (1, 0, 1, None)
    assert (second.model, second.both) == ("base", 1)


def test_a_judge_of_a_run_is_not_known_elsewhere(tmp_path: Path) -> None:
    config = Config.model_validate({"concept": {"name": "M"}, "target": "m", "probe": {"grader": "judge"}})
    grading = ModelGrading(config.probe, {}, tmp_path / "c.sqlite", Costs())
    with pytest.raises(ConfigError, match=r"probe.judge.generator[\s\S]*a model of its own"):
        grading.grade("judge", [])


def test_graders_are_settings_with_what_they_need(nano_model: Path, nli_model: Path) -> None:
    assert MODEL_GRADERS == ("embedding", "nli", "judge")

    def config(**probe: Any) -> Config:
        return Config.model_validate({"concept": {"name": "M"}, "target": "m", "probe": probe})

    with pytest.raises(ValueError, match="needs a cross-encoder"):
        config(beside=["nli"])
    with pytest.raises(ValueError, match="each grader once"):
        config(beside=["answer"])
    with pytest.raises(ValueError, match="each grader once"):
        config(beside=["nli", "nli"], nli="m")
    with pytest.raises(ValueError, match="grader"):
        config(grader="span")
    named = config(beside=["nli", "judge"], nli="m", judge={"generator": {"engine": "transformers", "model": "j"}})
    assert stage.model_roles(named)[-2:] == ("nli", "grading_judge")
    assert {"nli", "grading_judge"} <= set(RunModels(named).roles)
    assert "grading_judge" in RunModels(config(grader="judge")).roles  # the target judges itself
    assert not {"nli", "grading_judge"} & set(RunModels(config(nli="m")).roles)
    stage.check(config(beside=["nli"], nli=str(nli_model)))
    with pytest.raises(ModelError, match=r"probe.nli.model[\s\S]*no label `entailment`"):
        stage.check(config(beside=["nli"], nli=str(nano_model)))  # before anything is taught or asked
    with pytest.raises(DataError, match="no-such-file"):
        stage.check(config(grader="judge", judge={"prompt": "no-such-file.jinja"}))


def test_the_fingerprint_knows_the_graders_where_they_are_used(tmp_path: Path) -> None:
    def parts(**probe: Any) -> list[object]:
        return stage.fingerprint_parts(Config.model_validate({"concept": {"name": "M"}, "target": "m", "probe": probe}))

    plain = parts()
    assert len(plain) == 2
    assert plain == parts(nli="m") == parts(embedding_threshold=0.9) == parts(judge={"prompt": "x.jinja"})
    assert parts(beside=["embedding"])[-1] == [find_encoder("auto").identity, 0.5]
    for first, second in (
        (parts(grader="embedding"), parts(grader="embedding", embedding_threshold=0.9)),
        (parts(), parts(beside=["embedding"])),
        (parts(grader="judge"), parts(grader="judge", judge={"generator": {"engine": "target", "max_new_tokens": 9}})),
    ):
        assert first != second
    (tmp_path / "mine.jinja").write_text("---\ndescription: x\nreturns: line\n---\n{{ reply }}", encoding="utf-8")
    assert parts(grader="judge") != parts(grader="judge", judge={"prompt": str(tmp_path / "mine.jinja")})
