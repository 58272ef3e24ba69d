"""Unlearning as a plain function: a model and rows in, an unlearned model and its history out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from concept_forget.config import UnlearnConfig
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import StageError
from concept_forget.models import load_model, load_tokenizer
from concept_forget.progress import track
from concept_forget.records import Example, ModelSpec, named_seed
from concept_forget.training.adapters import with_adapter
from concept_forget.training.batches import StepPlan
from concept_forget.training.fitting import (
    FitSettings,
    StepReport,
    count_parameters,
    fit,
    forward_flops,
    last_checkpoint,
    peak_memory_bytes,
    step_of,
    training_flops,
    trains_in_bfloat16,
)
from concept_forget.training.processes import from_first, is_main_process, is_sharded, wait_for_everyone
from concept_forget.training.references import Choice, ReferenceProvider, Stored, choose_reference, open_reference
from concept_forget.training.sharding import gather_weights, shard
from concept_forget.unlearn.adapting import (
    choose_layer,
    choose_parameters,
    merge_adapter,
    save_weights,
)
from concept_forget.unlearn.editing import change_after, change_before, instruct
from concept_forget.unlearn.history import Entry, StopRule, chosen_step, read_history, why_over, write_history
from concept_forget.unlearn.methods import ALTERNATIVE, FORGET, RETAIN, Method, MethodLoss, build_method
from concept_forget.unlearn.own_words import OwnWords
from concept_forget.unlearn.procedures import PROCEDURES
from concept_forget.unlearn.result import UnlearnResult
from concept_forget.unlearn.rows import RowReader, validation_rows
from concept_forget.unlearn.validation import Look, Validation

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PROMPTS = "unlearn"
"""The set of wordings that methods use: ``in_context``, and ``elm``'s two contexts."""


