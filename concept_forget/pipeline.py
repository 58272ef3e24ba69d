"""Runs the six verbs in order, and knows what is stale."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from tempfile import gettempdir
from types import ModuleType
from typing import Any, Literal, get_args

from concept_forget.config import Config
from concept_forget.config.verbs import WHITE_BOX_NAMES
from concept_forget.earlier import INPUT as EARLIER
from concept_forget.earlier import earlier_mark, read_unlearned, write_earlier
from concept_forget.errors import ConceptForgetError, ConfigError
from concept_forget.execution import current_workers, working
from concept_forget.faults import naming_faults
from concept_forget.machine import environment, memory_peak
from concept_forget.one_round import INPUT as ROUND
from concept_forget.one_round import Round, write_round
from concept_forget.out_of_memory import recording_halvings
from concept_forget.precision import recorded_precision
from concept_forget.records import ModelSpec, Split, content_hash, to_json
from concept_forget.run_models import RunModels, sandbox_documents, sandbox_originals
from concept_forget.training.processes import is_main_process, receive_order, send_order
from concept_forget.workspace import (
    Costs,
    Run,
    StageContext,
    cache_folder,
    read_json,
    write_text,
)

Say = Callable[[str], None]
State = Literal["up to date", "to run", "given"]


@dataclasses.dataclass(frozen=True, slots=True)
class StageDefinition:
    """What a verb needs at most: the stages before it, and models by role as far as the config fills them."""

    verb: str
    after: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


STAGES = (
    StageDefinition("expand", models=("generator", "judge", "base")),
    StageDefinition("mine", after=("expand",)),
    StageDefinition("compose", after=("expand", "mine"), models=("base",)),
    StageDefinition(
        "unlearn", after=("compose",), models=("base", "initial", "retrained", "level", "continued", "previous")
    ),
    StageDefinition(
        "probe", after=("compose", "unlearn"), models=("base", "unlearned", "reference", "attacker", "previous")
    ),
    StageDefinition(
        "report",
        after=("expand", "mine", "compose", "unlearn", "probe"),
        models=("base", "unlearned", "reference"),
    ),
)
VERBS = tuple(stage.verb for stage in STAGES)


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One line of a plan."""

    verb: str
    fingerprint: str
    state: State
    folder: Path | None


