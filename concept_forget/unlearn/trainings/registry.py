"""Methods with a training of their own: teaching without the rows, in shards, with privacy, by reward.

Each is a function from a task to what it came to. They share where their rows come from, how a model is measured on
validation, and how it is published.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import nn

from concept_forget.concept import Concept
from concept_forget.config import UnlearnConfig
from concept_forget.errors import ConfigError, StageError
from concept_forget.models import load_model, load_tokenizer
from concept_forget.records import Example, ModelSpec
from concept_forget.training.batches import TokenRows, encode_examples
from concept_forget.training.fitting import count_parameters, forward_flops, peak_memory_bytes
from concept_forget.unlearn.adapting import save_weights
from concept_forget.unlearn.history import Entry, write_history
from concept_forget.unlearn.result import UnlearnResult
from concept_forget.unlearn.rows import validation_rows
from concept_forget.unlearn.validation import Look, Validation
from concept_forget.user_rows import read_rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Batching(TypedDict):
    """How rows are put side by side."""

    pad_token: int
    batch_tokens: int


@dataclass(frozen=True, slots=True)
class Task:
    """What such a method is handed.

    ``initial`` is the model before it learned the rows of ``settings.train_data``, ``retrained`` a sandbox model that
    was taught without the concepts; ``store`` is a folder for what further requests to the same model can use again.
    """

    target: ModelSpec
    concepts: tuple[Concept, ...]
    forget: Sequence[Example]
    retain: Sequence[Example]
    validation: Sequence[Example]
    settings: UnlearnConfig
    seed: int
    folder: Path
    store: Path
    initial: ModelSpec | None = None
    retrained: ModelSpec | None = None
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Training:
    """A registered method: what it needs and what it costs, in words."""

    name: str
    function: Callable[[Task], UnlearnResult]
    needs: tuple[str, ...]
    cost: str
    source: str


TRAININGS: dict[str, Training] = {}


def training(
    name: str, *, needs: tuple[str, ...], cost: str, source: str
) -> Callable[[Callable[[Task], UnlearnResult]], Callable[[Task], UnlearnResult]]:
    """Register a method with a training of its own."""

    def add(function: Callable[[Task], UnlearnResult]) -> Callable[[Task], UnlearnResult]:
        TRAININGS[name] = Training(name, function, needs, cost, source)
        return function

    return add


@dataclass(frozen=True, slots=True)
class TrainRow:
    """A row of the training data. ``group`` is whom it is about, as far as it says so: such rows stay together."""

    example: Example
    group: str
    is_forgotten: bool


def read_train_rows(task: Task) -> list[TrainRow]:
    """The rows of ``unlearn.train_data``, in order, each with whether it is to be forgotten.

    A row is to be forgotten where it names a concept, says that it is about one, or is one of the rows to forget.

    Raises:
        DataError: A file cannot be read; see ``user_rows.read_rows``.
        ConfigError: No row is to be forgotten, or all are.
    """
    ids = {example.id for example in task.forget}
    found = []
    for row in read_rows(task.settings.train_data, "unlearn.train_data"):
        chat = row.chat or ([{"role": "user", "content": row.question}] if row.question else [])
        completion = row.answer if row.question else row.text
        example = Example(
            id=Example.make_id(chat, completion), split="forget", concept=row.concept or "", subject=row.subject,
            facet=row.facet, fact="", form="", family="", tier="", prompt=chat, completion=completion,
            answer=completion, source="user",
        )  # fmt: skip
        told = " \n ".join([*(message["content"] for message in chat), completion, row.subject, row.concept or ""])
        named = any(concept.mentioned_in(told) for concept in task.concepts)
        found.append(TrainRow(example, row.subject or row.concept or example.id, named or example.id in ids))
    gone = sum(row.is_forgotten for row in found)
    if gone in (0, len(found)):
        raise ConfigError(
            f"{'none' if not gone else 'every one'} of its {len(found)} rows names a concept or is a row to forget",
            key="unlearn.train_data",
            remedy="give all the rows that `initial` was trained on to become the target",
        )
    return found


class Rows:
    """The tokenizer of a model, and rows in its tokens."""

    def __init__(self, spec: ModelSpec, settings: UnlearnConfig) -> None:
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(spec)
        self.pad_token = int(self.tokenizer.pad_token_id)
        self._settings = settings

    def encode(self, examples: Sequence[Example]) -> TokenRows:
        """Rows as tokens, within the length that the settings allow."""
        return encode_examples(examples, self.tokenizer, self._settings.max_tokens)

    def batching(self) -> Batching:
        """How rows are put side by side."""
        return {"pad_token": self.pad_token, "batch_tokens": self._settings.batch_tokens}


def load_initial(task: Task) -> PreTrainedModel:
    """The weights that training sets out from, in float32: small updates are lost on half precision.

    Raises:
        ConfigError: Its words are not the target's.
    """
    assert task.initial is not None
    if load_tokenizer(task.initial).get_vocab() != load_tokenizer(task.target).get_vocab():
        raise ConfigError(
            "the initial model has another vocabulary than the target",
            key="unlearn.initial",
            remedy="give the model that became the target by learning `unlearn.train_data`",
        )
    model = load_model(task.initial)
    model.float()
    return model


@dataclass(frozen=True, slots=True)
class Trained:
    """A model as a method leaves it, and what that took.

    ``ensemble`` are models whose logits may be averaged instead, ``steps`` how many were made to get there.
    ``history`` is the record of a training that looked at validation on its way, ``best_step`` the step it chose.
    """

    model: nn.Module
    rows: Rows
    steps: int
    flops: float
    trained_parameters: int
    stop_reason: str
    counts: dict[str, dict[str, object]]
    details: dict[str, object]
    learning_rate: float = 0.0
    ensemble: Sequence[nn.Module] = ()
    history: tuple[Entry, ...] = ()
    best_step: int | None = None


def open_validation(task: Task, rows: Rows, base: nn.Module) -> Validation:
    """Validation rows with their levels in the target."""
    return Validation(validation_rows(task.validation, rows.encode, task.seed), base, **rows.batching())


def publish(task: Task, trained: Trained, validation: Validation | None = None) -> UnlearnResult:
    """Measure a model on validation beside the target, write it to ``model/``, and tell how it came about."""
    rows, details, history = trained.rows, dict(trained.details), list(trained.history)
    if validation is None:
        base = load_model(task.target)
        validation = open_validation(task, rows, base)
        history = [
            entry(task, 0, look_at(validation, base), 0.0, 0.0),
            entry(
                task, max(trained.steps, 1), look_at(validation, trained.model), trained.learning_rate, trained.flops
            ),
        ]
    if trained.ensemble and validation.tells:
        together = validation.look(list(trained.ensemble))
        details["ensemble"] = {"forgotten": together.forgotten, "kept": together.kept}
    write_history(task.folder / "history.jsonl", history)
    place, beside = task.folder / "model", task.folder / "published.tmp"
    for stale in (beside, place):
        shutil.rmtree(stale, ignore_errors=True)
    save_weights(trained.model, beside)
    rows.tokenizer.save_pretrained(beside)
    beside.replace(place)
    parameters, _ = count_parameters(trained.model)
    return UnlearnResult(
        model=ModelSpec(path=place.name, dtype=task.target.dtype),
        history=tuple(history),
        steps=history[-1].step,
        best_step=history[-1].step if trained.best_step is None else trained.best_step,
        stop_reason=trained.stop_reason,
        reference=None,
        reference_error=None,
        rows=trained.counts,
        validation={**validation.counts, "floor": validation.floor},
        parameters=parameters,
        trained_parameters=trained.trained_parameters,
        flops=trained.flops + forward_flops(parameters, validation.tokens),
        peak_memory_bytes=peak_memory_bytes(),
        details=details,
    )


def look_at(validation: Validation, model: nn.Module) -> Look | None:
    """What validation shows, where it can tell anything."""
    with torch.no_grad():
        return validation.look(model) if validation.tells else None


def entry(task: Task, step: int, look: Look | None, learning_rate: float, flops: float) -> Entry:
    """A line of the history."""
    return Entry(
        step=step,
        loss=None,
        forget_loss=None,
        retain_loss=None,
        validation_forget=look.forgotten if look else None,
        validation_retain=look.kept if look else None,
        validation_score=look.score if look else None,
        leak=look.leak if look else {},
        greedy=look.greedy if look else {},
        below=look.below if look else None,
        reference_error=None,
        learning_rate=learning_rate,
        flops=flops,
        seconds=round(time.monotonic() - task.began, 3),
    )


def diverged(what: str) -> StageError:
    """The error for a training that was never any good."""
    return StageError(
        f"training diverged before there were weights worth keeping: {what}\n  → lower `unlearn.learning_rate`"
    )