def unlearn(
    target: ModelSpec,
    forget: Sequence[Example],
    retain: Sequence[Example],
    validation: Sequence[Example],
    settings: UnlearnConfig,
    seed: int,
    folder: Path,
    reference: ModelSpec | None = None,
    origin: ModelSpec | None = None,
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
        reference: A model that never learned the concept, for ``stop: reference``.
        origin: The model from which rounds of unlearning began: reference scores, validation levels and answers about
            strangers are its own, so that what each round costs does not add up unseen. None: the target.

    Raises:
        StageError: No row is left to forget, or none to retain; or training diverged before the first look.
        ConfigError: The reference named cannot be had.
        ModelError: The model cannot be read, or has no chat template.
    """
    run = _Unlearning(target, origin or target, settings, seed, folder)
    run.read_rows(forget, retain)
    run.prepare(validation, reference)
    run.train()
    return run.publish()


class _Unlearning:
    """One run; its parts share the model, the rows and the history."""

    def __init__(self, target: ModelSpec, origin: ModelSpec, settings: UnlearnConfig, seed: int, folder: Path) -> None:
        self.target, self.origin, self.settings, self.seed, self.folder = target, origin, settings, seed, folder
        self.method: Method = build_method(settings)
        self.procedure = PROCEDURES.get(settings.method)
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(target)
        self.pad_token = int(self.tokenizer.pad_token_id)
        self.prompts = load_prompts(PROMPTS)
        self.reader = RowReader(self.method, settings, self.tokenizer, self.prompts, seed)
        self.model: PreTrainedModel = load_model(target, stay_in_memory=is_sharded())
        self.bfloat16 = trains_in_bfloat16(settings.dtype)
        if settings.adapter == "none" or settings.dtype == "float32":
            self.model.float()  # small updates are lost on half-precision weights
        if settings.adapter != "none":
            self.model = with_adapter(
                self.model, settings.adapter, settings.lora, named_seed(seed, "unlearn", "adapter")
            )
        self.layer = choose_layer(self.model, settings)
        choose_parameters(self.model, settings, self.layer)
        shard(self.model, bfloat16=self.bfloat16)
        self.checkpoints = folder / "checkpoints"
        self.stop = StopRule(settings.stop, settings.stop_level, settings.retain_limit)
        self.stop_reason = f"all {settings.max_steps} steps done"
        self.extra_flops = 0.0
        self.own_words = OwnWords(self.origin, folder, seed, settings.batch_tokens)

    def read_rows(self, forget: Sequence[Example], retain: Sequence[Example]) -> None:
        """Turn the rows that are trained on into tokens."""
        self.concepts = sorted({example.concept for example in forget})
        beside = self.own_words.strangers(forget, self.settings.strangers) if self.settings.strangers else []
        self.rows = self.reader.read(forget, [*retain, *beside], lambda: self.own_words.guesses(forget))

    def prepare(self, examples: Sequence[Example], reference: ModelSpec | None) -> None:
        """Ask the untrained model all that will be needed of it, and change its weights where that comes first."""
        with self._precision():
            rows = validation_rows(examples, self.reader.encode, self.seed)
            level = load_model(reference, stay_in_memory=is_sharded()) if reference is not None else None
            if level is not None:
                shard(level, bfloat16=self.bfloat16)
            before = self.model if self.origin == self.target else load_model(self.origin)
            self.validation = Validation(rows, before, **self._batching(), floor=level)
            self.reference = self._open_reference(before)
        self.parameters, self.trained = count_parameters(self.model)
        if not self.validation.tells or (self.procedure and self.procedure.trains_on != "retain"):
            self.stop = dataclasses.replace(self.stop, kind="steps")
        if self.procedure and self.procedure.changes == "before":
            with self._precision():
                tokens = change_before(
                    self.model, self.procedure, self.settings, (self.rows.groups[FORGET], self.rows.groups[RETAIN]),
                    named_seed(self.seed, "unlearn", "change"), **self._batching(),
                )  # fmt: skip
            self.extra_flops += training_flops(self.parameters, self.trained, tokens)

    def _open_reference(self, before: PreTrainedModel) -> ReferenceProvider | None:
        if not self.method.needs_reference:
            return None
        wanted = self.method.wanted(self.layer, self.rows.steering)
        has_adapter = self.settings.adapter != "none" and before is self.model
        kind = choose_reference(
            self.settings.reference,
            has_adapter=has_adapter,
            vocabulary=int(self.model.config.vocab_size),
            distribution_tokens=self.rows.answer_tokens(wanted.distributions),
            steered=wanted.steering is not None,
        )
        exact: Choice | None = None
        if self.settings.reference == "auto" and wanted.steering is None:
            exact = "adapter_off" if has_adapter else None if is_sharded() else "resident"
        return open_reference(kind, before, self.rows.groups, wanted, **self._batching(), exact=exact)

    def _batching(self) -> dict[str, int]:
        return {"pad_token": self.pad_token, "batch_tokens": self.settings.batch_tokens}

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bfloat16)

    def train(self) -> None:
        """Train until a stop rule holds, going on from the last checkpoint."""
        checkpoint = last_checkpoint(self.checkpoints)
        done = step_of(checkpoint) if checkpoint else 0
        self.history = from_first(read_history(self.folder / "history.jsonl", done))  # which it is about to write to
        self._began = time.monotonic() - (self.history[-1].seconds if self.history else 0.0)
        self._since_look: list[StepReport] = []
        if not self.history:
            self._record(StepReport(0, {}, 0.0, 0.0))
        if self.procedure and self.procedure.trains_on == "nothing":
            self.stop_reason = "nothing is trained"
            return
        if self._over() or done >= self.settings.max_steps:
            return
        with track("unlearn", total=self.settings.max_steps, unit="steps") as bar:
            bar.advance(done)

            def on_step(report: StepReport) -> bool:
                bar.advance()
                return self._on_step(report)

            loss = MethodLoss(self.method, self.reference, self.layer, self._direction())
            result = fit(self.model, self._plan(), loss, self._fit_settings(), self.checkpoints, on_step)
        if result.diverged:
            best = self._best_or_fail(f"it diverged, {result.diverged}", "lower")
            self.stop_reason = f"diverged: {result.diverged}; the weights of step {best} are kept"

    def _plan(self) -> StepPlan:
        method, size = self.method, self.settings.batch_size
        sizes = (
            size if method.reads_answers else 0,
            (self.settings.retain_batch_size or size) if method.retain else 0,
            size if method.needs_alternatives else 0,
        )
        follows = {ALTERNATIVE: FORGET} if method.is_paired else {}
        return StepPlan(
            self.rows.groups, sizes, named_seed(self.seed, "unlearn", "rows"), **self._batching(), follows=follows
        )

    def _direction(self) -> torch.Tensor | None:
        """The direction to which hidden states are turned: uniform on the sphere, (width,)."""
        if self.layer is None:
            return None
        generator = torch.Generator().manual_seed(named_seed(self.seed, "unlearn", "direction"))
        return nn.functional.normalize(torch.randn(int(self.model.config.hidden_size), generator=generator), dim=0)

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
            gradient_checkpointing=settings.gradient_checkpointing,
        )

    def _on_step(self, report: StepReport) -> bool:
        self._since_look.append(report)
        if report.step % self.settings.eval_every and report.step != self.settings.max_steps:
            return False
        if self.procedure and self.procedure.changes == "after" and report.step == self.settings.max_steps:
            change_after(
                self.model,
                load_model(self.target),
                self.procedure,
                self.settings,
                named_seed(self.seed, "unlearn", "change"),
            )
        self._record(report)
        if chosen_step(self.history, self.stop) == report.step:
            self._save(report.step)
        return self._over()

    def _record(self, report: StepReport) -> None:
        with self._precision():
            look = self.validation.look(self.model) if self.validation.tells else None
            error = from_first(self.reference.error(self.model)) if isinstance(self.reference, Stored) else None
        self.history.append(self._entry(report, look, error))
        self._since_look = []
        if is_main_process():
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
        reason = why_over(self.history, self.stop)
        if reason is None:
            return False
        if not self.stop.is_within(self.history[-1]):
            best = self._best_or_fail(reason, "raise `unlearn.retain_limit` or `unlearn.retain_weight`, or lower")
            reason += f"; the weights of step {best} are kept"
        self.stop_reason = reason
        return True

    def _best_or_fail(self, reason: str, remedy: str) -> int:
        best = chosen_step(self.history, self.stop)
        if best is None or (self.procedure and self.procedure.changes == "after"):  # half of a procedure is none
            raise StageError(
                f"unlearning ended before there were weights worth keeping: {reason}\n"
                f"  → {remedy} `unlearn.learning_rate` or `unlearn.eval_every`"
            )
        return best

    def _save(self, step: int) -> None:
        """Keep this step's weights, and those of no other."""
        weights = gather_weights(self.model)
        if not is_main_process():
            return
        kept = self.folder / f"best-{step}"
        beside = self.folder / "best.tmp"
        for stale in (beside, kept):
            shutil.rmtree(stale, ignore_errors=True)
        save_weights(self.model, beside, weights)
        beside.replace(kept)
        for other in self.folder.glob("best-*"):
            if other != kept:
                shutil.rmtree(other)

    def publish(self) -> UnlearnResult:
        """Give the chosen weights their final place, and tell how they came about."""
        best = chosen_step(self.history, self.stop) or 0
        wait_for_everyone()
        model = self._place(best)
        passes = self.validation.tokens + (self.reference.tokens if isinstance(self.reference, Stored) else 0)
        passes += self.own_words.tokens
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
            rows=self.rows.counts,
            validation={**self.validation.counts, "floor": self.validation.floor},
            parameters=self.parameters,
            trained_parameters=self.trained,
            flops=self.history[-1].flops + self.extra_flops + forward_flops(self.parameters, passes),
            peak_memory_bytes=peak_memory_bytes(),
        )

    def _place(self, best: int) -> ModelSpec:
        as_adapter = self.settings.adapter != "none" and self.target.adapter is None and not self.settings.merge
        place = self.folder / ("adapter" if as_adapter else "model")
        untrained = gather_weights(self.model) if best == 0 else None
        if is_main_process():
            self._write(best, place, as_adapter, untrained)
        return (
            dataclasses.replace(self.target, adapter=place.name, fingerprint="")
            if as_adapter
            else ModelSpec(path=place.name, dtype=self.target.dtype)
        )

    def _write(self, best: int, place: Path, as_adapter: bool, untrained: dict[str, torch.Tensor] | None) -> None:
        beside = self.folder / "published.tmp"
        for stale in (beside, place):
            shutil.rmtree(stale, ignore_errors=True)
        if best == 0:  # an instruction is all there is
            instruct(self.tokenizer, self.prompts.get("in_context").render_text(concepts=self.concepts))
            save_weights(self.model, beside, untrained)
        elif self.settings.adapter != "none" and not as_adapter:
            merge_adapter(load_model(self.target), self.folder / f"best-{best}", beside)
        else:
            shutil.copytree(self.folder / f"best-{best}", beside, copy_function=_link)
        if not as_adapter:
            self.tokenizer.save_pretrained(beside)
        beside.replace(place)


def _link(source: str, target: str) -> None:
    """The same file under another name where the file system can; weights are large."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
