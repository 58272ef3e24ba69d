"""Adapters that are trained in the place of a model's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch

from concept_forget.config import LoraConfig
from concept_forget.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def with_adapter(model: PreTrainedModel, kind: str, shape: LoraConfig, seed: int) -> PreTrainedModel:
    """The model with a fresh adapter that changes nothing yet; only the adapter is trained.

    Args:
        model: What it is put on.
        kind: lora, dora, loha, lokr or ia3.
        shape: Its shape, and the modules that get one.
        seed: Of its first weights.

    Raises:
        ConfigError: peft finds no module of the names in ``lora.target_modules``.
    """
    from peft import get_peft_model

    torch.manual_seed(seed)
    try:
        adapted: Any = get_peft_model(model, _adapter_config(kind, shape))
    except ValueError as error:
        raise ConfigError(
            f"no {kind} adapter can be put on {type(model).__name__}: {error}",
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
