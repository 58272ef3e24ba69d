from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom
from transformers import LlamaConfig, LlamaForCausalLM

from concept_forget.config import Config
from concept_forget.errors import ConfigError, ModelError
from concept_forget.measures.metrics import Dose, Estimate, Rate
from concept_forget.measures.statistics import difference_bounds
from concept_forget.models import load_model
from concept_forget.probe import stage
from concept_forget.probe.asking import STRANGERS
from concept_forget.probe.doses import ask_doses, measure_doses, mix_weights, model_name, smallest_detected
from concept_forget.records import Attempt, ModelSpec
from concept_forget.workspace import Costs, StageContext

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)


def attempts(leaks: dict[str, list[float]], tier: str = "new_form") -> list[tuple[Attempt, float]]:
    """One attempt of ``direct`` per model and fact."""
    return [
        (
            Attempt(
                id=f"{model}{fact}", model=model, attack="direct", family="asking", tier=tier, concept="Mira Kestrel",
                subject="Mira Kestrel", fact=str(fact), example="", sample=0, prompt=[], prefill="", reply="",
                finish_reason="stop", expected="Dunholm",
            ),
            leak,
        )
        for model, values in leaks.items()
        for fact, leak in enumerate(values)
    ]  # fmt: skip


def first(ones: int, facts: int = 40) -> list[float]:
    return [1.0] * ones + [0.0] * (facts - ones)


def curve_of(**counts: int):  # type: ignore[no-untyped-def]  # a DoseCurve
    names = {"base": "base", "quarter": "dose 0.25", "half": "dose 0.5", "most": "dose 0.75"}
    rows = attempts({names.get(name, name): first(count) for name, count in counts.items()})
    return measure_doses([attempt for attempt, _ in rows], [leak for _, leak in rows])["new_form"]


def test_the_smallest_leak_is_the_last_that_is_told_from_the_floor() -> None:
    curve = curve_of(base=38, quarter=30, half=12, most=3, unlearned=2, reference=2)
    assert [dose.alpha for dose in curve.doses] == list(ALPHAS)
    assert [round(dose.residual.value, 3) for dose in curve.doses] == [1.0, 0.778, 0.278, 0.028, 0.0]
    assert curve.smallest_detected == 0.5
    assert curve.falls
    assert (curve.floor.kind, curve.floor.rate, curve.floor.n) == ("reference", 0.05, 40)
    lower = difference_bounds(first(12), first(2)).lower
    assert curve.doses[2].lower == lower > 0 > curve.doses[3].lower


def test_without_a_reference_the_floor_is_the_strangers() -> None:
    names = [model_name(alpha) for alpha in ALPHAS]
    rows = attempts({**dict.fromkeys(names, first(20)), STRANGERS: first(4)})
    curve = measure_doses([attempt for attempt, _ in rows], [leak for _, leak in rows])["new_form"]
    assert (curve.floor.kind, curve.floor.rate) == ("strangers", 0.1)
    assert curve.smallest_detected == 1.0  # the unlearned model itself


def test_a_leak_that_rises_again_is_no_fall_and_does_not_count_as_detected() -> None:
    curve = curve_of(base=38, quarter=2, half=20, most=3, unlearned=2, reference=2)
    assert not curve.falls
    assert curve.smallest_detected == 0.0
    assert curve_of(base=2, quarter=2, half=2, most=2, unlearned=2, reference=2).smallest_detected is None
    assert curve_of(base=38, quarter=31, half=32, most=3, unlearned=2, reference=2).falls  # by one fact, by chance


def test_only_facts_count_that_every_model_was_asked() -> None:
    names = [model_name(alpha) for alpha in ALPHAS]
    rows = attempts({**{name: first(9, 10) for name in names}, "reference": first(1, 8)})
    curve = measure_doses([attempt for attempt, _ in rows], [leak for _, leak in rows])["new_form"]
    assert {dose.rate.n for dose in curve.doses} == {curve.floor.n} == {8}
    missing = [row for row in rows if row[0].model != "dose 0.5"]
    assert measure_doses([attempt for attempt, _ in missing], [leak for _, leak in missing]) == {}


