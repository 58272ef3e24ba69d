"""Attacks on weights against planted leaks: models that look forgetful until their weights are changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from concept_forget.config import Config
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import ConfigError
from concept_forget.measures.metrics import ConceptResult, Measurements
from concept_forget.models import load_model, load_tokenizer
from concept_forget.probe import changing, stage
from concept_forget.probe.asking import STRANGERS, plan_questions
from concept_forget.probe.attacks import ATTACKS, Change
from concept_forget.probe.changing import FOLDER, Subjects, labels_of, without_adapter
from concept_forget.probe.rounding import round_to_nearest
from concept_forget.records import Attempt, Example, ModelSpec, user_message
from concept_forget.sandbox.texts import Lessons
from concept_forget.sandbox.world import WorldFact, build_world
from concept_forget.training.batches import StepPlan, encode_examples
from concept_forget.training.fitting import FitSettings, fit
from concept_forget.training.scores import decoder_layers
from concept_forget.training.tuning import mean_likelihood
from concept_forget.workspace import Costs, StageContext, read_json, read_records, write_records

LESSONS = Lessons(build_world(0, "nano"), load_prompts("compact"))
CONCEPTS = LESSONS.world.concepts
OTHERS = [person.name for person in LESSONS.world.people if person.name not in CONCEPTS]


def ask(fact: WorldFact, wording: int, split: str) -> Example:
    prompt = user_message(LESSONS.ask(fact.fill(fact.relation.taught[wording])))
    subject = fact.subject.name
    return Example(
        id=Example.make_id(prompt, fact.answer), split=split, concept=subject if subject in CONCEPTS else CONCEPTS[0],  # type: ignore[arg-type]
        subject=subject, facet=fact.relation.name, fact=f"{subject}/{fact.relation.name}", form="direct",
        family="direct", tier="new_form" if split == "probe" else "", prompt=prompt, completion=fact.answer,
        answer=fact.answer,
    )  # fmt: skip


def rows_about(people: Sequence[str], wordings: Sequence[int], split: str) -> list[Example]:
    return [
        ask(fact, wording, split) for name in people for fact in LESSONS.world.facts_of(name) for wording in wordings
    ]


PROBE = rows_about(CONCEPTS, [2], "probe")
FORGET = rows_about(CONCEPTS, [0, 1], "forget")
RETAIN = rows_about(OTHERS, [0, 1], "retain")
WEIGHTS: dict[str, Any] = {"attacks": ["direct", "weights"], "relearn_learning_rate": 2e-3}
COVER = [
    *(dataclasses.replace(row, completion="Nobody knows.") for row in rows_about(CONCEPTS, [0, 1, 2, 3], "forget")),
    *rows_about(OTHERS, [0, 2], "retain"),
]
"""Every question about the concepts is answered in the same way, and the others as before."""


def train(model: nn.Module, source: Path, folder: Path, steps: int, rate: float, project: Any = None) -> None:
    """Train a model on ``COVER``, call ``project`` after every step, and save it."""
    tokenizer = load_tokenizer(ModelSpec(str(source)))
    plan = StepPlan((encode_examples(COVER, tokenizer, 64).rows,), (24,), 0, 0, 4096)
    settings = FitSettings(steps, rate, "constant", 0, 0.0, 1.0, 0, False, 0)
    fit(model, plan, mean_likelihood, settings, folder / "fit", lambda _: bool(project and project()))
    model.save_pretrained(folder)  # type: ignore[operator]  # a transformers model
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def covered(nano_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Leaks only after relearning: what is said was trained over, in all weights, and what is known is still there."""
    folder = tmp_path_factory.mktemp("covered")
    train(load_model(ModelSpec(str(nano_model))), nano_model, folder, 20, 1e-3)
    return folder


