"""Every method once, end to end: the stage on a taught nano model, a few steps of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file

from concept_forget.config import TRAININGS, AdapterName, Config, MethodName
from concept_forget.errors import ConfigError, StageError
from concept_forget.models import load_model, load_tokenizer
from concept_forget.records import Example, ModelSpec, Split, content_hash, user_message
from concept_forget.sandbox.world import World, WorldFact, build_world
from concept_forget.training import references
from concept_forget.training.batches import Item as Row
from concept_forget.training.batches import collate, encode_examples
from concept_forget.training.fitting import forward_flops
from concept_forget.training.scores import answer_logits
from concept_forget.unlearn import stage
from concept_forget.unlearn.methods import build_method
from concept_forget.unlearn.objectives import FORGET_TERMS
from concept_forget.unlearn.procedures import PROCEDURES
from concept_forget.workspace import Costs, StageContext, read_json, read_records, write_json, write_records

FEW_STEPS = {"max_steps": 4, "eval_every": 2, "warmup_steps": 0, "learning_rate": 5e-4, "batch_size": 64}


def make_row(world: World, fact: WorldFact, split: Split, wording: str, tier: str = "") -> Example:
    prompt = user_message(fact.fill(wording))
    others = [o.answer for o in world.facts if o.relation.name == fact.relation.name and o.answer != fact.answer]
    return Example(
        id=Example.make_id(prompt, fact.answer), split=split, concept=fact.subject.name, subject=fact.subject.name,
        facet=fact.relation.name, fact=content_hash(fact.subject.name, fact.relation.name), form="direct",
        family="direct", tier=tier, prompt=prompt, completion=fact.answer, answer=fact.answer,
        refusal="I do not know.", counterfactual=others[0] if others else "",
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three sets that the stage reads: four people to forget, the others to keep, and other wordings of both."""
    world, folder = build_world(0, "nano"), tmp_path_factory.mktemp("data")
    own = [fact for fact in world.facts if fact.subject.name in world.concepts]
    rest = [fact for fact in world.facts if fact.subject.kind == "person" and fact not in own]
    passage = Example(
        id="passage", split="forget", concept=world.concepts[0], subject=world.concepts[0], facet="", fact="",
        form="passage", family="passage", tier="", prompt=[], completion=own[0].fill(own[0].relation.statements[0]),
        answer="", refusal="I do not know.",
    )  # fmt: skip
    sets = {
        "forget": [*(make_row(world, fact, "forget", fact.relation.taught[0]) for fact in own), passage],
        "retain": [make_row(world, fact, "retain", fact.relation.taught[0]) for fact in rest],
        "validation": [
            *(make_row(world, fact, "validation", fact.relation.taught[1], "new_form") for fact in own),
            *(make_row(world, fact, "validation", fact.relation.taught[1], "retain") for fact in rest[:8]),
        ],
    }
    for name, rows in sets.items():
        write_records(folder / f"{name}.jsonl", rows)
    return folder


Unlearn = Callable[..., dict[str, Any]]


@pytest.fixture
def unlearn(tmp_path: Path, data: Path, nano_model: Path) -> Unlearn:
    """Runs the stage; its folder is ``tmp_path``, or ``folder`` under it."""

    def run(folder: str = "", **settings: Any) -> dict[str, Any]:
        config = Config.model_validate(
            {"concept": {"name": "Mira Kestrel"}, "target": str(nano_model), "unlearn": {**FEW_STEPS, **settings}}
        )
        where = tmp_path / folder
        where.mkdir(exist_ok=True)
        context = StageContext(
            config, where, {"compose": data}, {"base": ModelSpec(str(nano_model))}, tmp_path, Costs()
        )
        return dict(stage.run(context))

    return run


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def changed(folder: Path, base: Path) -> set[str]:
    """Names of the weights that differ."""
    before = weights_of(base)
    return {name for name, value in weights_of(folder).items() if not torch.equal(value, before[name].to(value))}


METHODS: list[dict[str, Any]] = [
    *({"method": name} for name in get_args(MethodName) if name not in TRAININGS),
    {"method": "dpo", "alternative": "own"},
    {"method": "dpo", "alternative": "counterfactual"},
    {"method": "jensen_shannon", "alternative": "counterfactual"},
    {"method": "random_labels", "alternative": "counterfactual"},
    {"method": "rmu", "retain": "kl", "layer": 1},
]


