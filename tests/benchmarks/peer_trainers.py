"""The trainers of locuslab/open-unlearning, entered from a checkout, as ``peer_speed`` needs them.

Their package is entered without its ``__init__``, which loads trainers that need more than is measured here.
"""

from __future__ import annotations

import importlib
import sys
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainingArguments

from concept_forget.training.batches import Step, TokenRow
from concept_forget.unlearn.methods import FORGET, RETAIN


def enter(source: Path) -> None:
    """Make their packages importable, without running what stands in their ``__init__``."""
    for name in ("trainer", "trainer.unlearn", "data"):
        place = source / name.replace(".", "/")
        if not place.is_dir():
            raise SystemExit(f"no checkout of open-unlearning: there is no {place}")
        package = types.ModuleType(name)
        package.__path__ = [str(place)]
        sys.modules[name] = package


def make_trainer(method: str, model: Any, tokenizer: Any, steps: Sequence[Step], **settings: Any) -> Any:
    """A trainer of theirs on the rows of these steps, with fused AdamW, that notes ``losses`` and steps' ``ends``.

    Args:
        method: ``npo+nll``, ``npo+kl`` or ``rmu``.
        model: What it trains.
        tokenizer: Its pad token is what their collator pads with.
        steps: As our own run draws them.
        settings: Further arguments for transformers' ``TrainingArguments``.
    """
    trainer_class, arguments = _trainer_class(method, model.config.num_hidden_layers)

    class Noting(trainer_class):  # type: ignore[misc, valid-type]  # known when it runs
        """Takes an argument that newer versions of transformers pass, and notes the losses."""

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            loss = super().compute_loss(model, inputs, return_outputs=return_outputs)
            self.losses.append(float(loss.detach()))
            return loss

    trainer = Noting(
        model=model,
        args=TrainingArguments(
            max_steps=len(steps), lr_scheduler_type="constant", optim="adamw_torch_fused", use_cpu=True,
            train_sampling_strategy="sequential", save_strategy="no", logging_strategy="no", report_to="none",
            remove_unused_columns=False, disable_tqdm=True, dataloader_pin_memory=False, **settings,
        ),
        train_dataset=_Rows(steps),
        data_collator=importlib.import_module("data.collators").DataCollatorForSupervisedDataset(tokenizer),
        **arguments,
    )  # fmt: skip
    trainer.losses, trainer.ends = [], []
    trainer.add_callback(_Clock(trainer.ends))
    return trainer


class _Clock(TrainerCallback):
    def __init__(self, ends: list[float]) -> None:
        self._ends = ends

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._ends.append(time.monotonic())


class _Rows(torch.utils.data.Dataset[dict[str, dict[str, Tensor]]]):
    """The rows of steps in their order, each with a retain row beside it, as their dataset gives them."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._ignored = importlib.import_module("data.utils").IGNORE_INDEX
        self._pairs: list[tuple[TokenRow, TokenRow]] = []
        for step in steps:
            items = [item for batch in step.batches for item in batch.items]
            drawn = [[item.row for item in items if item.group == group] for group in (FORGET, RETAIN)]
            self._pairs += zip(*drawn, strict=True)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> dict[str, dict[str, Tensor]]:
        return {
            name: {
                "input_ids": torch.tensor(row.tokens),
                "labels": torch.tensor([self._ignored] * row.answer_start + list(row.answer)),
            }
            for name, row in zip(("forget", "retain"), self._pairs[index], strict=True)
        }


def _trainer_class(method: str, layers: int) -> tuple[type, dict[str, Any]]:
    """A trainer of theirs and its arguments: those of its file in ``configs/trainer``."""
    if method != "rmu":
        module = importlib.import_module("trainer.unlearn.npo")
        return module.NPO, {"beta": 0.1, "alpha": 1.0, "gamma": 1.0, "retain_loss_type": method[4:].upper()}
    stub: Any = types.ModuleType("deepspeed")
    stub.DeepSpeedEngine = type("DeepSpeedEngine", (), {})
    importlib.import_module("trainer.unlearn.grad_diff")  # before the stub: it asks whether deepspeed is there
    sys.modules["deepspeed"] = stub
    try:
        module = importlib.import_module("trainer.unlearn.rmu")
    finally:
        del sys.modules["deepspeed"]
    layer = layers // 4
    trained = "|".join(str(number) for number in range(max(0, layer - 2), layer + 1))
    return module.RMU, {
        "gamma": 1.0, "alpha": 1, "steering_coeff": 2, "retain_loss_type": "EMBED_DIFF",
        "module_regex": rf"model\.layers\.{layer}",
        "trainable_params_regex": [rf"model\.layers\.({trained})\.mlp\.down_proj\.weight"],
    }  # fmt: skip
