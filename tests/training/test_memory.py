"""The estimate of memory, against what the parts of it add up to."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import safe_open
from transformers import LlamaForCausalLM

from concept_forget.training.memory import MemoryEstimate, estimate_memory, read_shapes

SETTINGS = {
    "layers": None, "parameters": None, "rank": None, "weight_bytes": 4, "copies": 1, "batch_tokens": 100,
    "half_activations": False, "checkpointed": False,
}  # fmt: skip


@pytest.fixture
def folder(model: LlamaForCausalLM, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path)
    return tmp_path


def estimate(folder: Path, **changes: object) -> MemoryEstimate:
    return estimate_memory(read_shapes(folder), **{**SETTINGS, **changes})  # type: ignore[arg-type]


def test_shapes_are_read_without_the_weights(folder: Path) -> None:
    with safe_open(folder / "model.safetensors", "pt") as file:
        expected = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert read_shapes(folder) == expected


def test_every_weight_has_its_gradient_and_two_moments(folder: Path, model: LlamaForCausalLM) -> None:
    count = sum(weight.numel() for weight in model.parameters())
    found = estimate(folder)
    assert (found.weights, found.training) == (4 * count, 12 * count)
    assert estimate(folder, copies=2, weight_bytes=2).weights == 4 * count
    assert found.total == found.weights + found.training + found.activations


def test_what_is_not_trained_has_none(folder: Path, model: LlamaForCausalLM) -> None:
    layer = sum(weight.numel() for weight in model.model.layers[1].parameters())
    assert estimate(folder, layers=(1, 1)).training == 12 * layer
    down = model.model.layers[0].mlp.down_proj.weight.numel()
    assert estimate(folder, parameters=r"down_proj").training == 12 * 2 * down


def test_a_process_that_holds_a_part_has_that_and_what_is_gathered(folder: Path, model: LlamaForCausalLM) -> None:
    count = sum(weight.numel() for weight in model.parameters())
    layer = sum(weight.numel() for weight in model.model.layers[0].parameters())
    outside = count - len(model.model.layers) * layer
    found = estimate(folder, parts=4)
    assert (found.weights, found.training) == (count + 4 * (outside + 2 * layer), 3 * count)
    assert found.activations == estimate(folder).activations


def test_an_adapter_is_as_large_as_its_rank_says(folder: Path, model: LlamaForCausalLM) -> None:
    from peft import LoraConfig, get_peft_model

    base = sum(weight.numel() for weight in model.parameters())
    found = estimate(folder, rank=4)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    trained = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    assert found.training == 12 * trained
    assert found.weights == 4 * (base + trained)


def test_checkpointing_and_half_precision_keep_less(folder: Path) -> None:
    whole = estimate(folder).activations
    assert estimate(folder, half_activations=True).activations < whole
    assert estimate(folder, checkpointed=True).activations < whole
    assert estimate(folder, batch_tokens=200).activations == 2 * whole
