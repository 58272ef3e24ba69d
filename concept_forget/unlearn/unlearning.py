"""Unlearning as a plain function: a model and rows in, an unlearned model and its history out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from concept_forget.config import UnlearnConfig
from concept_forget.errors import StageError
from concept_forget.models import load_model, load_tokenizer
from concept_forget.progress import track
from concept_forget.records import Example, ModelSpec, named_seed
from concept_forget.training.batches import StepPlan, TokenRows, encode_examples
from concept_forget.training.fitting import (
    FitSettings,
    StepReport,
    count_parameters,
    fit,
    forward_flops,
    last_checkpoint,
    peak_memory_bytes,
    quiet,
    step_of,
)
from concept_forget.training.references import ReferenceProvider, Stored, choose_reference, open_reference
from concept_forget.unlearn.history import Entry, chosen_step, is_over, read_history, write_history
from concept_forget.unlearn.methods import FORGET, RETAIN, Method, MethodLoss, build_method
from concept_forget.unlearn.strangers import about_strangers
from concept_forget.unlearn.validation import RETAIN_TIER, Look, Validation, ValidationRow

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

STRANGERS = 4
"""Invented names per validation question."""


@dataclass(frozen=True, slots=True)
class UnlearnResult:
    """What unlearning came to.

    ``model`` is where the unlearned model lies, its own paths relative to the folder it was written to. ``best_step``
    is the step whose weights it holds, ``steps`` the last that was trained; ``validation`` counts the rows that could
    tell something and holds their mean floor.
    """

    model: ModelSpec
    history: tuple[Entry, ...]
    steps: int
    best_step: int
    stop_reason: str
    reference: str | None
    reference_error: float | None
    rows: dict[str, dict[str, object]]
    validation: dict[str, float]
    parameters: int
    trained_parameters: int
    flops: float
    peak_memory_bytes: int


def unlearn(
    target: ModelSpec,
    forget: Sequence[Example],
    retain: Sequence[Example],
    validation: Sequence[Example],
    settings: UnlearnConfig,
    seed: int,
    folder: Path,
) -> UnlearnResult:
    """Make a model forget rows, hold others, and keep the step that does best on validation.

    Args:
        target: The model that knows the concept.
        forget: Rows to forget.
        retain: Rows that hold the rest in place; unused with ``retain: none``.
        validation: Rows of the tier ``retain`` to be kept, and rows of other tiers to be forgotten; never trained on.
            Without any to be forgotten that the model knows, the last step is kept.
        settings: Method, rates and stop rule.
        seed: Everything drawn is derived from it.
        folder: Where ``model/`` or ``adapter/``, ``history.jsonl`` and, while it runs, checkpoints are written. What an
            interrupted run left there is gone on from, to the same weights.

    Raises:
        StageError: No row is left to forget, or none to retain; or training diverged before the first look.
        ConfigError: The reference named cannot be had.
        ModelError: The model cannot be read, or has no chat template.
    """
    run = _Unlearning(target, settings, seed, folder)
    run.read_rows(forget, retain)
    run.prepare(validation)
    run.train()
    return run.publish()


class _Unlearning:
    """One run; its parts share the model, the rows and the history."""

    def __init__(self, target: ModelSpec, settings: UnlearnConfig, seed: int, folder: Path) -> None:
        self.target, self.settings, self.seed, self.folder = target, settings, seed, folder
        self.method: Method = build_method(settings)
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(target)
        self.pad_token = int(self.tokenizer.pad_token_id)
        self.model: PreTrainedModel = load_model(target)
        device = self.model.device
        self.bfloat16 = settings.dtype == "bfloat16" or (settings.dtype == "auto" and _has_bfloat16(device))
        if settings.adapter == "none" or settings.dtype == "float32":
            self.model.float()  # small updates are lost on half-precision weights
        if settings.adapter == "lora":
            self.model = _with_adapter(self.model, settings, named_seed(seed, "unlearn", "adapter"))
        self.checkpoints = folder / "checkpoints"
        self.stop = settings.stop
        self.stop_reason = f"all {settings.max_steps} steps done"

    def read_rows(self, forget: Sequence[Example], retain: Sequence[Example]) -> None:
        """Turn the rows that are trained on into tokens."""
        self.rows = (self._encode(forget), self._encode(retain if self.method.retain else ()))
        if not self.rows[FORGET].rows:
            raise StageError(_nothing_left("forget", forget, self.rows[FORGET]))
        if self.method.retain and not self.rows[RETAIN].rows:
            raise StageError(
                f"{_nothing_left('retain', retain, self.rows[RETAIN])}\n"
                "  → give rows to keep (`data.retain`, neighbours, near misses), or set `unlearn.retain: none`"
            )

    def _encode(self, examples: Sequence[Example]) -> TokenRows:
        return encode_examples(examples, self.tokenizer, self.settings.max_tokens)

    def prepare(self, examples: Sequence[Example]) -> None:
        """Ask the untrained model all that will be needed of it."""
        with self._precision():
            self.validation = Validation(self._validation_rows(examples), self.model, **self._batching())
            self.reference = self._open_reference()
        self.parameters, self.trained = count_parameters(self.model)
        if not self.validation.tells:
            self.stop = "steps"

    def _validation_rows(self, examples: Sequence[Example]) -> list[ValidationRow]:
        to_forget = [example for example in examples if example.tier != RETAIN_TIER]
        strangers = about_strangers(to_forget, STRANGERS, self.seed)
        variants = {example.id: own for example, own in zip(to_forget, strangers, strict=True)}
        rows = []
        for example in examples:
            own = self._encode([example]).rows
            if own:
                rows.append(ValidationRow(example.tier, own[0], self._encode(variants.get(example.id, [])).rows))
        return rows

    def _open_reference(self) -> ReferenceProvider | None:
        if not self.method.needs_reference:
            return None
        groups = self.method.distribution_groups
        kind = choose_reference(
            self.settings.reference,
            has_adapter=self.settings.adapter == "lora",
            vocabulary=int(self.model.config.vocab_size),
            distribution_tokens=sum(self.rows[group].answer_tokens for group in groups),
        )
        return open_reference(kind, self.model, [rows.rows for rows in self.rows], groups, **self._batching())

    def _batching(self) -> dict[str, int]:
        return {"pad_token": self.pad_token, "batch_tokens": self.settings.batch_tokens}

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bfloat16)

    def train(self) -> None:
        """Train until a stop rule holds, going on from the last checkpoint."""
        checkpoint = last_checkpoint(self.checkpoints)
        done = step_of(checkpoint) if checkpoint else 0
        self.history = read_history(self.folder / "history.jsonl", done)
        self._began = time.monotonic() - (self.history[-1].seconds if self.history else 0.0)
        self._since_look: list[StepReport] = []
        if not self.history:
            self._record(StepReport(0, {}, 0.0, 0.0))
        if self._over() or done >= self.settings.max_steps:
            return
        sizes = (
            self.settings.batch_size,
            (self.settings.retain_batch_size or self.settings.batch_size) if self.method.retain else 0,
        )
        plan = StepPlan(
            tuple(rows.rows for rows in self.rows), sizes, named_seed(self.seed, "unlearn", "rows"), **self._batching()
        )
        with track("unlearn", total=self.settings.max_steps, unit="steps") as bar:
            bar.advance(done)

            def on_step(report: StepReport) -> bool:
                bar.advance()
                return self._on_step(report)

            loss = MethodLoss(self.method, self.reference)
            result = fit(self.model, plan, loss, self._fit_settings(), self.checkpoints, on_step)
        if result.diverged:
            self._keep_what_is_good(result.diverged)

    def _fit_settings(self) -> FitSettings:
        settings = self.settings
        return FitSettings(
            max_steps=settings.max_steps,
            learning_rate=settings.learning_rate,
            schedule="constant",
            warmup_steps=settings.warmup_steps,
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
            checkpoint_every=settings.eval_every,
            bfloat16=self.bfloat16,
            seed=named_seed(self.seed, "unlearn", "fit"),
        )

    def _on_step(self, report: StepReport) -> bool:
        self._since_look.append(report)
        if report.step % self.settings.eval_every and report.step != self.settings.max_steps:
            return False
        self._record(report)
        if chosen_step(self.history, self.stop) == report.step:
            self._save(report.step)
        return self._over()

    def _record(self, report: StepReport) -> None:
        with self._precision():
            look = self.validation.look(self.model) if self.validation.tells else None
            error = self.reference.error(self.model) if isinstance(self.reference, Stored) else None
        self.history.append(self._entry(report, look, error))
        self._since_look = []
        write_history(self.folder / "history.jsonl", self.history)

    def _entry(self, report: StepReport, look: Look | None, error: float | None) -> Entry:
        def mean(name: str) -> float | None:
            values = [past.parts[name] for past in self._since_look if name in past.parts]
            return sum(values) / len(values) if values else None

        return Entry(
            step=report.step,
            loss=mean("loss"),
            forget_loss=mean("forget_loss"),
            retain_loss=mean("retain_loss"),
            validation_forget=look.forgotten if look else None,
            validation_retain=look.kept if look else None,
            validation_score=look.score if look else None,
            leak=look.leak if look else {},
            greedy=look.greedy if look else {},
            below=look.below if look else None,
            reference_error=error,
            learning_rate=report.learning_rate,
            flops=report.flops,
            seconds=round(time.monotonic() - self._began, 3),
        )

    def _over(self) -> bool:
        if not is_over(self.history, self.stop):
            return False
        best = chosen_step(self.history, self.stop)
        self.stop_reason = f"validation was best after step {best} and did not get better"
        return True

    def _keep_what_is_good(self, diverged: str) -> None:
        best = chosen_step(self.history, self.stop)
        if best is None:
            raise StageError(
                f"unlearning diverged before the first look at validation: {diverged}\n"
                "  → lower `unlearn.learning_rate` or `unlearn.eval_every`"
            )
        self.stop_reason = f"diverged: {diverged}; the weights of step {best} are kept"

    def _save(self, step: int) -> None:
        """Keep this step's weights, and those of no other."""
        kept = self.folder / f"best-{step}"
        beside = self.folder / "best.tmp"
        for stale in (beside, kept):
            shutil.rmtree(stale, ignore_errors=True)
        _save_weights(self.model, beside)
        beside.replace(kept)
        for other in self.folder.glob("best-*"):
            if other != kept:
                shutil.rmtree(other)

    def publish(self) -> UnlearnResult:
        """Give the chosen weights their final place, and tell how they came about."""
        best = chosen_step(self.history, self.stop)
        assert best is not None
        as_adapter = self.settings.adapter == "lora" and self.target.adapter is None
        place = self.folder / ("adapter" if as_adapter else "model")
        beside = self.folder / "published.tmp"
        for stale in (beside, place):
            shutil.rmtree(stale, ignore_errors=True)
        if self.settings.adapter == "lora" and not as_adapter:
            _merge_adapter(load_model(self.target), self.folder / f"best-{best}", beside)
        else:
            shutil.copytree(self.folder / f"best-{best}", beside, copy_function=_link)
        if not as_adapter:
            self.tokenizer.save_pretrained(beside)
        beside.replace(place)
        model = (
            dataclasses.replace(self.target, adapter=place.name, fingerprint="")
            if as_adapter
            else ModelSpec(path=place.name, dtype=self.target.dtype)
        )
        passes = self.validation.tokens + (self.reference.tokens if isinstance(self.reference, Stored) else 0)
        return UnlearnResult(
            model=model,
            history=tuple(self.history),
            steps=self.history[-1].step,
            best_step=best,
            stop_reason=self.stop_reason,
            reference=self.reference.kind if self.reference else None,
            reference_error=max(
                (e.reference_error for e in self.history if e.reference_error is not None), default=None
            ),
            rows={name: _row_counts(rows) for name, rows in zip(("forget", "retain"), self.rows, strict=True)},
            validation={**self.validation.counts, "floor": self.validation.floor},
            parameters=self.parameters,
            trained_parameters=self.trained,
            flops=self.history[-1].flops + forward_flops(self.parameters, passes),
            peak_memory_bytes=peak_memory_bytes(),
        )


