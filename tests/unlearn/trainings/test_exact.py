"""Teaching without the rows: whole, and in shards of which only those that held the rows are taught again."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from concept_forget.concept import Concept
from concept_forget.config import Config, UnlearnConfig
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import ConfigError, StageError
from concept_forget.models import load_model
from concept_forget.records import Example, ModelSpec, named_seed, user_message
from concept_forget.run_models import RunModels
from concept_forget.sandbox.texts import Lessons
from concept_forget.sandbox.world import build_world
from concept_forget.training.batches import StepPlan
from concept_forget.training.fitting import FitSettings, fit
from concept_forget.training.tuning import mean_likelihood
from concept_forget.unlearn.adapting import save_weights
from concept_forget.unlearn.trainings import TRAININGS
from concept_forget.unlearn.trainings.exact import Part, average_weights, deal, plan_parts
from concept_forget.unlearn.trainings.registry import Rows, Task, TrainRow, read_train_rows
from tests.unlearn.trainings.conftest import NEW, MakeTask, asked, known, placed


def make_example(question: str, answer: str) -> Example:
    prompt = user_message(question)
    return Example(
        id=Example.make_id(prompt, answer), split="forget", concept="", subject="", facet="", fact="", form="",
        family="", tier="", prompt=prompt, completion=answer, answer=answer,
    )  # fmt: skip


SHARDS = {"method": "sisa", "shards": 2, "slices": 2, "epochs": 2}


def parts_of(task: Task, *, without: bool) -> list[Part]:
    """The plan that a task leads to."""
    assert task.initial is not None
    rows, settings = Rows(task.initial, task.settings), task.settings
    given = [(row, own) for row in read_train_rows(task) for own in rows.encode([row.example]).rows]
    places = deal([row.group for row, _ in given], settings.option("shards"), settings.option("slices"), task.seed)
    return plan_parts(given, places, settings, 0, "x", without=without, pad_token=rows.pad_token)


def trained_by_hand(parts: list[Part], task: Task, folder: Path) -> list[Path]:
    """The shards of a plan, each from the initial weights through all its slices, nothing kept on the way."""
    settings = task.settings
    assert task.initial is not None
    folders = []
    for shard in sorted({part.shard for part in parts}):
        model = load_model(task.initial).float()
        for part in (part for part in parts if part.shard == shard and part.steps):
            plan = StepPlan(
                (part.rows,), (settings.batch_size,), named_seed(0, "sisa", shard, part.slice),
                Rows(task.initial, settings).pad_token, settings.batch_tokens,
            )  # fmt: skip
            how = FitSettings(
                part.steps, settings.learning_rate, "constant", 0, 0.0, settings.max_grad_norm, 0, False,
                named_seed(0, "sisa", shard, part.slice, "fit"),
            )  # fmt: skip
            fit(model, plan, mean_likelihood, how, folder / f"{shard}-{part.slice}", lambda report: False)
        save_weights(model, folder / str(shard))
        folders.append(folder / str(shard))
    return folders


def test_a_request_trains_only_the_parts_that_held_its_rows_and_to_the_same_bits(
    make_task: MakeTask, tmp_path: Path
) -> None:
    first = make_task("first", NEW[:1], **SHARDS)
    TRAININGS["sisa"].function(first)
    second = make_task("second", NEW[:2], **SHARDS)
    result = TRAININGS["sisa"].function(second)
    before, after = parts_of(first, without=True), parts_of(second, without=True)
    changed = [new.key for old, new in zip(before, after, strict=True) if old.key != new.key]
    assert result.details["trained_parts"] == len(changed) > 0
    assert len(changed) < len(after)
    model = load_file(placed(second, result.model).path + "/model.safetensors")
    by_hand = [
        load_file(folder / "model.safetensors") for folder in trained_by_hand(after, second, tmp_path / "by hand")
    ]
    for name, weight in model.items():
        assert torch.equal(weight, torch.stack([own[name].double() for own in by_hand]).mean(0).float()), name


def test_a_shard_forgets_its_person_and_the_others_stay(make_task: MakeTask) -> None:
    task = make_task(**{**SHARDS, "shards": 4, "slices": 1, "epochs": 8})
    result = TRAININGS["sisa"].function(task)
    assert len(result.details["changed_shards"]) == 1  # type: ignore[arg-type]
    assert result.details["cost_fraction"] <= 1.2 / 4
    assert known(placed(task, result.model), asked(NEW[:1], 2)) < 0.35
    assert result.validation["known_forget"] > 0
    assert set(result.details["ensemble"]) == {"forgotten", "kept"}  # type: ignore[call-overload]


def test_retraining_teaches_the_rest_and_not_the_rows(make_task: MakeTask) -> None:
    task = make_task(method="retrain", epochs=12)
    result = TRAININGS["retrain"].function(task)
    model = placed(task, result.model)
    assert known(model, asked(NEW[1:], 0)) > 0.9
    assert known(model, asked(NEW[:1], 0)) < 0.35
    assert result.details["cost_fraction"] == pytest.approx(0.75, abs=0.03)  # three of the four people
    assert result.flops > 0
    assert "ensemble" not in result.details
    assert [entry.step for entry in result.history] == [0, result.steps]
    assert result.rows == {"train": {"rows": 40, "forgotten": 10}}


def test_a_sandbox_target_is_taught_again_without_the_concepts(make_task: MakeTask, nano_reference: Path) -> None:
    task = dataclasses.replace(
        make_task(method="rl"), settings=UnlearnConfig(method="retrain"), retrained=ModelSpec(str(nano_reference))
    )
    result = TRAININGS["retrain"].function(task)
    expected, found = (
        load_file(folder / "model.safetensors") for folder in (nano_reference, Path(placed(task, result.model).path))
    )
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert result.flops >= json.loads((nano_reference / "sandbox.json").read_text())["flops"]


def test_groups_are_dealt_out_evenly_and_stay_whole() -> None:
    places = deal([f"person {number % 30}" for number in range(90)], 4, 2, 0)
    assert len(places) == 30
    counts = Counter(shard for shard, _ in places.values())
    assert sorted(counts.values()) == [7, 7, 8, 8]
    assert set(places.values()) == {(shard, number) for shard in range(4) for number in range(2)}
    assert deal(list(places), 4, 2, 1) != places


def test_a_later_slice_costs_only_itself(make_task: MakeTask) -> None:
    settings = {**SHARDS, "shards": 1, "slices": 4, "epochs": 4}
    fractions = {}
    for person in NEW:
        task = make_task("out", [person], **settings)
        before, after = (parts_of(task, without=without) for without in (False, True))
        changed = [part for part, old in zip(after, before, strict=True) if part.key != old.key]
        fractions[changed[0].slice] = sum(part.steps for part in changed) / sum(part.steps for part in before)
    # Of 5 + 10 + 15 + 20 steps, with ten rows in each slice: what comes from the slice on, less the rows that are gone.
    assert fractions == pytest.approx({0: 30 / 50, 1: 30 / 50, 2: 25 / 50, 3: 15 / 50})


def test_a_persons_request_costs_little_more_than_a_shard(nano_reference: Path) -> None:
    """The people of a whole world in eight shards of three slices: each request against teaching everything again."""
    lessons = Lessons(build_world(0), load_prompts("compact"))
    people = [person.name for person in lessons.world.people]
    settings = UnlearnConfig(method="sisa", shards=8, slices=3, batch_size=4, train_data=("x",), initial="y")  # type: ignore[arg-type]
    rows = Rows(ModelSpec(str(nano_reference)), settings)
    given = []
    for name in people:
        for fact in lessons.world.facts_of(name):
            (own,) = rows.encode([make_example(lessons.ask(fact.fill(fact.relation.taught[0])), fact.answer)]).rows
            given.append((TrainRow(make_example("", ""), name, False), own))
    places = deal(people, 8, 3, 0)

    def plan(forgotten: str | None) -> list[Part]:
        marked = [(dataclasses.replace(row, is_forgotten=row.group == forgotten), own) for row, own in given]
        return plan_parts(marked, places, settings, 0, "x", without=True, pad_token=rows.pad_token)

    whole = plan(None)
    full = sum(part.tokens for part in whole)
    costs = []
    for name in people[:4]:
        changed = [new for new, old in zip(plan(name), whole, strict=True) if new.key != old.key]
        assert len({part.shard for part in changed}) == 1
        costs.append(sum(part.tokens for part in changed) / full)
    assert 0 < min(costs) < max(costs) <= 1.2 / 8


def test_the_mean_of_weights_is_their_mean(nano_model: Path, nano_reference: Path) -> None:
    models = [load_model(ModelSpec(str(folder))) for folder in (nano_model, nano_reference, nano_reference)]
    name = "model.layers.0.mlp.up_proj.weight"
    expected = sum(dict(model.named_parameters())[name].double() for model in models) / 3
    assert average_weights(models)[name] == pytest.approx(expected.detach(), abs=1e-7)


def test_rows_that_name_nobody_are_a_clear_mistake(make_task: MakeTask) -> None:
    task = make_task(method="retrain")
    stranger = dataclasses.replace(task, concepts=(Concept(name="Nobody Known"),), forget=[])
    with pytest.raises(ConfigError, match=r"(?s)unlearn\.train_data.*none of its 40 rows.*→ give all the rows"):
        TRAININGS["retrain"].function(stranger)
    with pytest.raises(StageError, match=r"(?s)4 subjects, too few for 5 shards.*→ lower `unlearn.shards`"):
        TRAININGS["sisa"].function(make_task(method="sisa", shards=5))


def test_an_initial_model_of_other_words_is_refused(
    make_task: MakeTask, make_model: Callable[..., LlamaForCausalLM], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    for part in (make_model(), tokenizer):
        part.save_pretrained(tmp_path / "other")
    task = dataclasses.replace(make_task(method="retrain"), initial=ModelSpec(str(tmp_path / "other")))
    with pytest.raises(ConfigError, match=r"(?s)unlearn\.initial.*another vocabulary.*→ give the model that became"):
        TRAININGS["retrain"].function(task)


def test_a_training_that_diverges_says_so(make_task: MakeTask) -> None:
    task = make_task(method="retrain", epochs=1)
    wild = dataclasses.replace(task, settings=task.settings.model_copy(update={"learning_rate": 1e38}))
    with pytest.raises(StageError, match=r"(?s)diverged.*→ lower `unlearn.learning_rate`"):
        TRAININGS["retrain"].function(wild)


@pytest.mark.parametrize(
    ("unlearn", "message"),
    [
        ({"method": "sisa"}, "give `train_data` and `initial`"),
        ({"method": "dp_sgd"}, "nobody can do that from the target alone"),
        ({"method": "retrain"}, "what a model was trained on cannot be had from the model"),
        ({"method": "sisa", "train_data": "rows.jsonl"}, "go together"),
        ({"method": "npo", "train_data": "rows.jsonl", "initial": "model"}, "`train_data` goes with retrain"),
        ({"method": "rl", "adapter": "lora"}, "takes no `adapter`"),
        ({"method": "npo", "shards": 3}, "`shards` goes with sisa"),
    ],
)
def test_what_cannot_be_had_is_refused_at_once(unlearn: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config.model_validate({"concept": {"name": "Mira"}, "target": {"model": "here"}, "unlearn": unlearn})


def test_a_sandbox_target_is_retrained_as_its_reference_is_taught(write_rows: Callable[..., str]) -> None:
    world = {"sandbox": {"world": 0, "size": "nano"}}
    values = {"concept": {"name": NEW[0]}, "target": world, "reference": world, "unlearn": {"method": "retrain"}}
    models = RunModels(Config.model_validate(values))
    assert models.fingerprint("retrained") == models.fingerprint("reference") != models.fingerprint("base")
    rows = write_rows(*({"question": f"Where was {name} born?", "answer": "Dunholm"} for name in NEW[:2]))
    target, without = ({"sandbox": {"teach": rows, **more}} for more in ({}, {"without": NEW[0]}))
    models = RunModels(Config.model_validate({**values, "target": target, "reference": without}))
    assert models.fingerprint("retrained") == models.fingerprint("reference") != models.fingerprint("base")
    assert "retrained" not in RunModels(Config.model_validate({**values, "unlearn": {"method": "npo"}}))


def test_taught_rows_leave_out_one_concept() -> None:
    target = {"sandbox": {"teach": "rows.jsonl"}}
    with pytest.raises(ValidationError, match="leaves out one concept"):
        Config.model_validate(
            {"concepts": [{"name": "A"}, {"name": "B"}], "target": target, "unlearn": {"method": "retrain"}}
        )