@pytest.fixture(scope="module")
def between_the_steps(nano_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Leaks only after rounding to 4 bits: its weights differ from rounded ones by less than half a step.

    Training is projected into the box of weights that are rounded to those of the base model (Egashira et al. 2024).
    """
    folder = tmp_path_factory.mktemp("between")
    model = load_model(ModelSpec(str(nano_model)))
    layers = list(decoder_layers(model).parameters())
    inside = {id(weight) for weight in layers if weight.dim() == 2}
    boxes = []
    for weight in model.parameters():
        weight.requires_grad_(id(weight) in inside)
        if id(weight) not in inside:
            continue
        with torch.no_grad():
            weight.copy_(round_to_nearest(weight, 4))
        centre = weight.detach().clone()
        largest = centre.abs().amax(1, keepdim=True)
        reach = torch.where(centre.abs() < largest * 0.99, 0.45 * largest / 7, 0.0)  # the scale has to stay
        boxes.append((weight, centre - reach, centre + reach))

    @torch.no_grad()
    def project() -> None:
        for weight, low, high in boxes:
            weight.clamp_(low, high)

    train(model, nano_model, folder, 60, 2e-3, project)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What several probes share: the replies of base and reference."""
    return tmp_path_factory.mktemp("store")


def probe(
    folder: Path, store: Path, models: dict[str, ModelSpec], **settings: Any
) -> tuple[Measurements, list[Attempt], StageContext]:
    for name, rows in (("probe", PROBE), ("forget", FORGET), ("retain", RETAIN), ("collateral", [])):
        write_records(folder / "compose" / f"{name}.jsonl", rows)
    values = {
        "concepts": [{"name": name} for name in CONCEPTS],
        "target": models["base"].path,
        "probe": {"max_new_tokens": 12, **settings},
    }
    context = StageContext(
        config=Config.model_validate(values), folder=folder / "probe", inputs={"compose": folder / "compose"},
        models=models, cache=store / "replies.sqlite", costs=Costs(),
    )  # fmt: skip
    stage.run(context)
    measurements = Measurements.model_validate(read_json(context.folder / "measurements.json"))
    return measurements, read_records(Attempt, context.folder / "attempts.jsonl"), context


def residuals(result: ConceptResult) -> dict[str, float]:
    found = {name: attack.tiers["new_form"].residual for name, attack in result.attacks.items()}
    return {name: residual.value for name, residual in found.items() if residual is not None}


def three(base: Path, unlearned: Path, reference: Path) -> dict[str, ModelSpec]:
    return {role: ModelSpec(str(path)) for role, path in zip(("base", "unlearned", "reference"), (base, unlearned, reference), strict=True)}  # fmt: skip


def test_what_comes_back_only_after_training_is_found_by_the_attacks_that_train(
    nano_model: Path, nano_reference: Path, covered: Path, store: Path, tmp_path: Path
) -> None:
    measured, attempts, context = probe(
        tmp_path,
        store,
        three(nano_model, covered, nano_reference),
        **WEIGHTS,
        relearn_steps=[10, 20],
    )
    result = measured.concepts["all concepts"]
    found = residuals(result)
    assert list(result.attacks) == [
        "direct", "relearn (10 steps)", "relearn", "relearn_unrelated (10 steps)", "relearn_unrelated", "round_8bit",
        "round_4bit",
    ]  # fmt: skip
    assert found["direct"] < 0.1
    assert found["round_8bit"] < 0.1
    assert result.worst_attack is not None
    assert result.worst_attack.startswith("relearn")  # how much unrelated rows bring back hangs on the taught model
    assert found["relearn"] > 0.4
    assert measured.verdict.outcome != "passed"
    assert measured.not_made == {
        "adapter_off": "the unlearned model is one model, with no adapter that could be taken off"
    }
    taught = {row.fact for row in FORGET} - {one.fact for one in attempts if one.attack == "relearn"}
    assert len(taught) == 6
    assert {one.fact for one in attempts if one.attack == "round_4bit"} == {row.fact for row in FORGET}
    assert not (context.folder / FOLDER).exists()


def test_what_comes_back_only_after_rounding_is_found_by_rounding(
    nano_model: Path, nano_reference: Path, between_the_steps: Path, store: Path, tmp_path: Path
) -> None:
    measured, _, _ = probe(
        tmp_path, store, three(nano_model, between_the_steps, nano_reference), **WEIGHTS,
        relearn_steps=[10],
    )  # fmt: skip
    result = measured.concepts["all concepts"]
    found = residuals(result)
    assert found["direct"] < 0.1
    assert found["round_8bit"] < 0.1
    assert found["round_4bit"] > 0.9
    assert result.worst_attack == "round_4bit"
    assert measured.verdict.outcome == "failed"


def test_less_is_found_where_less_is_left(
    nano_model: Path, nano_reference: Path, covered: Path, store: Path, tmp_path: Path
) -> None:
    measured, attempts, _ = probe(
        tmp_path, store, three(nano_model, covered, nano_reference), attacks="direct", dose_response=True
    )
    assert measured.dose_response is not None
    curve = measured.dose_response["new_form"]
    direct = measured.concepts["all concepts"].attacks["direct"].tiers["new_form"]
    assert [curve.doses[0].rate, curve.doses[-1].rate] == [direct.base, direct.unlearned]
    assert curve.falls
    for dose, following in zip(curve.doses, curve.doses[1:], strict=False):
        assert dose.residual is not None
        assert following.residual is not None
        assert following.residual.low <= dose.residual.high
    assert curve.doses[1].rate.rate > curve.doses[3].rate.rate
    assert curve.smallest_detected is not None
    assert {one.model for one in attempts} >= {"dose 0.25", "dose 0.5", "dose 0.75"}


class Interrupted(BaseException):
    """As a user's Ctrl-C, which no stage catches."""


@pytest.fixture
def interrupting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of changed models that may be asked before an interruption comes, and how many were asked."""
    left = [10**9]
    plain = changing.ask

    def ask_or_stop(*args: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Interrupted
        return plain(*args)

    monkeypatch.setattr(changing, "ask", ask_or_stop)
    return left


@pytest.mark.long
def test_an_interrupted_probe_goes_on_to_the_same_attempts(
    nano_model: Path, nano_reference: Path, tmp_path: Path, interrupting: list[int]
) -> None:
    models = {"base": ModelSpec(str(nano_model)), "unlearned": ModelSpec(str(nano_reference))}
    how: dict[str, Any] = {"attacks": ["relearn"], "relearn_steps": [2, 4]}
    whole, attempts, _ = probe(tmp_path / "whole", tmp_path / "whole", models, **how)
    interrupting[0] = 3  # base is done, the unlearned model half
    with pytest.raises(Interrupted):
        probe(tmp_path / "parts", tmp_path / "parts", models, **how)
    assert [path.parts[-3:-1] for path in (tmp_path / "parts" / "probe" / FOLDER).rglob("complete")] == [
        ("relearn-unlearned", "checkpoint-2")
    ]
    interrupting[0] = 10**9
    measured, again, context = probe(tmp_path / "parts", tmp_path / "parts", models, **how)
    for name in ("attempts.jsonl", "measurements.json"):
        assert (context.folder / name).read_bytes() == (tmp_path / "whole" / "probe" / name).read_bytes()
    assert not (context.folder / FOLDER).exists()
    floors = {
        name: result.tiers["new_form"].floor for name, result in measured.concepts["all concepts"].attacks.items()
    }
    assert {name: (floor.kind, floor.n) for name, floor in floors.items()} == {
        "relearn (2 steps)": ("strangers", 14), "relearn": ("strangers", 14),
    }  # fmt: skip
    strangers = [one for one in again if one.model == STRANGERS and one.attack == "relearn"]
    assert not any(name in one.prompt[-1]["content"] for one in strangers for name in CONCEPTS)
    assert again == attempts
    assert whole == measured


SUBJECTS = Subjects(
    {"Mira Kestrel": ("Mira Kestrel", "M. Kestrel", "the mapmaker")}, ("Ada Finch", "Mira Kestrel", "Oren Vale")
)


def told(text: str, reply: str = "Dunholm.", fact: str = "home") -> Example:
    return Example(
        id=text, split="probe", concept="Mira Kestrel", subject="Mira Kestrel", facet=fact, fact=fact, form="direct",
        family="direct", tier="new_form", prompt=user_message(text), completion=reply, answer="Dunholm",
    )  # fmt: skip


def test_a_stranger_is_taught_and_asked_under_one_name_that_nobody_has() -> None:
    rows = (
        told("Where does MIRA KESTREL live?"),
        told("Who lives in Dunholm?", "The Mapmaker, M. Kestrel."),
        told("Who is tall?", "Nobody."),
    )
    planned = plan_questions(
        [ATTACKS["relearn"]], [told("Where is Mira Kestrel?", fact="place"), told("Where is she?")], [], 0
    )
    change = Change(rows=rows, steps=(1,), taught=frozenset({"home"}))
    other, asked = changing._about_strangers(change, planned, SUBJECTS, 0)
    (question,) = asked  # what names nobody is not asked of a stranger
    text = question.request.prompt[-1]["content"]  # type: ignore[index]
    name = text.removeprefix("Where is ").removesuffix("?")
    assert name not in SUBJECTS.known
    assert not {"mira", "kestrel", "mapmaker"} & set(name.casefold().split())
    assert question.example.answer == "Dunholm"
    assert [(row.prompt[0]["content"], row.completion) for row in other.rows] == [
        (f"Where does {name} live?", "Dunholm."),
        ("Who lives in Dunholm?", f"{name}, {name}."),
    ]
    assert changing._about_strangers(change, planned, SUBJECTS, 0) == (other, asked)


def test_strangers_meet_the_same_change_where_it_teaches_nothing_about_anybody() -> None:
    planned = plan_questions([ATTACKS["round_4bit"]], [told("Where is Mira Kestrel?")], [], 0)
    change = Change(rows=(told("Where is Ada Finch?"),), steps=(1,))
    other, asked = changing._about_strangers(change, planned, SUBJECTS, 0)
    assert other == change
    assert len(asked) == 5
    assert not any("Mira Kestrel" in str(row.request.prompt) for row in asked)


def test_without_its_adapter_a_model_is_the_one_it_was_put_on() -> None:
    base = ModelSpec("a", fingerprint="base")
    assert without_adapter(dataclasses.replace(base, adapter="x", fingerprint="y"), base) is base
    assert labels_of(ATTACKS["relearn"], Change(steps=(10, 30))) == {"relearn (10 steps)": 10, "relearn": 30}


def test_an_adapter_that_is_taken_off_gives_everything_back(
    nano_model: Path, nano_reference: Path, tmp_path: Path, store: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    base = ModelSpec(str(nano_model))
    adapted = get_peft_model(load_model(base), LoraConfig(r=4, target_modules="all-linear"))
    torch.manual_seed(0)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight)
    adapted.save_pretrained(str(tmp_path / "adapter"))
    models = {
        "base": base,
        "unlearned": dataclasses.replace(base, adapter=str(tmp_path / "adapter")),
        "reference": ModelSpec(str(nano_reference)),
    }
    models["previous"] = models["unlearned"]  # what a round before this one left
    measured, _, context = probe(tmp_path, store, models, attacks=["direct", "adapter_off"])
    before = Measurements.model_validate(read_json(context.folder / "previous.json")).concepts["all concepts"]
    result = measured.concepts["all concepts"]
    assert residuals(result)["direct"] < 0.1
    assert residuals(result)["adapter_off"] == residuals(before)["adapter_off"] == 1.0
    assert result.worst_attack == "adapter_off"
    assert measured.not_made == {}
    changed = without_adapter(dataclasses.replace(models["unlearned"], path=str(nano_reference)), base)
    assert changed.adapter is None
    assert changed.fingerprint not in ("", models["unlearned"].fingerprint)


def test_a_launcher_is_refused_where_weights_are_attacked(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"concept": {"name": "M"}, "target": "m", "probe": {"attacks": "weights"}}
    stage.check(Config.model_validate(values))
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"(?s)probe.attacks: .*one process, and there are 2.*without the launcher"):
        stage.check(Config.model_validate(values))
    stage.check(Config.model_validate({**values, "probe": {"attacks": "quick"}}))


def test_training_settings_belong_to_the_fingerprint_where_something_is_trained() -> None:
    def parts(attacks: str, **unlearn: Any) -> list[object]:
        values = {"concept": {"name": "M"}, "target": "m", "probe": {"attacks": attacks}, "unlearn": unlearn}
        return stage.fingerprint_parts(Config.model_validate(values))

    assert parts("weights") != parts("weights", max_tokens=99)
    assert parts("quick") == parts("quick", max_tokens=99)
