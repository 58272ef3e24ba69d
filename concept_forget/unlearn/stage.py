"""The front door of ``unlearn``: reads the training and validation sets, writes the unlearned model and its history."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from concept_forget.config import TRAININGS, Config
from concept_forget.earlier import read_concepts, without_concepts
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import ConfigError
from concept_forget.records import Example, ModelSpec, to_json
from concept_forget.training import memory
from concept_forget.training.memory import MemoryEstimate
from concept_forget.training.processes import is_sharded, process_count
from concept_forget.user_rows import hash_rows
from concept_forget.workspace import StageContext, read_json, read_records, write_json

if TYPE_CHECKING:
    from concept_forget.unlearn.result import UnlearnResult

VERSION = 2


def fingerprint_parts(config: Config) -> list[object]:
    """Everything of this stage that the unlearned model depends on.

    Raises:
        DataError: A file of ``unlearn.train_data`` is absent.
    """
    parts: list[object] = [
        config.unlearn.model_dump(mode="json", exclude={"given", "continued"}),
        load_prompts("unlearn").hash,
    ]
    if config.unlearn.train_data:
        parts += [
            hash_rows(config.unlearn.train_data, "unlearn.train_data"),
            [concept.names for concept in config.concepts],
        ]
    return parts


def check(config: Config) -> None:
    """Refuse a launcher's config, and with it methods, that cannot be where the model is sharded.

    Raises:
        ConfigError: What cannot be, and what to take instead.
    """
    if is_sharded() and config.unlearn.given is None:
        from concept_forget.training.sharding import check_launcher
        from concept_forget.unlearn.methods import check_sharded

        check_launcher()
        check_sharded(config.unlearn)


def estimate_memory(config: Config, target: ModelSpec, *, on_processor: bool) -> MemoryEstimate:
    """What training will take at its peak, in bytes; where the launcher shards the model, in each process.

    Args:
        config: The whole config.
        target: The model that is trained, on this machine.
        on_processor: Whether it runs on a processor, where saved weights are widened to float32.
    """
    settings = config.unlearn
    adapted = settings.adapter != "none"
    wide = on_processor or not adapted or settings.dtype == "float32" or target.dtype == "float32"
    return memory.estimate_memory(
        memory.read_shapes(Path(target.path)),
        layers=settings.layers,
        parameters=settings.parameters,
        rank=settings.lora.rank if adapted else None,
        weight_bytes=4 if wide else 2,
        copies=2 if settings.reference == "resident" else 1,
        batch_tokens=settings.batch_tokens,
        half_activations=settings.dtype == "bfloat16" or (settings.dtype == "auto" and not on_processor),
        checkpointed=settings.gradient_checkpointing,
        parts=process_count() if is_sharded() else 1,
    )


def run(context: StageContext) -> dict[str, object]:
    """Unlearn, and write ``model/`` or ``adapter/``, ``history.jsonl`` and ``summary.json``.

    Of the data sets it reads ``forget``, ``retain`` and ``validation``, and never opens ``probe`` or ``collateral``.

    Raises:
        ConceptForgetError: See ``unlearning.unlearn``.
    """
    summary_file = context.folder / "summary.json"
    if summary_file.is_file():  # an interrupted try had got as far as this
        summary: dict[str, object] = read_json(summary_file)
    else:
        result = _unlearn(context)
        settings = context.config.unlearn
        best = next(dataclasses.asdict(entry) for entry in result.history if entry.step == result.best_step)
        summary = {
            "model": to_json(result.model),
            "method": settings.method,
            "retain": settings.retain_term,
            "steps": result.steps,
            "best_step": result.best_step,
            "stop_reason": result.stop_reason,
            "reference": result.reference,
            "reference_error": result.reference_error,
            "rows": result.rows,
            "validation": {**result.validation, "best": best},
            "parameters": result.parameters,
            "trained_parameters": result.trained_parameters,
            "flops": result.flops,
            "peak_memory_bytes": result.peak_memory_bytes,
        }
        if result.details:
            summary["details"] = result.details
        write_json(summary_file, summary)
    _clear(context.folder)
    context.costs.flops += float(summary["flops"])  # type: ignore[arg-type]  # written above
    return summary


def train_along(context: StageContext) -> None:
    """What a process that is not the first does of this stage: train, and write nothing.

    Raises:
        ConceptForgetError: As ``run``.
    """
    if not (context.folder / "summary.json").is_file():
        _unlearn(context)


def _unlearn(context: StageContext) -> UnlearnResult:
    """Hand the sets to the method that the config names."""
    data, settings = context.inputs["compose"], context.config.unlearn
    forget, retain, validation = (
        read_records(Example, data / f"{name}.jsonl") for name in ("forget", "retain", "validation")
    )
    earlier = read_concepts(context.inputs)
    retain = without_concepts(retain, earlier)
    base, models = context.models["base"], context.models
    target = models.get("previous") or models.get("continued") or base
    if settings.method not in TRAININGS:
        from concept_forget.unlearn.unlearning import unlearn

        return unlearn(
            target,
            forget,
            retain,
            validation,
            settings,
            context.seed,
            context.folder,
            reference=models.get("level"),
            origin=base if "previous" in models else None,
        )
    if process_count() > 1:
        raise ConfigError(
            f"`method: {settings.method}` trains in one process, and there are {process_count()}",
            key="unlearn.method",
            remedy="run it without a launcher, or with `--num_processes 1`",
        )
    from concept_forget.unlearn import trainings

    task = trainings.Task(
        target=target,
        concepts=(*context.config.concepts, *earlier),
        forget=forget,
        retain=retain,
        validation=validation,
        settings=settings,
        seed=context.seed,
        folder=context.folder,
        store=context.cache.parent,
        initial=context.models.get("initial"),
        retrained=context.models.get("retrained"),
    )
    return trainings.TRAININGS[settings.method].function(task)


def _clear(folder: Path) -> None:
    """Remove what only an interrupted run would have needed."""
    for path in (folder / "checkpoints", *folder.glob("best*")):
        shutil.rmtree(path, ignore_errors=True)
