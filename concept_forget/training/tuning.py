"""Fine-tuning on rows, in an adapter, as far as somebody asks: what an attacker does who has the weights."""

from __future__ import annotations

import gc
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from concept_forget.config import LoraConfig
from concept_forget.errors import ModelError, StageError
from concept_forget.models import load_model, load_tokenizer
from concept_forget.progress import track_steps
from concept_forget.records import Example, ModelSpec, named_seed
from concept_forget.training.adapters import with_adapter
from concept_forget.training.batches import MicroBatch, Step, StepPlan, encode_examples
from concept_forget.training.fitting import (
    FitSettings,
    Share,
    StepReport,
    fit,
    last_checkpoint,
    step_of,
    trains_in_bfloat16,
)
from concept_forget.training.scores import answer_logits, answers_of, target_logprobs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS_PER_STEP = 16
WARMUP_STEPS = 5
_RATE = 0.012


@dataclass(frozen=True, slots=True)
class Tuning:
    """How rows are taught.

    Args:
        learning_rate: AdamW's; None: ``usual_rate`` of the model's width.
        batch_tokens: Padded tokens that pass through the model at once.
        max_tokens: Longer rows lose their end.
        dtype: ``bfloat16``, ``float32``, or ``auto``.
        gradient_checkpointing: See ``FitSettings``.
        seed: Of the adapter's first weights and of the order of the rows.
    """

    learning_rate: float | None
    batch_tokens: int
    max_tokens: int
    dtype: str
    gradient_checkpointing: bool
    seed: int


def usual_rate(width: int) -> float:
    """A learning rate for an adapter of LoRA on a model whose hidden states have this width: 0.012 / √width.

    That is 1.9e-4 at a width of 4096 and 1.3e-4 at 8192, where Dettmers et al. (2023, QLoRA) took 2e-4 and 1e-4, and
    1.1e-3 at the sandbox's 128, at which most came back there: at 4e-3 a model that had forgotten nothing lost a
    quarter of the facts.
    """
    return _RATE / math.sqrt(width)


def mean_likelihood(model: nn.Module, batch: MicroBatch, step: Step) -> Share:
    """Negative log-likelihood of the answers, the mean over all answer tokens of the step."""
    logits = answer_logits(model, batch)
    loss = -target_logprobs(logits, answers_of(batch, logits.device).targets).sum() / sum(step.tokens)
    return Share(loss, {})


class Tuned:
    """A model that learns rows as far as it is asked to, and goes on from there when it is asked for more.

    Nothing is loaded before. After each stretch a checkpoint is written, so that a later process goes on from the last
    one to the very same weights.

    Args:
        spec: The model to begin with.
        rows: What it is taught: groups of rows, from which each step draws equal numbers.
        tuning: How.
        folder: For checkpoints; ``close`` removes it.
    """

    def __init__(self, spec: ModelSpec, rows: Sequence[Sequence[Example]], tuning: Tuning, folder: Path) -> None:
        self._spec, self._rows, self._tuning, self._folder = spec, rows, tuning, folder
        self._model: Any = None  # a peft model
        self._steps = 0
        self.flops = 0.0

    def until(self, steps: int) -> PreTrainedModel:
        """The model after so many steps; the same object each time, so it is what it was last asked to be.

        Args:
            steps: Optimiser steps since the beginning, no fewer than the time before.

        Raises:
            StageError: The loss became no number, or no row has an answer within ``max_tokens``.
            ModelError: The model cannot be read, or has no chat template.
        """
        assert steps >= self._steps
        if self._model is None:
            self._open()
        if steps > self._steps:
            self._train(steps)
        model: PreTrainedModel = self._model.get_base_model()
        return model

    def close(self) -> None:
        """Drop the model and what was written of it."""
        self._model = None
        gc.collect()
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self) -> None:
        tokenizer = load_tokenizer(self._spec)
        encoded = [encode_examples(group, tokenizer, self._tuning.max_tokens).rows for group in self._rows]
        if not encoded[0]:
            raise StageError(
                f"none of the {len(self._rows[0])} rows to relearn has an answer within `unlearn.max_tokens`\n"
                "  → raise `unlearn.max_tokens`, or leave these attacks out of `probe.attacks`"
            )
        groups = tuple(rows for rows in encoded if rows)
        model = load_model(self._spec)
        if self._tuning.dtype == "float32":
            model.float()
        self._model = with_adapter(model, "lora", LoraConfig(), named_seed(self._tuning.seed, "tuning", "adapter"))
        assert tokenizer.pad_token_id is not None
        self._plan = StepPlan(
            groups, (ROWS_PER_STEP // len(groups),) * len(groups), named_seed(self._tuning.seed, "tuning", "rows"),
            int(tokenizer.pad_token_id), self._tuning.batch_tokens,
        )  # fmt: skip

    def _train(self, steps: int) -> None:
        checkpoint = last_checkpoint(self._folder)
        if checkpoint is not None and step_of(checkpoint) > steps:
            shutil.rmtree(self._folder)
        with track_steps("relearn") as show:

            def on_step(report: StepReport) -> bool:
                show(report.step, steps)
                return False

            result = fit(self._model, self._plan, mean_likelihood, self._fit_settings(steps), self._folder, on_step)
        if result.diverged:
            raise StageError(
                f"relearning {self._spec.path} came to nothing: {result.diverged}\n"
                "  → lower `probe.relearn_learning_rate`"
            )
        self._steps, self.flops = steps, result.flops

    def _fit_settings(self, steps: int) -> FitSettings:
        tuning = self._tuning
        return FitSettings(
            max_steps=steps,
            learning_rate=tuning.learning_rate or usual_rate(_width(self._model)),
            schedule="constant",  # so that what a step does hangs on no later one
            warmup_steps=WARMUP_STEPS,
            weight_decay=0.0,
            max_grad_norm=1.0,
            checkpoint_every=steps,
            bfloat16=trains_in_bfloat16(tuning.dtype),
            seed=named_seed(tuning.seed, "tuning", "fit"),
            gradient_checkpointing=tuning.gradient_checkpointing,
        )


def _width(model: Any) -> int:
    width = getattr(model.config.get_text_config(), "hidden_size", None)
    if width is None:
        raise ModelError(
            f"the config of a {model.config.model_type!r} model tells no hidden_size",
            remedy="set `probe.relearn_learning_rate`",
        )
    return int(width)
