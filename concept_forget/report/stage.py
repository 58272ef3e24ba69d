"""The front door of the report: adds the cost to the probe's numbers, and writes ``metrics.json`` and two reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from concept_forget.config import Config
from concept_forget.measures.metrics import Cost, Measurements, Metrics, RoundResult
from concept_forget.measures.rounds import summarise_round
from concept_forget.one_round import INPUT as ROUND
from concept_forget.one_round import read_round
from concept_forget.report.markdown import render_markdown
from concept_forget.report.material import find_redactor, read_material
from concept_forget.report.page import render_page
from concept_forget.workspace import StageContext, read_json, write_json, write_text

VERSION = 4


def fingerprint_parts(config: Config) -> list[object]:
    """The section, and the names that the heading shows."""
    return [config.report.model_dump(mode="json"), [concept.name for concept in config.concepts]]


def run(context: StageContext) -> dict[str, object]:
    """Write ``metrics.json``, ``report.html`` and ``report.md`` into the stage's folder."""
    measurements = Measurements.model_validate(read_json(context.inputs["probe"] / "measurements.json"))
    cost = _cost(context)
    metrics = Metrics(
        **{name: getattr(measurements, name) for name in Measurements.model_fields},
        cost=cost,
        rounds=_rounds(context, measurements),
    )
    write_json(context.folder / "metrics.json", metrics.as_json())
    title = title_of(context.config)
    summaries = {
        verb: read_json(folder / "summary.json")
        for verb, folder in context.inputs.items()
        if (folder / "summary.json").is_file()
    }
    material = read_material(context.inputs, context.models)
    write_text(context.folder / "report.html", render_page(metrics, title, context.config, summaries, material))
    write_text(context.folder / "report.md", render_markdown(metrics, title, find_redactor(context.config, material)))
    summary: dict[str, object] = {"outcome": metrics.verdict.outcome, "retrain_flops": _retrain_flops(context)}
    write_json(context.folder / "summary.json", summary)
    return summary


def title_of(config: Config) -> str:
    """The heading: what the config says, or the concepts' names; of many the first ones."""
    if config.report.title:
        return config.report.title
    names = [concept.name for concept in config.concepts]
    return ", ".join(names) if len(names) <= 5 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _rounds(context: StageContext, measurements: Measurements) -> list[RoundResult] | None:
    """This round and those before it; None where the run is no round of several."""
    this = read_round(context.inputs)
    if this is None:
        return None
    told = context.inputs["probe"] / "previous.json"
    own = summarise_round(
        this.number,
        measurements,
        Measurements.model_validate(read_json(told)) if told.is_file() else None,
        read_json(context.inputs["compose"] / "summary.json"),
    )
    return [*(RoundResult.model_validate(past) for past in this.history), own]


def _cost(context: StageContext) -> Cost:
    stages = {verb: read_json(folder / "stage.json") for verb, folder in context.inputs.items() if verb != ROUND}
    flops = {verb: float(stage["flops"]) for verb, stage in stages.items()}
    return Cost(
        seconds={verb: stage["seconds"] for verb, stage in stages.items()},
        flops=flops,
        peak_memory_bytes={verb: stage["peak_memory_bytes"] for verb, stage in stages.items()},
        ratio_to_retrain=_ratio_to_retrain(context, stages),
    )


def _ratio_to_retrain(context: StageContext, stages: Mapping[str, Any]) -> float | None:
    """Unlearning's floating-point operations over those of teaching the reference, where we taught it ourselves."""
    retrain = _retrain_flops(context)
    if retrain is None or "unlearn" not in stages:
        return None
    spent: float = stages["unlearn"]["flops"]
    return spent / retrain


def _retrain_flops(context: StageContext) -> float | None:
    reference = context.models.get("reference")
    card = Path(reference.path) / "sandbox.json" if reference is not None else None
    return float(read_json(card)["flops"]) if card is not None and card.is_file() else None
