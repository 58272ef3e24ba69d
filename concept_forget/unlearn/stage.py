"""The front door of ``unlearn``: reads the training and validation sets, writes the unlearned model and its history."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from concept_forget.config import Config
from concept_forget.engines.prompts import load_prompts
from concept_forget.records import Example, to_json
from concept_forget.workspace import StageContext, read_json, read_records, write_json

VERSION = 2


def fingerprint_parts(config: Config) -> list[object]:
    """Everything of this stage that the unlearned model depends on."""
    return [config.unlearn.model_dump(mode="json", exclude={"given"}), load_prompts("unlearn").hash]


def run(context: StageContext) -> dict[str, object]:
    """Unlearn, and write ``model/`` or ``adapter/``, ``history.jsonl`` and ``summary.json``.

    Of the data sets it reads ``forget``, ``retain`` and ``validation``, and never opens ``probe`` or ``collateral``.

    Raises:
        ConceptForgetError: See ``unlearning.unlearn``.
    """
    from concept_forget.unlearn.unlearning import unlearn

    summary_file = context.folder / "summary.json"
    if summary_file.is_file():  # an interrupted try had got as far as this
        summary: dict[str, object] = read_json(summary_file)
    else:
        data = context.inputs["compose"]
        forget, retain, validation = (
            read_records(Example, data / f"{name}.jsonl") for name in ("forget", "retain", "validation")
        )
        result = unlearn(
            context.models["base"], forget, retain, validation, context.config.unlearn, context.seed, context.folder
        )
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
        write_json(summary_file, summary)
    _clear(context.folder)
    context.costs.flops += float(summary["flops"])  # type: ignore[arg-type]  # written above
    return summary


def _clear(folder: Path) -> None:
    """Remove what only an interrupted run would have needed."""
    for path in (folder / "checkpoints", *folder.glob("best*")):
        shutil.rmtree(path, ignore_errors=True)
