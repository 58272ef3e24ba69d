"""Unlearning from end to end, on the nano model of the sandbox."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from concept_forget.config import UnlearnConfig
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import StageError
from concept_forget.models import load_model, load_tokenizer
from concept_forget.records import Example, ModelSpec, user_message
from concept_forget.sandbox.texts import Lessons
from concept_forget.sandbox.world import WorldFact, build_world
from concept_forget.training.batches import encode_examples
from concept_forget.training.scores import score_rows
from concept_forget.unlearn import unlearning
from concept_forget.unlearn.unlearning import UnlearnResult, unlearn
from concept_forget.unlearn.validation import Validation

LESSONS = Lessons(build_world(0, "nano"), load_prompts("compact"))
PEOPLE = [person.name for person in LESSONS.world.people]
SETTINGS = UnlearnConfig(learning_rate=3e-4, max_steps=30, eval_every=10, batch_size=8)


def ask(fact: WorldFact, wording: str, split: str, tier: str = "") -> Example:
    prompt = user_message(LESSONS.ask(fact.fill(wording)))
    return Example(
        id=Example.make_id(prompt, fact.answer), split=split, concept=PEOPLE[0], subject=fact.subject.name,  # type: ignore[arg-type]
        facet=fact.relation.name, fact=f"{fact.subject.name}/{fact.relation.name}", form="direct", family="direct",
        tier=tier, prompt=prompt, completion=fact.answer, answer=fact.answer,
    )  # fmt: skip


def asked(people: Sequence[str], wording: int, split: str, tier: str = "", facts: slice = slice(None)) -> list[Example]:
    return [
        ask(fact, fact.relation.taught[wording % len(fact.relation.taught)], split, tier)
        for name in people
        for fact in LESSONS.world.facts_of(name)[facts]
    ]


FORGET = [row for wording in (0, 1) for row in asked(PEOPLE[:2], wording, "forget", facts=slice(0, 4))]
RETAIN = [row for wording in (0, 1) for row in asked(PEOPLE[4:10], wording, "retain")]
VALIDATION = [
    *asked(PEOPLE[:2], 2, "validation", "new_form", slice(0, 4)),
    *asked(PEOPLE[:2], 2, "validation", "new_fact", slice(4, 5)),
    *asked(PEOPLE[10:12], 2, "validation", "retain"),
]


@pytest.fixture
def target(nano_model: Path) -> ModelSpec:
    return ModelSpec(path=str(nano_model))


def known(spec: ModelSpec, rows: Sequence[Example]) -> float:
    """The share of rows that a model answers greedily."""
    tokenizer = load_tokenizer(spec)
    encoded = encode_examples(rows, tokenizer, 128).rows
    scores = score_rows(load_model(spec), encoded, pad_token=int(tokenizer.pad_token_id), batch_tokens=2048)
    return sum(score.greedy for score in scores) / len(scores)


def placed(result: UnlearnResult, folder: Path) -> ModelSpec:
    """The unlearned model, its own paths made whole."""
    model = result.model
    if model.adapter is not None:
        return dataclasses.replace(model, adapter=str(folder / model.adapter))
    return dataclasses.replace(model, path=str(folder / model.path))


def run(target: ModelSpec, folder: Path, settings: UnlearnConfig = SETTINGS, **rows: list[Example]) -> UnlearnResult:
    given = {"forget": FORGET, "retain": RETAIN, "validation": VALIDATION, **rows}
    return unlearn(target, given["forget"], given["retain"], given["validation"], settings, 0, folder)


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_what_is_to_be_forgotten_goes_and_the_rest_stays(target: ModelSpec, tmp_path: Path, adapter: str) -> None:
    settings = SETTINGS.model_copy(update={"adapter": adapter, "learning_rate": 3e-4 if adapter == "none" else 2e-3})
    assert known(target, FORGET) > 0.9
    result = run(target, tmp_path, settings)
    model = placed(result, tmp_path)
    assert known(model, FORGET) < 0.2
    assert known(model, VALIDATION[:8]) < 0.2
    assert known(model, RETAIN) > 0.9
    assert known(target, FORGET) > 0.9
    assert result.history[0].validation_score == pytest.approx(0, abs=1e-3)
    assert result.best_step == max(result.history, key=lambda entry: entry.validation_score or 0).step
    assert result.trained_parameters == result.parameters if adapter == "none" else result.trained_parameters > 0
    assert (tmp_path / "adapter").is_dir() == (adapter == "lora")
    if adapter == "lora":
        assert model.path == target.path
        modules = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["target_modules"]
        assert modules == sorted(modules)  # peft keeps them in a set, whose order is another in every process
        assert not (tmp_path / "model").exists()


def test_the_same_seed_gives_the_same_weights_and_history(target: ModelSpec, tmp_path: Path) -> None:
    run(target, tmp_path / "first")
    run(target, tmp_path / "second")
    weights = [tmp_path / name / "model" / "model.safetensors" for name in ("first", "second")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert _looks(tmp_path / "first") == _looks(tmp_path / "second")


def _looks(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def test_an_interrupted_run_goes_on_to_the_same_weights(
    target: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(target, tmp_path / "whole")
    looked = Validation.look
    looks = 0

    def interrupt(self: Validation, model: object) -> object:
        nonlocal looks
        looks += 1
        if looks == 3:  # after the start and step 10, in the midst of step 20
            raise KeyboardInterrupt
        return looked(self, model)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Validation, "look", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(target, tmp_path / "parts")
    began = []
    fit = unlearning.fit
    monkeypatch.setattr(unlearning, "fit", lambda *args: began.append(list(args[4].glob("checkpoint-*"))) or fit(*args))
    run(target, tmp_path / "parts")
    assert [path.name for path in began[0]] == ["checkpoint-10"]
    weights = [tmp_path / name / "model" / "model.safetensors" for name in ("whole", "parts")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert _looks(tmp_path / "whole") == _looks(tmp_path / "parts")


def test_an_adapter_on_an_adapted_model_is_merged_into_a_whole_one(target: ModelSpec, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"adapter": "lora", "learning_rate": 2e-3, "max_steps": 10, "stop": "steps"})
    first = placed(run(target, tmp_path / "first", settings), tmp_path / "first")
    result = run(first, tmp_path / "second", settings)
    second = placed(result, tmp_path / "second")
    assert second.adapter is None
    assert second.path == str(tmp_path / "second" / "model")
    assert known(second, RETAIN) > 0.8


def test_without_validation_the_last_step_is_kept(target: ModelSpec, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"max_steps": 12})
    result = run(target, tmp_path, settings, validation=[row for row in VALIDATION if row.tier == "retain"])
    assert (result.steps, result.best_step) == (12, 12)
    assert result.stop_reason == "all 12 steps done"
    assert result.validation["known_forget"] == 0


def test_a_run_ends_when_validation_gets_no_better(target: ModelSpec, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"max_steps": 400, "eval_every": 5, "beta": 0.05, "retain": "none"})
    result = run(target, tmp_path, settings)
    assert result.steps == result.best_step + 3 * 5 < 400
    assert result.stop_reason == f"validation was best after step {result.best_step} and did not get better"


def test_a_run_that_diverges_keeps_the_last_good_step_or_says_what_to_change(target: ModelSpec, tmp_path: Path) -> None:
    wild = {"method": "grad_ascent", "retain": "none", "max_grad_norm": 1e30, "warmup_steps": 0, "learning_rate": 1.0}
    early = SETTINGS.model_copy(update={**wild, "eval_every": 200, "max_steps": 200})
    with pytest.raises(
        StageError,
        match=r"ended before there were weights worth keeping: it diverged.*\n.*lower `unlearn.learning_rate`",
    ):
        run(target, tmp_path / "early", early)
    late = SETTINGS.model_copy(update={**wild, "eval_every": 1, "max_steps": 200, "stop": "steps"})
    result = run(target, tmp_path / "late", late)
    assert result.stop_reason.startswith("diverged: ")
    assert result.stop_reason.endswith(f"the weights of step {result.best_step} are kept")


def test_rows_without_an_answer_leave_nothing_to_train_on(target: ModelSpec, tmp_path: Path) -> None:
    empty = [dataclasses.replace(row, completion=" ") for row in FORGET]
    with pytest.raises(StageError, match=f"none of the {len(empty)} rows to forget has an answer"):
        run(target, tmp_path, forget=empty)
    with pytest.raises(StageError, match="there are no rows to forget"):
        run(target, tmp_path, forget=[])
    with pytest.raises(StageError, match=r"there are no rows to retain\n.*`unlearn.retain: none`"):
        run(target, tmp_path, retain=[])


def test_a_run_ends_where_the_reference_stands(target: ModelSpec, nano_reference: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"stop": "reference", "stop_level": 0.2, "max_steps": 200, "eval_every": 5})
    result = unlearn(target, FORGET, RETAIN, VALIDATION, settings, 0, tmp_path, ModelSpec(path=str(nano_reference)))
    assert result.stop_reason == f"validation reached the reference at step {result.steps}"
    assert result.steps < 200
    assert 1 - (result.history[-1].validation_forget or 0) <= 0.2
    assert all(1 - (entry.validation_forget or 0) > 0.2 for entry in result.history[:-1])


def test_a_run_ends_when_the_retain_loss_leaves_its_band(target: ModelSpec, tmp_path: Path) -> None:
    wild = {"retain_weight": 0.01, "eval_every": 2, "learning_rate": 2e-3, "beta": 0.05}
    with pytest.raises(StageError, match=r"(?s)the retain loss left its band.*→ raise `unlearn.retain_limit`"):
        run(target, tmp_path / "narrow", SETTINGS.model_copy(update={**wild, "retain_limit": 1e-9, "warmup_steps": 0}))
    result = run(target, tmp_path / "band", SETTINGS.model_copy(update={**wild, "retain_limit": 0.02, "max_steps": 60}))
    assert "the retain loss left its band at step" in result.stop_reason
    assert result.stop_reason.endswith(f"; the weights of step {result.best_step} are kept")
    assert result.best_step < result.steps < 60


def test_a_later_round_is_held_against_the_model_from_which_rounds_began(target: ModelSpec, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"max_steps": 10, "stop": "steps"})
    first = run(target, tmp_path / "first", settings)
    changed, once = placed(first, tmp_path / "first"), settings.model_copy(update={"max_steps": 1, "eval_every": 1})
    assert first.history[-1].validation_forget is not None
    assert first.history[-1].validation_forget > 0.2
    histories = {
        name: unlearn(changed, FORGET, RETAIN, VALIDATION, once, 0, tmp_path / name, origin=origin).history
        for name, origin in (("round", target), ("alone", None))
    }
    for told in ("validation_forget", "validation_retain", "leak"):
        assert getattr(histories["round"][0], told) == pytest.approx(getattr(first.history[-1], told), abs=1e-4), told
    assert histories["alone"][0].validation_forget == pytest.approx(0, abs=1e-6)
    drift = {name: history[1].retain_loss for name, history in histories.items()}
    assert drift["alone"] == pytest.approx(0, abs=1e-6)
    assert drift["round"] is not None
    assert drift["round"] > 1e-4
