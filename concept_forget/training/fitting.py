"""The fit loop: transformers' Trainer, fed with whole steps, checkpointed so that a killed run ends as it would have.

A step is a list of micro-batches, and a loss gives each one's share of the step's loss, so that the shares add up to
what a single large batch would have given. Steps are a function of their number, the optimiser, the schedule and the
random state are in the checkpoint: a resumed run goes through the same arithmetic as an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
import resource
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from concept_forget.errors import first_line
from concept_forget.out_of_memory import is_out_of_memory, too_little, unless_out_of_memory
from concept_forget.training.batches import MicroBatch, Step, StepPlan
from concept_forget.training.micro_batches import ShrinkingSteps
from concept_forget.training.processes import (
    add_up,
    is_main_process,
    is_sharded,
    process_count,
    wait_for_everyone,
)

_COMPLETE = "complete"
_FLOPS = "flops"
_SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How weights are updated. AdamW throughout.

    Args:
        max_steps: Steps at most.
        learning_rate: Its peak.
        schedule: What becomes of it after the warm-up.
        warmup_steps: Steps over which it rises from 0.
        weight_decay: Decoupled, on matrices only.
        max_grad_norm: Gradients are scaled down to this norm over all trained weights.
        checkpoint_every: Steps between checkpoints; 0: none are written.
        bfloat16: Run the model in bfloat16 while the trained weights keep their own precision.
        seed: Of whatever the model draws itself, such as dropout.
        gradient_checkpointing: Keep no activations between layers' ends, and compute them once more going back.
    """

    max_steps: int
    learning_rate: float
    schedule: Literal["constant", "linear", "cosine"]
    warmup_steps: int
    weight_decay: float
    max_grad_norm: float
    checkpoint_every: int
    bfloat16: bool
    seed: int
    gradient_checkpointing: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """What one micro-batch adds to a step: to the loss (with gradients), to its named parts, and in forward tokens."""

    loss: Tensor
    parts: Mapping[str, Tensor]
    forward_tokens: int = 0  # tokens that other models, or this one once more, ran on without gradients
    unused_parameters: int = 0  # of layers that the batch never came to


