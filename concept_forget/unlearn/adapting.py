"""Where training acts: ranges of layers, and weights chosen by name; and what is written of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from concept_forget.config import UnlearnConfig
from concept_forget.errors import ConfigError
from concept_forget.training.fitting import quiet
from concept_forget.training.scores import decoder_layers
from concept_forget.workspace import read_json, write_json

RMU_LAYERS = 3
"""Layers that are trained where hidden states are steered: the one whose states count, and those below it."""


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
    settings = folder / "adapter_config.json"
    if settings.is_file():  # peft writes the names of modules, which it keeps in a set, as they come
        values = read_json(settings)
        if isinstance(values["target_modules"], list):
            write_json(settings, {**values, "target_modules": sorted(values["target_modules"])})


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