@dataclasses.dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to.

    ``metrics`` is the content of ``metrics.json``, or None when the run stopped before the report.
    """

    folder: Path
    steps: tuple[Step, ...]
    metrics: dict[str, Any] | None
    outcome: str | None


def plan(
    config: Config, *, until: str = "report", models: RunModels | None = None, store: Path | None = None
) -> list[Step]:
    """The stages of a run up to ``until``, each with its fingerprint and whether it has to run.

    Nothing is taught, asked or written.

    Args:
        config: The whole config.
        until: The last stage.
        models: The models of the run, where they are known already.
        store: Where finished stages are kept; None: beside the run.

    Raises:
        ConfigError: ``until`` is no stage, or the config compares several runs.
        ModelError: A model is absent.
        DataError: A file of rows is absent or cannot be read.
    """
    models = models or RunModels(config)
    run = Run(config.output, store)
    steps: dict[str, Step] = {}
    with config.naming_places():
        _require_one_run(config, models.round)
        for stage in _stages_until(until):
            steps[stage.verb] = _step(stage, config, models, run, steps)
    return list(steps.values())


def _step(stage: StageDefinition, config: Config, models: RunModels, run: Run, steps: Mapping[str, Step]) -> Step:
    if stage.verb == "unlearn" and config.unlearn.given is not None:
        return Step("unlearn", models.fingerprint("unlearned"), "given", None)
    fingerprint = _fingerprint(stage, config, models, steps)
    folder = run.finished(stage.verb, fingerprint)
    return Step(stage.verb, fingerprint, "up to date" if folder else "to run", folder)


def run(
    config: Config,
    *,
    until: str = "report",
    force: Collection[str] = (),
    regrade: bool = False,
    say: Say = lambda line: None,
    store: Path | None = None,
    of: Round | None = None,
) -> RunResult:
    """Run every stage up to ``until`` that is not up to date.

    Args:
        config: The whole config.
        until: The last stage.
        force: Stages that run again though they are up to date.
        regrade: Grade the attempts of the last probe again; ask nothing.
        say: Called with a line of text for every stage.
        store: Where finished stages are kept; None: beside the run.
        of: The round that this run is, where it is one of several.

    Raises:
        ConfigError: The config makes several runs, or a stage is named that does not exist.
        DiskFullError: A disk is full.
        OutOfMemoryError: Memory does not suffice, however small the batches.
        StorageError: The run, its store or the cache may not be written.
        ConceptForgetError: Whatever a stage could not do; see ``concept_forget.errors`` for the tree.
    """
    for verb in force:
        _stages_until(verb)
    check(config, until=until, of=of)
    if not is_main_process():
        _train_along()
        return RunResult(folder=config.output, steps=(), metrics=None, outcome=None)
    try:
        places = (store or config.output.parent, config.output, cache_folder(), Path(gettempdir()))
        with naming_faults(*places):
            return _run(RunModels(config, say, of), config, until, force, regrade, say, store)
    finally:
        send_order(None)


def _train_along() -> None:
    """What every process but the first does: train where the first one trains, and nothing else."""
    while (context := receive_order()) is not None:
        with contextlib.suppress(ConceptForgetError):  # the first process meets the same error, and tells it
            stage_module("unlearn").train_along(context)


def _run(
    models: RunModels,
    config: Config,
    until: str,
    force: Collection[str],
    regrade: bool,
    say: Say,
    store: Path | None,
) -> RunResult:
    workspace = Run(config.output, store)
    with workspace.lock(), config.naming_places(), working(config.execution):
        kept = _kept_attempts(workspace) if regrade else {}
        done: dict[str, Step] = {}
        for step in plan(config, until=until, models=models, store=store):
            again = step.verb in force or (regrade and step.verb == "probe")
            if step.state == "to run" or (again and step.state != "given"):
                if again:
                    _start_over(workspace, step, kept if step.verb == "probe" else {})
                step = _run_stage(step, config, models, workspace, done, say)
            else:
                say(f"{step.verb:<8} {step.state}")
            done[step.verb] = step
            _record(workspace, config, models, done)
    report = done.get("report")
    metrics = read_json(report.folder / "metrics.json") if report and report.folder else None
    return RunResult(
        folder=config.output,
        steps=tuple(done.values()),
        metrics=metrics,
        outcome=metrics["verdict"]["outcome"] if metrics else None,
    )


def check(config: Config, *, until: str = "report", of: Round | None = None) -> None:
    """Refuse what each stage up to ``until`` can refuse before anything is taught, asked or written.

    Raises:
        UserError: What would stop the run later.
    """
    with config.naming_places():
        _require_one_run(config, of)
        if config.execution.engine == "ray":
            from concept_forget.engines.opening import require_engine

            require_engine("ray", "execution.engine")
        for stage in _stages_until(until):
            refuse = getattr(stage_module(stage.verb), "check", None)
            if refuse is not None:
                refuse(config)


def _require_one_run(config: Config, of: Round | None) -> None:
    if config.rounds > 1 and of is None:
        raise ConfigError(
            f"this config goes in up to {config.rounds} rounds: it is several runs, not one",
            key="rounds",
            remedy="use `concept-forget run CONFIG` as it is, or set `rounds: 1`",
        )
    if config.compare is not None:
        raise ConfigError(
            f"this config compares {len(config.compare.arms)} arms: it is several runs, not one",
            key="compare",
            remedy="use `concept-forget run CONFIG`, or `compare(config)` in Python",
        )


def _stages_until(verb: str) -> tuple[StageDefinition, ...]:
    if verb not in VERBS:
        raise ConfigError(f"there is no stage {verb!r}", key="stage", remedy=f"the stages are {', '.join(VERBS)}")
    return STAGES[: VERBS.index(verb) + 1]


def stage_module(verb: str) -> ModuleType:
    """The front door of a verb's package."""
    return importlib.import_module(f"concept_forget.{verb}.stage")


def _roles(stage: StageDefinition, config: Config) -> tuple[str, ...]:
    """The models of a stage by role: where the config decides which, the stage says so."""
    chosen: tuple[str, ...] = getattr(stage_module(stage.verb), "model_roles", lambda config: stage.models)(config)
    return chosen


def _fingerprint(stage: StageDefinition, config: Config, models: RunModels, steps: Mapping[str, Step]) -> str:
    module = stage_module(stage.verb)
    named = {
        role: steps["unlearn"].fingerprint if role == "unlearned" else models.fingerprint(role)
        for role in _roles(stage, config)
        if role in models or role == "unlearned"
    }
    parts = module.fingerprint_parts(config)
    corpus = _corpus_mark(config, models) if stage.verb == "mine" else None
    upstream = [steps[verb].fingerprint for verb in stage.after]
    earlier = [earlier_mark(models.earlier)] if models.earlier and stage.verb in ("unlearn", "probe") else []
    if models.round and stage.verb in ("compose", "report"):
        earlier.append(models.round.mark)
    return content_hash(stage.verb, module.VERSION, parts, named, upstream, corpus, config.seed, *earlier)


def _corpus_mark(config: Config, models: RunModels) -> str | None:
    return models.fingerprint("base") if any(source.sandbox for source in config.corpus) else None


def _kept_attempts(workspace: Run) -> dict[str, str]:
    """What grading anew starts from: all that the run's last probe got from the models, by file name."""
    folder = workspace.root / "probe"
    if not (folder / "attempts.jsonl").is_file():
        raise ConfigError(
            "there are no attempts to grade again", file=folder, remedy="run `probe` without --regrade first"
        )
    names = ("attempts", "tries", *WHITE_BOX_NAMES)
    files = [folder / "fluency.json", *(folder / f"{name}.jsonl" for name in names)]
    return {file.name: file.read_text(encoding="utf-8") for file in files if file.is_file()}


