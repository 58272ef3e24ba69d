"""Probes one model with the finished sets of a run: no unlearning, no model before it, a reference where there is one.

The questions, the attacks and the grades are those of the stage; what compares with a base model is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from concept_forget.config import ModelChoice, ProbeConfig
from concept_forget.errors import DataError
from concept_forget.machine import environment
from concept_forget.measures.one_model import OneModel
from concept_forget.models import resolve_model
from concept_forget.probe.agreeing import compare_graders
from concept_forget.probe.asking import Planned, ask_models, plan_questions
from concept_forget.probe.attacks import Attack, find_attacks, set_scene
from concept_forget.probe.finished_rows import ProbeRows, read_probes
from concept_forget.probe.grading import grade_by, graders_of, leak, settle_grades, write_grades
from concept_forget.probe.measuring import measure_one
from concept_forget.probe.model_grading import ModelGrading, plain_questions
from concept_forget.probe.partial import exceeding_in_part
from concept_forget.probe.white_box import white_box_named
from concept_forget.records import ModelSpec, content_hash, to_json
from concept_forget.workspace import Costs, read_json, write_json

MANIFEST = "probe.json"
NO_BASE = "residual knowledge: the model before unlearning was not asked"
NO_FLOOR = "floor and verdict: a model that never learned the concept was not asked; `--reference MODEL` names one"


def probe_model(
    model: str, probes: Path, out: Path, *, attacks: Sequence[str] = (), reference: str | None = None
) -> OneModel:
    """Ask a model the questions of a finished probe, and write what it gives away.

    ``out`` gets ``probe.json``, ``attempts.jsonl``, ``grades.jsonl`` and ``metrics.json``. After an interruption the
    same call goes on where it was.

    Args:
        model: Folder or hub id.
        probes: A run's folder, its folder ``compose``, or what ``export --to jsonl`` or ``parquet`` wrote.
        out: A new or empty folder, or one that an equal call has begun.
        attacks: Names of attacks or families; none: those of the run, or ``quick``.
        reference: Folder or hub id of a model that never learned the concept.

    Raises:
        ConfigError: There is no such attack, or another version made the run.
        DataError: ``probes`` holds no rows of a probe, none that an attack asks, or ``out`` holds something else.
        ModelError: A model is absent or cannot be read.
    """
    rows = read_probes(probes)
    settings = rows.settings.model_copy(update={"attacks": tuple(attacks)}) if attacks else rows.settings
    made = [attack for attack in find_attacks(settings) if not _is_for_runs(attack)]
    questions = _plan(rows, settings, made, probes)
    names = {"model": model} | ({"reference": reference} if reference is not None else {})
    models = {role: resolve_model(ModelChoice(model=name), f"--{role}") for role, name in names.items()}
    manifest = {
        "models": {role: {"name": names[role], **to_json(spec)} for role, spec in models.items()},
        "probes": str(probes),
        "settings": settings.model_dump(mode="json"),
        "environment": environment(),
    }
    mark = content_hash({role: spec.fingerprint for role, spec in models.items()}, manifest["settings"], rows.mark)
    _begin(out, {"fingerprint": mark, **manifest})
    metrics = _measure(rows, settings, made, questions, models, names, out)
    write_json(out / "metrics.json", metrics.model_dump(mode="json"))
    return metrics


def _is_for_runs(attack: Attack) -> bool:
    """Whether only a run makes this attack: it changes weights, or another model writes its prompts."""
    return attack.change is not None or attack.searched


def _plan(rows: ProbeRows, settings: ProbeConfig, attacks: Sequence[Attack], probes: Path) -> list[Planned]:
    scene = set_scene(
        rows.concepts,
        rows.probe,
        [*rows.retain, *rows.collateral],
        seed=rows.seed,
        distraction_words=settings.distraction_words,
    )
    questions = plan_questions(attacks, rows.probe, rows.collateral, rows.seed, scene)
    asked = {question.attack for question in questions}
    if not any(attack.name in asked for attack in attacks):
        forms = ", ".join(sorted({row.family for row in rows.probe}))
        raise DataError(
            "there is no row that one of these attacks asks", file=probes, remedy=f"name others; there are: {forms}"
        )
    return questions


def _begin(out: Path, manifest: Mapping[str, object]) -> None:
    """Say what is probed, or see that it is what an earlier call began."""
    path = out / MANIFEST
    if path.is_file():
        if read_json(path)["fingerprint"] != manifest["fingerprint"]:
            raise DataError("another probe lies here", file=out, remedy="name another folder")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError("there is something here already", file=out, remedy="name a new or empty folder")
    write_json(path, manifest)


def _measure(
    rows: ProbeRows,
    settings: ProbeConfig,
    attacks: Sequence[Attack],
    questions: Sequence[Planned],
    models: Mapping[str, ModelSpec],
    names: Mapping[str, str],
    out: Path,
) -> OneModel:
    planned = dict.fromkeys(models, questions)
    cache, costs = out / "replies.sqlite", Costs()
    attempts = ask_models(models, planned, settings, out, cache=cache, costs=costs)
    grading = ModelGrading(
        settings,
        _grading_models(rows, settings),
        cache,
        costs,
        plain_questions([*rows.probe, *rows.collateral]),
        rows.judge,
        rows.embedder,
    )
    by_grader = {name: grade_by(attempts, name, grading) for name in settings.graders}
    grades = settle_grades(attempts, settings.grader, by_grader[settings.grader])
    beside = {name: by_grader[name] for name in settings.graders[1:]}
    write_grades(out / "grades.jsonl", attempts, grades, [None] * len(grades), beside)
    asked = {question.attack for question in questions}
    found = measure_one(
        attempts,
        [leak(grade, name) for grade, name in zip(grades, graders_of(attempts, settings.grader), strict=True)],
        attack_families={attack.name: attack.family for attack in attacks},
        gate_tiers=rows.gate_tiers,
        threshold=settings.threshold,
    )
    if found.verdict is not None:
        in_part = exceeding_in_part(attempts, grades, rows.gate_tiers, settings.grader, asked="model")
        found = found.model_copy(update={"verdict": found.verdict.model_copy(update={"in_part": in_part})})
    return OneModel(
        model=names["model"],
        reference=names.get("reference"),
        **dict(found),
        not_known=[NO_BASE, *([] if "reference" in models else [NO_FLOOR]), *_for_runs(settings)],
        attacks_without_questions=[attack.name for attack in attacks if attack.name not in asked],
        graders=compare_graders(attempts, by_grader, list(models)) if settings.beside else None,
    )


def _grading_models(rows: ProbeRows, settings: ProbeConfig) -> dict[str, ModelSpec]:
    """The models by which the run grades, as far as they have weights of their own on this machine."""
    found = {}
    if settings.nli is not None and "nli" in settings.graders:
        choice = ModelChoice(model=settings.nli.model, revision=settings.nli.revision)
        found["nli"] = resolve_model(choice, "probe.nli.model")
    judge = rows.judge
    if judge is not None and judge.engine in ("transformers", "vllm"):
        choice = ModelChoice(model=judge.model, revision=judge.revision, dtype=judge.dtype)
        found["grading_judge"] = resolve_model(choice, "probe.judge.generator.model")
    return found


def _for_runs(settings: ProbeConfig) -> list[str]:
    """What is said of the attacks that were named and that only a run makes."""
    left = [attack.name for attack in find_attacks(settings) if _is_for_runs(attack)]
    left += [attack.name for attack in white_box_named(settings.attacks)]
    return [f"{', '.join(left)}: only `run` does this"] if left else []