class StepLoss(Protocol):
    """A loss on micro-batches; over a step its shares add up to the step's loss."""

    def __call__(self, model: nn.Module, batch: MicroBatch, step: Step) -> Share:
        """The share of ``batch`` in the loss of ``step``."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """Where a fit stands after a step. ``parts`` are the step's loss and its named parts; ``flops`` since the start."""

    step: int
    parts: Mapping[str, float]
    learning_rate: float
    flops: float


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a fit ended: after how many steps, at what cost, and, if it diverged, how that showed."""

    steps: int
    flops: float
    diverged: str | None


class _DivergedError(Exception):
    pass


def fit(
    model: nn.Module,
    steps: StepPlan,
    loss: StepLoss,
    settings: FitSettings,
    folder: Path,
    on_step: Callable[[StepReport], bool],
) -> FitResult:
    """Train ``model`` in place, from the last complete checkpoint in ``folder`` if there is one.

    Args:
        model: A transformers model or a peft model; its parameters that want gradients are trained. Sharded already
            (``sharding.shard``) where the launcher wants that.
        steps: The rows of each step, counted from 0.
        loss: See ``StepLoss``.
        settings: See ``FitSettings``.
        folder: For checkpoints. The caller removes it once the fit is of no more use.
        on_step: Called after every step, before its checkpoint is written; True ends the fit.

    Returns:
        How it ended. When a loss or gradient is no finite number, the weights are those before that step.

    Raises:
        OutOfMemoryError: Memory does not suffice, not even for the smallest micro-batches of a step.
    """
    wait_for_everyone()
    checkpoint = last_checkpoint(folder)
    begin = step_of(checkpoint) if checkpoint else 0
    cached = getattr(model.config, "use_cache", None)
    with quiet():
        trainer = _StepTrainer(model, ShrinkingSteps(steps, folder), loss, _arguments(settings, folder), begin)
        trainer.add_callback(_Watcher(trainer, folder, on_step))
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            diverged = None
        except _DivergedError as error:
            diverged = str(error)
        except Exception as error:
            last_checkpoint(folder)  # removes one that was being written
            if is_out_of_memory(error) and process_count() == 1:  # not in a batch, but in the optimiser, say
                raise too_little(
                    f"to train the model ({first_line(error)})",
                    "take an `unlearn.adapter`, train fewer `unlearn.layers`, or use a smaller model",
                ) from error
            raise
    if cached is not None:
        model.config.use_cache = cached  # type: ignore[union-attr]  # a transformers config
    model.eval()
    return FitResult(trainer.state.global_step, trainer.flops, diverged)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; unfinished ones are removed."""
    found = []
    for path in folder.glob("checkpoint-*"):
        if (path / _COMPLETE).is_file():
            found.append(path)
        elif is_main_process():
            shutil.rmtree(path)
    return max(found, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """The number of steps done when a checkpoint was written."""
    match = re.fullmatch(r"checkpoint-(\d+)", checkpoint.name)
    assert match is not None
    return int(match.group(1))


def forward_flops(parameters: int, tokens: int) -> float:
    """Floating-point operations of a forward pass: two per parameter and token."""
    return 2.0 * parameters * tokens


def training_flops(parameters: int, trained: int, tokens: int) -> float:
    """Operations of a forward and a backward pass: 6·N·tokens where all N parameters are trained.

    The backward pass costs two operations per parameter and token for the gradients of the activations, and two more
    for each parameter that is trained.
    """
    return (4.0 * parameters + 2.0 * trained) * tokens


def trains_in_bfloat16(dtype: str) -> bool:
    """Whether training runs in bfloat16; with ``auto`` where an accelerator has it."""
    return dtype == "bfloat16" or (dtype == "auto" and torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """All parameters, and those that are trained; shared ones count once."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def peak_memory_bytes() -> int:
    """The most memory held so far: on the accelerator where there is one, else by the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _arguments(settings: FitSettings, folder: Path) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=settings.max_steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=_SCHEDULES[settings.schedule],
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        use_cpu=(process_count() > 1 or settings.bfloat16) and not torch.accelerator.is_available(),
        bf16=settings.bfloat16,
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if settings.gradient_checkpointing else None,
        save_strategy="steps" if settings.checkpoint_every else "no",
        save_steps=max(settings.checkpoint_every, 1),
        save_total_limit=2,  # while one is written, the one before it is still there
        seed=settings.seed & 0xFFFFFFFF,  # what numpy takes
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to="none",
        log_level="error",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        ignore_data_skip=True,  # the steps themselves begin where the checkpoint ends
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several devices need a launcher; threads over replicas are not used
    return arguments


class _Steps(IterableDataset[Step]):
    def __init__(self, steps: Callable[[int], Step], begin: int, end: int) -> None:
        self._steps = steps
        self._range = range(begin, end)

    def __iter__(self) -> Iterator[Step]:
        return map(self._steps, self._range)


class _StepTrainer(Trainer):
    """The Trainer, on steps that hold their own micro-batches."""

    def __init__(
        self, model: nn.Module, steps: ShrinkingSteps, loss: StepLoss, arguments: TrainingArguments, begin: int
    ) -> None:
        super().__init__(model=model, args=arguments, train_dataset=_Steps(steps, begin, arguments.max_steps))
        if self.is_fsdp_enabled:
            self.accelerator.state.fsdp_plugin.auto_wrap_policy = None  # the model is sharded already
        self.remove_callback(PrinterCallback)
        self._steps, self._loss = steps, loss
        self._parameters, self._trained = count_parameters(model)
        self._step_flops = 0.0
        self.parts: dict[str, float] = {}
        self.rate = 0.0

    @property
    def flops(self) -> float:
        """Operations since the first step, those before a resumption included."""
        return float(self.state.total_flos + self.current_flos * process_count())

    def get_train_dataloader(self) -> DataLoader[Step]:
        # A loader without a generator of its own draws from the global one, and a resumed run would draw once more.
        steps: Any = self.train_dataset
        return DataLoader(steps, batch_size=None, generator=torch.Generator())

    def _get_num_items_in_batch(self, batch_samples: list[Step], device: torch.device) -> None:
        """Nothing: a step counts its own tokens."""

    def training_step(  # type: ignore[override]  # a step comes where the Trainer expects a mapping of tensors
        self, model: nn.Module, inputs: Step, num_items_in_batch: object = None
    ) -> Tensor:
        model.train()
        self.rate = float(self._get_learning_rate())
        number = self.state.global_step
        drawn = _random_states()
        step = self._steps(number) if self._steps.shrunk else inputs  # which may have been cut too early
        while isinstance(parts := self._go_through(model, step), MicroBatch):
            model.zero_grad(set_to_none=True)
            _draw_again(drawn)
            step = self._steps.halve(number, parts)
        self.parts = add_up({name: float(value) for name, value in parts.items()})
        self._step_flops = self.parts.pop(_FLOPS)
        for name, amount in self.parts.items():
            if not math.isfinite(amount):
                raise _DivergedError(f"{name} became {amount} at step {self.state.global_step + 1}")
        return torch.tensor(self.parts["loss"], device=self.accelerator.device)

    def _go_through(self, model: nn.Module, step: Step) -> dict[str, Tensor | float] | MicroBatch:
        """Gradients of a step, added up, and its named parts; or the micro-batch for which memory did not suffice."""
        parts: dict[str, Tensor | float] = {}
        flops = 0.0
        own = _own_batches(step, self.accelerator.process_index)
        for number, (batch, weight) in enumerate(own, start=1):
            # Gradients are added up over the processes once a step; those of a sharded model with every batch, for
            # until then each process would hold them whole.
            at_once = number == len(own) or is_sharded()
            with contextlib.nullcontext() if at_once else self.accelerator.no_sync(model):
                done = unless_out_of_memory(functools.partial(self._backward, model, batch, step, weight))
            if done is None:
                return batch
            if not weight:
                continue
            (share,) = done
            used = self._parameters - share.unused_parameters
            flops += training_flops(used, min(self._trained, used), batch.padded_tokens)
            flops += forward_flops(self._parameters, share.forward_tokens)
            for name, value in {"loss": share.loss, **share.parts}.items():
                parts[name] = value.detach() + parts.get(name, 0.0)
        return {**parts, _FLOPS: flops}

    def _backward(self, model: nn.Module, batch: MicroBatch, step: Step, weight: float) -> Share:
        with self.compute_loss_context_manager():
            share = self._loss(model, batch, step)
        self.accelerator.backward(share.loss * weight)
        return share

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        norm: Tensor = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]  # the Trainer's own
        if not math.isfinite(float(norm)):
            raise _DivergedError(f"the gradient's norm became {float(norm)} at step {self.state.global_step + 1}")
        return norm

    def floating_point_ops(self, inputs: Step) -> float:  # type: ignore[override]  # as for training_step
        return self._step_flops / process_count()  # the Trainer adds up what its processes say


def _random_states() -> tuple[Tensor, Tensor | None]:
    """What dropout draws from: the processor's state, and the accelerator's."""
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def _draw_again(states: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(states[0])
    if states[1] is not None:
        torch.cuda.set_rng_state(states[1])


def _own_batches(step: Step, process: int) -> list[tuple[MicroBatch, float]]:
    """The micro-batches of this process, and what their loss is multiplied by: gradients are a mean over processes.

    A process for which none is left in the last round goes through another's with weight 0, for it has to come along.
    """
    count = process_count()
    rounds = [step.batches[begin : begin + count] for begin in range(0, len(step.batches), count)]
    return [(those[process], float(count)) if process < len(those) else (those[0], 0.0) for those in rounds]


class _Watcher(TrainerCallback):
    """Reports every step, ends the fit when told to, and marks checkpoints that are complete."""

    def __init__(self, trainer: _StepTrainer, folder: Path, on_step: Callable[[StepReport], bool]) -> None:
        self._trainer = trainer
        self._folder = folder
        self._on_step = on_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        trainer = self._trainer
        if self._on_step(StepReport(state.global_step, trainer.parts, trainer.rate, trainer.flops)):
            control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        wait_for_everyone()  # each keeps its own random state there
        if is_main_process():
            (self._folder / f"checkpoint-{state.global_step}" / _COMPLETE).touch()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the library's bars and remarks, both put back afterwards."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