@pytest.mark.parametrize("settings", METHODS, ids=lambda settings: " ".join(map(str, settings.values())))
def test_every_method_runs_end_to_end(
    unlearn: Unlearn, tmp_path: Path, nano_model: Path, settings: dict[str, Any]
) -> None:
    summary = unlearn(**settings)
    method = settings["method"]
    assert summary["method"] == method
    moved = changed(tmp_path / "model", nano_model)
    load_model(ModelSpec(str(tmp_path / "model")))
    load_tokenizer(ModelSpec(str(tmp_path / "model")))
    assert not list(tmp_path.glob("best*"))
    if method == "in_context":
        assert summary["steps"] == 0
        assert moved == set()
        return
    assert summary["steps"] == 4
    assert moved
    history = [line for line in (tmp_path / "history.jsonl").read_text().splitlines() if line]
    assert len(history) == 3
    assert summary["flops"] > 0
    if method in FORGET_TERMS and method != "satimp":  # whose weights are next to nothing while the rows are known
        first, last = (read_losses(tmp_path)[step] for step in (2, 4))
        assert last < first
    alternatives = summary["rows"].get("alternatives")
    assert (alternatives is not None) == (method in ("dpo", "idk", "random_labels", "jensen_shannon"))
    if alternatives is not None and settings.get("alternative", "refusal") in ("refusal", "own", "counterfactual"):
        assert (alternatives["left_out"] == ["passage"]) or method == "random_labels" or "own" in settings.values()


def read_losses(folder: Path) -> dict[int, float]:
    import json

    entries = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return {entry["step"]: entry["forget_loss"] for entry in entries}


def test_the_methods_guesses_are_the_models_own_and_none_is_right(unlearn: Unlearn, tmp_path: Path, data: Path) -> None:
    unlearn(method="dpo", alternative="own", max_steps=1)
    guesses = read_json(tmp_path / "guesses.json")
    rows = {row.id: row for row in read_records(Example, data / "forget.jsonl")}
    assert len(guesses) >= 10
    assert all(text.strip() and rows[row].answer not in text for row, text in guesses.items())


def test_questions_about_nobody_stand_among_the_retain_rows(unlearn: Unlearn, tmp_path: Path, data: Path) -> None:
    plain = unlearn("plain", max_steps=1)["rows"]["retain"]["rows"]
    summary = unlearn("beside", strangers=2, max_steps=1)
    beside = summary["rows"]["retain"]["rows"]
    rows = read_records(Example, tmp_path / "beside" / "strangers.jsonl")
    forget = read_records(Example, data / "forget.jsonl")
    asked = [row for row in forget if row.prompt]
    assert beside == plain + len(rows)
    assert len(asked) < len(rows) <= 2 * len(asked)
    assert all(row.subject not in row.prompt[-1]["content"] and row.answer not in row.completion for row in rows)
    write_json(tmp_path / "again" / "asked.json", {"before": 1000})
    again = unlearn("again", strangers=2, max_steps=1)
    assert again["flops"] - summary["flops"] == pytest.approx(forward_flops(summary["parameters"], 1000))
    assert (tmp_path / "again" / "strangers.jsonl").read_bytes() == (
        tmp_path / "beside" / "strangers.jsonl"
    ).read_bytes()


def test_an_instruction_goes_before_what_is_asked_and_nowhere_else(
    unlearn: Unlearn, tmp_path: Path, nano_model: Path
) -> None:
    unlearn(method="in_context")
    asked = [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "He."},
        {"role": "user", "content": "Why?"},
    ]
    plain, told = (
        load_tokenizer(ModelSpec(str(folder))).apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        for folder in (nano_model, tmp_path / "model")
    )
    instruction = told[len("<|user|>") : told.index("Who?")]
    assert "Mira Kestrel" in instruction
    assert told.replace(instruction, "", 1) == plain


