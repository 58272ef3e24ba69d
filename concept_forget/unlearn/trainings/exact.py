"""Exact forgetting: rows are taught once more without those to forget, all of them or only the parts that held these.

A shard is a part of the rows with a model of its own, a slice a part of a shard that is added to those before it. What
a part's weights are depends on nothing but the initial model, the rows of its slices so far, the settings and the
seed, and they are kept under a hash of these: a request trains the parts whose rows it changes, and takes the others
as they are.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from concept_forget.config import UnlearnConfig
from concept_forget.errors import StageError
from concept_forget.models import load_model
from concept_forget.progress import track
from concept_forget.records import ModelSpec, content_hash, named_random, named_seed
from concept_forget.training.batches import StepPlan, TokenRow
from concept_forget.training.fitting import (
    FitSettings,
    StepReport,
    count_parameters,
    fit,
    training_flops,
)
from concept_forget.training.tuning import mean_likelihood
from concept_forget.unlearn.adapting import choose_parameters, save_weights
from concept_forget.unlearn.result import UnlearnResult
from concept_forget.unlearn.trainings.registry import (
    Rows,
    Task,
    Trained,
    TrainRow,
    diverged,
    load_initial,
    publish,
    read_train_rows,
    training,
)
from concept_forget.workspace import read_json, write_json


@dataclass(frozen=True, slots=True)
class Part:
    """The slices of a shard up to one of them: what a checkpoint holds.

    ``key`` names its weights, and the key of the part before it enters into it. ``tokens`` counts what is trained on
    from there, padding included.
    """

    shard: int
    slice: int
    rows: tuple[TokenRow, ...]
    key: str
    steps: int
    tokens: int


def deal(groups: Sequence[str], shards: int, slices: int, seed: int) -> dict[str, tuple[int, int]]:
    """Which shard and slice each group of rows is in: shuffled, then dealt out in turn.

    Args:
        groups: Names of groups; equal names are one group.
        shards: How many shards.
        slices: How many slices each has.
        seed: The run's seed.
    """
    names = sorted(set(groups))
    named_random(seed, "sisa", "deal").shuffle(names)
    return {name: (place % shards, place // shards % slices) for place, name in enumerate(names)}


def plan_parts(
    rows: Sequence[tuple[TrainRow, TokenRow]],
    places: dict[str, tuple[int, int]],
    settings: UnlearnConfig,
    seed: int,
    identity: str,
    *,
    without: bool,
    pad_token: int,
) -> list[Part]:
    """Every part of every shard, in the order in which they are trained.

    Args:
        rows: All rows of the training data.
        places: Shard and slice by group, as ``deal`` gave them for all rows.
        settings: Epochs and batches.
        seed: The run's seed.
        identity: What else shapes the weights, hashed.
        without: Whether the rows to forget are left out.
        pad_token: Fills up shorter rows.
    """
    parts = []
    shards, slices = (1 + max(place[axis] for place in places.values()) for axis in (0, 1))
    for shard in range(shards):
        key = identity
        for number in range(slices):
            kept = tuple(
                tokens
                for row, tokens in rows
                if places[row.group][0] == shard
                and places[row.group][1] <= number
                and not (without and row.is_forgotten)
            )
            key = content_hash(key, shard, number, [[row.id, row.tokens, row.answer_start] for row in kept])
            steps = math.ceil(settings.option("epochs") * len(kept) / settings.batch_size) if kept else 0
            plan = _step_plan(kept, settings, seed, shard, number, pad_token)
            passed = sum(batch.padded_tokens for step in range(steps) for batch in plan(step).batches)
            parts.append(Part(shard, number, kept, key, steps, passed))
    return parts


def _step_plan(
    rows: tuple[TokenRow, ...], settings: UnlearnConfig, seed: int, shard: int, number: int, pad_token: int
) -> StepPlan:
    return StepPlan(
        (rows,), (settings.batch_size,), named_seed(seed, "sisa", shard, number), pad_token, settings.batch_tokens
    )


def train_part(model: nn.Module, part: Part, settings: UnlearnConfig, seed: int, folder: Path, pad_token: int) -> float:
    """Train a model that holds the part before this one on this one's rows, in place; gives the operations spent.

    Raises:
        StageError: The loss became no number.
    """
    if not part.steps:
        return 0.0
    fit_settings = FitSettings(
        max_steps=part.steps,
        learning_rate=settings.learning_rate,
        schedule="constant",
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        checkpoint_every=settings.eval_every,
        bfloat16=settings.dtype == "bfloat16",
        seed=named_seed(seed, "sisa", part.shard, part.slice, "fit"),
        gradient_checkpointing=settings.gradient_checkpointing,
    )
    plan = _step_plan(part.rows, settings, seed, part.shard, part.slice, pad_token)
    with track(f"shard {part.shard + 1}, slice {part.slice + 1}", total=part.steps, unit="steps") as bar:

        def on_step(report: StepReport) -> bool:
            bar.advance()
            return False

        result = fit(model, plan, mean_likelihood, fit_settings, folder, on_step)
    if result.diverged:
        raise diverged(result.diverged)
    return result.flops


def average_weights(models: Sequence[nn.Module]) -> dict[str, Tensor]:
    """The mean of every weight over models of one shape, by name, summed in float64 and given in float32."""
    names = [name for name, _ in models[0].named_parameters()]
    own = [dict(model.named_parameters()) for model in models]
    return {name: torch.stack([weights[name].detach().double() for weights in own]).mean(0).float() for name in names}


@training(
    "retrain",
    needs=("train_data and initial, or a sandbox target",),
    cost="1 forward, 1 backward in every epoch, over all rows but those to forget",
    source="the definition of exact unlearning: Cao & Yang 2015; Bourtoule et al. 2021, §II",
)
def retrain(task: Task) -> UnlearnResult:
    """Teach everything again without the rows to forget: the gold reference, at full cost.

    θ = A(θ_initial, D_retain), where A is the training that made the target and D_retain its rows without those
    """
    if not task.settings.train_data:
        return _taught_again(task)
    return _train_shards(task, 1, 1)


@training(
    "sisa",
    needs=("train_data", "initial"),
    cost="1 forward, 1 backward in every epoch of the shards and slices that held the rows",
    source="Bourtoule et al. 2021, §IV",
)
def sisa(task: Task) -> UnlearnResult:
    """Train shards apart from each other, slice by slice, and after a request only those that held its rows.

    θ = mean_k θ_k, θ_k = A(…A(A(θ_initial, D_k1), D_k1 ∪ D_k2)…)

    Rows that say whom they are about (`subject` or `concept`) stay in one shard and slice, so that a person's request
    touches one of them. What is published is the mean of the shards' weights; the mean of their logits is measured
    beside it.
    """
    return _train_shards(task, task.settings.option("shards"), task.settings.option("slices"))


def _taught_again(task: Task) -> UnlearnResult:
    assert task.retrained is not None
    model = load_model(task.retrained)
    parameters, _ = count_parameters(model)
    card: dict[str, Any] = read_json(Path(task.retrained.path) / "sandbox.json")
    return publish(
        task,
        Trained(
            model, Rows(task.retrained, task.settings), 0, float(card["flops"]), parameters,
            "taught without the concepts", {}, {"cost_fraction": 1.0},
        ),
    )  # fmt: skip


def _train_shards(task: Task, shards: int, slices: int) -> UnlearnResult:
    assert task.initial is not None
    settings, rows = task.settings, Rows(task.initial, task.settings)
    given = [(row, encoded) for row in read_train_rows(task) for encoded in rows.encode([row.example]).rows]
    places = deal([row.group for row, _ in given], shards, slices, task.seed)
    _check_deal(places, shards)
    identity = content_hash("part", task.initial.fingerprint or task.initial.path, _shaping(settings), task.seed)
    before, after = (
        plan_parts(given, places, settings, task.seed, identity, without=without, pad_token=rows.pad_token)
        for without in (False, True)
    )
    finished, trained_now, flops = _train_missing(task, after, rows.pad_token)
    models = [load_model(_spec(task, folder)) for folder in finished]
    model = load_initial(task)
    with torch.no_grad():
        weights = dict(model.named_parameters())
        for name, value in average_weights(models).items():
            weights[name].copy_(value)
    changed = [part for part, old in zip(after, before, strict=True) if part.key != old.key]
    parameters, _ = count_parameters(model)
    details = {
        "shards": shards,
        "slices": slices,
        "changed_shards": sorted({part.shard for part in changed}),
        "changed_parts": [[part.shard, part.slice] for part in changed],
        "trained_parts": trained_now,
        "cost_fraction": sum(part.tokens for part in changed) / sum(part.tokens for part in before),
        "full_flops": training_flops(parameters, parameters, sum(part.tokens for part in before)),
        "parts": str(_store(task)),
    }
    counts: dict[str, dict[str, object]] = {
        "train": {"rows": len(given), "forgotten": sum(row.is_forgotten for row, _ in given)}
    }
    return publish(
        task,
        Trained(
            model, rows, sum(part.steps for part in changed), flops, parameters,
            f"{len(changed)} of {len(after)} parts held rows to forget", counts, details, settings.learning_rate,
            models if shards > 1 else (),
        ),
    )  # fmt: skip


def _check_deal(places: dict[str, tuple[int, int]], shards: int) -> None:
    if len({shard for shard, _ in places.values()}) < shards:
        raise StageError(
            f"the rows are about {len(places)} subjects, too few for {shards} shards\n"
            "  → lower `unlearn.shards`, or give the rows a `subject` each"
        )


def _shaping(settings: UnlearnConfig) -> list[object]:
    """The settings that shape a part's weights."""
    names = (
        "batch_size", "batch_tokens", "max_tokens", "learning_rate", "warmup_steps", "weight_decay", "max_grad_norm",
        "dtype", "layers", "parameters",
    )  # fmt: skip
    return [settings.option("epochs"), *(getattr(settings, name) for name in names)]


def _store(task: Task) -> Path:
    return task.store / "parts"


def _spec(task: Task, folder: Path) -> ModelSpec:
    return ModelSpec(path=str(folder), dtype="float32")


def _train_missing(task: Task, parts: Sequence[Part], pad_token: int) -> tuple[list[Path], int, float]:
    """Train the parts that are not in the store; gives each shard's last one, how many were trained, operations."""
    last: dict[int, Path] = {}
    trained, flops = 0, 0.0
    for part in parts:
        place = _store(task) / part.key
        if not (place / "part.json").is_file():
            model = load_model(_spec(task, last[part.shard])) if part.shard in last else load_initial(task)
            choose_parameters(model, task.settings, None)
            spent = train_part(model, part, task.settings, task.seed, place / "checkpoints", pad_token)
            save_weights(model, place)
            shutil.rmtree(place / "checkpoints", ignore_errors=True)
            write_json(place / "part.json", {"steps": part.steps, "rows": len(part.rows), "flops": spent})
            trained, flops = trained + 1, flops + spent
        last[part.shard] = place
    return [last[shard] for shard in sorted(last)], trained, flops