def _start_over(workspace: Run, step: Step, kept: Mapping[str, str]) -> None:
    """Clear a stage, but for the files that are kept."""
    workspace.discard(step.verb, step.fingerprint)
    for name, text in kept.items():
        write_text(workspace.store / step.verb / f"{step.fingerprint}.partial" / name, text)


def _run_stage(
    step: Step, config: Config, models: RunModels, workspace: Run, done: Mapping[str, Step], say: Say
) -> Step:
    stage = STAGES[VERBS.index(step.verb)]
    specs = {role: models.find(role) for role in _roles(stage, config) if role in models}
    if "unlearned" in stage.models and "unlearned" not in specs:
        unlearned = done["unlearn"]
        assert unlearned.folder is not None
        specs["unlearned"] = ModelSpec(**{**read_unlearned(unlearned.folder), "fingerprint": unlearned.fingerprint})
    inputs = {verb: folder for verb in stage.after if (folder := done[verb].folder) is not None}
    if stage.verb == "mine" and any(source.sandbox for source in config.corpus):
        inputs["sandbox"] = sandbox_documents(config, models, workspace)
    if stage.verb == "compose" and config.compose.forget_from == "oracle" and not config.data.oracle:
        inputs["oracle"] = sandbox_originals(config, models, workspace)
    if models.earlier and stage.verb in ("unlearn", "probe"):
        inputs[EARLIER] = write_earlier(models.earlier, workspace.store / EARLIER / earlier_mark(models.earlier))
    if models.round and stage.verb in ("compose", "report"):
        inputs[ROUND] = write_round(models.round, workspace.store / ROUND / models.round.mark)
    say(f"{step.verb:<8} …")
    with workspace.stage(step.verb, step.fingerprint) as folder, memory_peak() as peak, recording_halvings() as halved:
        if other := workspace.finished(step.verb, step.fingerprint):  # a run that shares the store was faster
            say(f"{step.verb:<8} up to date")
            return dataclasses.replace(step, state="up to date", folder=other)
        context = StageContext(
            config=config,
            folder=folder,
            inputs=inputs,
            models=specs,
            cache=workspace.store / "replies.sqlite",
            costs=Costs(),
        )
        if stage.verb == "unlearn":
            send_order(context)
        began = time.monotonic()
        summary = stage_module(step.verb).run(context)
        seconds = time.monotonic() - began
        manifest = {
            "verb": step.verb,
            "fingerprint": step.fingerprint,
            "inputs": {verb: step.fingerprint for verb, step in done.items() if verb in stage.after},
            "models": {role: to_json(spec) for role, spec in specs.items()},
            "seconds": round(seconds, 3),
            "peak_memory_bytes": peak(),
            **dataclasses.asdict(context.costs),
            **({"halved_batches": halved} if halved else {}),
            "summary": summary,
        }
        if stage.verb == "unlearn":
            manifest["committed"] = _data_hashes(done["compose"])
        finished = workspace.finish(step.verb, step.fingerprint, manifest)
    say(f"{step.verb:<8} done in {seconds:.1f} s")
    return dataclasses.replace(step, state="up to date", folder=finished)


def _data_hashes(composed: Step) -> dict[str, str]:
    """SHA-256 of each set: in ``run.json`` before unlearning begins, and in what unlearning says of itself."""
    assert composed.folder is not None
    files = read_json(composed.folder / "stage.json").get("files", {})  # earlier versions wrote none
    return {split: files[f"{split}.jsonl"] for split in get_args(Split) if f"{split}.jsonl" in files}


def _halved_batches(step: Step) -> dict[str, list[str]]:
    """What a stage said of batches for which memory did not suffice; nothing where all went as it was set."""
    record = read_json(step.folder / "stage.json") if step.folder is not None else {}
    return {"halved_batches": record["halved_batches"]} if "halved_batches" in record else {}


def _record(workspace: Run, config: Config, models: RunModels, done: Mapping[str, Step]) -> None:
    """Write ``run.json`` and the links to what this run consists of so far."""
    for verb in VERBS:
        step = done.get(verb)
        if step is not None and step.folder is not None:
            workspace.link(verb, step.folder)
        else:
            workspace.unlink(verb)
    workspace.write_manifest(
        {
            "config": config.model_dump(mode="json"),
            "seed": config.seed,
            "stages": {
                verb: {
                    "fingerprint": step.fingerprint,
                    "state": step.state,
                    "version": stage_module(verb).VERSION,
                    **_halved_batches(step),
                }
                for verb, step in done.items()
            },
            "models": {role: models.fingerprint(role) for role in models.roles},
            "encoding": recorded_precision(done["mine"].folder) if "mine" in done else None,
            "data": _data_hashes(done["compose"]) if "compose" in done else {},
            "execution": workers.describe() if (workers := current_workers()) is not None else {"engine": "process"},
            "environment": environment(),
        }
    )