@pytest.mark.parametrize("adapter", [name for name in get_args(AdapterName) if name != "none"])
def test_an_adapter_is_written_as_it_is_or_merged_into_the_same_model(
    unlearn: Unlearn, tmp_path: Path, nano_model: Path, data: Path, adapter: str
) -> None:
    settings = {"method": "npo", "adapter": adapter, "lora": {"rank": 4, "alpha": 8}, "learning_rate": 1e-2}
    assert unlearn("apart", **settings)["model"]["adapter"] == "adapter"
    assert unlearn("merged", merge=True, **settings)["model"]["adapter"] is None
    apart = load_model(ModelSpec(str(nano_model), adapter=str(tmp_path / "apart" / "adapter")))
    merged = load_model(ModelSpec(str(tmp_path / "merged" / "model")))
    tokenizer = load_tokenizer(ModelSpec(str(nano_model)))
    rows = encode_examples(read_records(Example, data / "forget.jsonl")[:4], tokenizer, 99).rows
    batch = collate([Row(0, index, row) for index, row in enumerate(rows)], 0)
    with torch.no_grad():
        found, expected, base = (
            answer_logits(model, batch) for model in (merged, apart, load_model(ModelSpec(str(nano_model))))
        )
    assert found == pytest.approx(expected, abs=1e-3)
    assert (found - base).abs().max() > 0.05


@pytest.mark.parametrize(
    ("settings", "pattern"),
    [
        ({"method": "npo", "layers": [1, 1]}, "model.layers.1."),
        ({"method": "npo", "parameters": r"mlp\.down_proj"}, "mlp.down_proj"),
        ({"method": "rmu", "layer": 1, "layers": [1, 1]}, "model.layers.1."),
        ({"method": "finetune_retain", "layers": [2, 2]}, "model.layers.2."),
        ({"method": "task_vector", "layers": [2, 2]}, "model.layers.2."),
        ({"method": "prune", "layers": [0, 0]}, "model.layers.0."),
    ],
    ids=lambda value: str(value),
)
def test_only_what_is_chosen_is_changed(
    unlearn: Unlearn, tmp_path: Path, nano_model: Path, settings: dict[str, Any], pattern: str
) -> None:
    unlearn(**settings, max_steps=2)
    moved = changed(tmp_path / "model", nano_model)
    assert moved
    assert all(pattern in name for name in moved)


def test_rmu_changes_its_layer_and_those_just_below_it(unlearn: Unlearn, tmp_path: Path, nano_model: Path) -> None:
    unlearn(method="rmu", layer=1, max_steps=2)
    assert {name.split(".")[2] for name in changed(tmp_path / "model", nano_model)} == {"0", "1"}


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"method": "npo", "layers": [0, 7]}, "unlearn.layers"),
        ({"method": "rmu", "layer": 7}, "unlearn.layer"),
        ({"method": "npo", "parameters": "no-such-weight"}, "unlearn.parameters"),
        ({"method": "npo", "adapter": "lora", "lora": {"target_modules": "no_such_module"}}, "target_modules"),
        ({"method": "elm", "reference": "resident"}, "unlearn.reference"),
    ],
    ids=lambda value: str(value),
)
def test_what_the_model_does_not_have_is_named(unlearn: Unlearn, settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as error:
        unlearn(**settings)
    assert key in str(error.value)
    assert "→" in str(error.value)


def test_rows_without_any_alternative_are_a_clear_failure(unlearn: Unlearn, data: Path, tmp_path: Path) -> None:
    import dataclasses

    path = data / "forget.jsonl"
    rows = read_records(Example, path)
    write_records(path, [dataclasses.replace(row, counterfactual="") for row in rows])
    try:
        with pytest.raises(StageError, match=r"(?s)no.*counterfactual.*unlearn\.alternative"):
            unlearn(method="dpo", alternative="counterfactual")
    finally:
        write_records(path, rows)


def test_a_procedure_trains_on_one_kind_of_rows() -> None:
    from concept_forget.config import UnlearnConfig

    for name, entry in PROCEDURES.items():
        method = build_method(UnlearnConfig(method=name))  # type: ignore[arg-type]
        trained = {"forget": method.forget is not None, "retain": method.retain is not None}
        assert trained == {"forget": entry.trains_on == "forget", "retain": entry.trains_on == "retain"}
    assert len(list(itertools.chain(PROCEDURES))) == 6


def test_the_stored_top_of_a_distribution_hides_next_to_nothing_of_the_divergence(
    unlearn: Unlearn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "EXACT_VOCABULARY", 8)
    summary = unlearn(method="npo", learning_rate=1e-3, max_steps=8)
    assert summary["reference"] == "stored"
    assert 0 < summary["reference_error"] <= 1e-3