def _has_bfloat16(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def _with_adapter(model: PreTrainedModel, settings: UnlearnConfig, seed: int) -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    targets = settings.lora.target_modules
    torch.manual_seed(seed)
    adapted: Any = get_peft_model(
        model,
        LoraConfig(
            r=settings.lora.rank,
            lora_alpha=settings.lora.alpha,
            lora_dropout=settings.lora.dropout,
            target_modules=targets if isinstance(targets, str) else list(targets),
            task_type="CAUSAL_LM",
        ),
    )
    return cast("PreTrainedModel", adapted)


def _merge_adapter(base: nn.Module, adapter: Path, out: Path) -> None:
    from peft import PeftModel

    merged = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
    _save_weights(merged, out)


def _save_weights(model: nn.Module, folder: Path) -> None:
    with quiet():
        model.save_pretrained(folder)  # type: ignore[operator]  # transformers and peft models have it


def _link(source: str, target: str) -> None:
    """The same file under another name where the file system can; weights are large."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _row_counts(rows: TokenRows) -> dict[str, object]:
    return {"rows": len(rows.rows), "answer_tokens": rows.answer_tokens, "cut": rows.cut, "left_out": list(rows.empty)}


def _nothing_left(name: str, examples: Sequence[Example], rows: TokenRows) -> str:
    if not examples:
        return f"there are no rows to {name}"
    first = next(example for example in examples if example.id in rows.empty)
    return (
        f"none of the {len(examples)} rows to {name} has an answer within `unlearn.max_tokens`, "
        f"the first being {first.id} ({first.completion[:60]!r})"
    )