def test_the_smallest_leak_is_claimed_wrongly_in_no_more_than_one_of_twenty_cases() -> None:
    draws, facts, wrong, naive = 1500, 40, 0, 0
    rng = np.random.default_rng(0)
    rate = Rate(rate=0, low=0, high=1, n=facts, attempts=facts)
    for _ in range(draws):
        floor = rng.random(facts) < 0.3
        doses = []
        for alpha, level in zip(ALPHAS, (0.95, 0.6, 0.3, 0.3, 0.3), strict=True):  # from the half on nothing is left
            own = rng.random(facts) < level
            left = Estimate(value=(own.mean() - floor.mean()) / 0.65, low=0, high=1)
            lower = difference_bounds(own.astype(float), floor.astype(float)).lower
            doses.append(Dose(alpha=alpha, rate=rate, residual=left, lower=lower))
        found = smallest_detected(doses)
        wrong += found is not None and found >= 0.5
        naive += any(dose.lower > 0 for dose in doses[2:])
    most = binom.ppf(0.999, draws, 0.05)
    assert wrong <= most < naive  # to take any that stands out would be wrong more often


@pytest.mark.parametrize("alpha", [0.25, 1.0])
def test_a_mix_lies_that_part_of_the_way_weight_by_weight(
    nano_model: Path, nano_reference: Path, tmp_path: Path, alpha: float
) -> None:
    base, other = ModelSpec(str(nano_model)), ModelSpec(str(nano_reference))
    first_weights, second = (dict(load_model(spec).named_parameters()) for spec in (base, other))
    for name, value in mix_weights(base, other, alpha).named_parameters():
        expected = (1 - alpha) * first_weights[name].double() + alpha * second[name].double()
        assert (value.double() - expected).abs().max() < 1e-6, name


def test_to_mix_with_an_adapter_is_to_scale_it(nano_model: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = ModelSpec(str(nano_model))
    adapted = get_peft_model(load_model(base), LoraConfig(r=4, lora_alpha=12, target_modules=["q_proj"]))
    torch.manual_seed(0)
    pairs = {}
    for name, module in adapted.named_modules():
        if hasattr(module, "lora_B"):
            torch.nn.init.normal_(module.lora_B["default"].weight)
            pairs[name.removeprefix("base_model.model.")] = (
                module.lora_B["default"].weight @ module.lora_A["default"].weight
            )
    adapted.save_pretrained(str(tmp_path / "adapter"))
    mixed = dict(
        mix_weights(base, dataclasses.replace(base, adapter=str(tmp_path / "adapter")), 0.25).named_parameters()
    )
    for name, value in load_model(base).named_parameters():
        delta = 0.25 * 3 * pairs[name.removesuffix(".weight")] if name.removesuffix(".weight") in pairs else 0
        assert torch.allclose(mixed[name], value + delta, atol=1e-5), name
    assert len(pairs) == 3


def test_models_of_different_shapes_have_nothing_between_them(nano_model: Path, tmp_path: Path) -> None:
    LlamaForCausalLM(
        LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    ).save_pretrained(tmp_path / "other")
    config = Config.model_validate({"concept": {"name": "Mira Kestrel"}, "target": str(nano_model)})
    models = {"base": ModelSpec(str(nano_model)), "unlearned": ModelSpec(str(tmp_path / "other"))}
    context = StageContext(config, tmp_path, {}, models, tmp_path / "replies.sqlite", Costs())
    with pytest.raises(ModelError, match=r"(?s)probe.dose_response: .*other names or shapes.*set it to false"):
        ask_doses(context, [])


def test_doses_of_an_instruction_are_refused_before_anything_is_asked() -> None:
    values = {"concept": {"name": "M"}, "target": "m", "unlearn": {"method": "in_context"}}
    stage.check(Config.model_validate(values))
    with pytest.raises(ConfigError, match=r"(?s)probe.dose_response.*in_context.*set it to false"):
        stage.check(Config.model_validate({**values, "probe": {"dose_response": True}}))
