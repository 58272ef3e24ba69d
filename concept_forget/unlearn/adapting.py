"""Where training acts: adapters, ranges of layers, and weights chosen by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from concept_forget.config import LoraConfig, UnlearnConfig
from concept_forget.errors import ConfigError
from concept_forget.training.fitting import quiet
from concept_forget.training.scores import decoder_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RMU_LAYERS = 3
"""Layers that are trained where hidden states are steered: the one whose states count, and those below it."""


def with_adapter(model: PreTrainedModel, settings: UnlearnConfig, seed: int) -> PreTrainedModel:
    """The model with a fresh adapter that changes nothing yet; only the adapter is trained.

    Raises:
        ConfigError: peft finds no module of the names in ``lora.target_modules``.
    """
    from peft import get_peft_model

    torch.manual_seed(seed)
    try:
        adapted: Any = get_peft_model(model, _adapter_config(settings.adapter, settings.lora))
    except ValueError as error:
        raise ConfigError(
            f"no {settings.adapter} adapter can be put on {type(model).__name__}: {error}",
            key="unlearn.lora.target_modules",
            remedy="name modules that the model has, or `all-linear`",
        ) from error
    return cast("PreTrainedModel", adapted)


def _adapter_config(kind: str, shape: LoraConfig) -> Any:
    import peft

    targets = shape.target_modules if isinstance(shape.target_modules, str) else list(shape.target_modules)
    common: dict[str, Any] = {"target_modules": targets, "task_type": "CAUSAL_LM"}
    if kind == "ia3":
        return peft.IA3Config(feedforward_modules=[], **common)
    if kind in ("lora", "dora"):
        return peft.LoraConfig(
            r=shape.rank, lora_alpha=shape.alpha, lora_dropout=shape.dropout, use_dora=kind == "dora", **common
        )
    config = peft.LoHaConfig if kind == "loha" else peft.LoKrConfig
    return config(r=shape.rank, alpha=shape.alpha, rank_dropout=shape.dropout, **common)


def merge_adapter(base: nn.Module, adapter: Path, out: Path) -> None:
    """Write the whole model that a base and an adapter make."""
    from peft import PeftModel

    save_weights(PeftModel.from_pretrained(base, str(adapter)).merge_and_unload(), out)


def save_weights(model: nn.Module, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write a model, or an adapter alone, as safetensors.

    Args:
        model: What is written.
        folder: Where.
        weights: By the model's own names, where it does not hold them itself (``sharding.gather_weights``).
    """
    with quiet():
        model.save_pretrained(folder, state_dict=weights)  # type: ignore[operator]  # transformers and peft models do


def choose_layer(model: nn.Module, settings: UnlearnConfig) -> int | None:
    """The layer whose hidden states count, or None where none does.

    Raises:
        ConfigError: The model has no such layer.
    """
    if not settings.needs_layer:
        return None
    depth = len(decoder_layers(model))
    if settings.layer is None:
        return depth // 4
    _check_layer(settings.layer, depth, "unlearn.layer")
    return settings.layer


def choose_parameters(model: nn.Module, settings: UnlearnConfig, layer: int | None) -> None:
    """Freeze whatever is not to be trained; of an adapter, its parts outside the choice stay without effect.

    Args:
        model: With its adapter, if it gets one.
        settings: ``layers`` and ``parameters``.
        layer: The layer whose hidden states count: nothing above it has a gradient.

    Raises:
        ConfigError: A layer does not exist, or nothing is left to train.
    """
    layers = settings.layers
    if layers is None and layer is not None and settings.method in ("rmu", "adaptive_rmu"):
        layers = (max(0, layer - RMU_LAYERS + 1), layer)
    if layers is not None:
        stack = decoder_layers(model)
        for end in layers:
            _check_layer(end, len(stack), "unlearn.layers")
        inside = {id(weight) for weight in stack[layers[0] : layers[1] + 1].parameters()}
        for weight in model.parameters():
            if id(weight) not in inside:
                weight.requires_grad_(False)
    left = [name for name, weight in model.named_parameters() if weight.requires_grad]
    pattern = re.compile(settings.parameters or "")
    for name, weight in model.named_parameters():
        if not pattern.search(name):
            weight.requires_grad_(False)
    if not any(pattern.search(name) for name in left):
        raise ConfigError(
            f"no name of a weight that could be trained holds {settings.parameters!r}",
            key="unlearn.parameters" if settings.parameters else "unlearn.layers",
            remedy=f"such names are {', '.join(left[:3]) or 'none within `unlearn.layers`'}",
        )


def _check_layer(layer: int, depth: int, key: str) -> None:
    if layer >= depth:
        raise ConfigError(
            f"the target has no layer {layer}: it has {depth}, counted from 0",
            key=key,
            remedy=f"name layers from 0 to {depth - 1}",
        )
