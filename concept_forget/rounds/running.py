"""Runs the rounds of a config, each on what the one before it left, until another has no use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from concept_forget import pipeline
from concept_forget.config import Config
from concept_forget.earlier import unlearned_model
from concept_forget.errors import ConfigError
from concept_forget.measures.metrics import RoundResult
from concept_forget.measures.rounds import why_over
from concept_forget.one_round import Round
from concept_forget.pipeline import VERBS, RunResult, Say, Step
from concept_forget.rounds.leaking import read_leaks
from concept_forget.run_models import RunModels
from concept_forget.training.processes import process_count
from concept_forget.workspace import STORE, Run, read_json, write_json

FILE = "rounds.json"


def run_rounds(config: Config, *, say: Say = lambda line: None) -> RunResult:
    """Run what is not up to date of every round, and let the run's folder lead to the last one.

    Rounds share finished stages, and the same command goes on where it stopped.

    Args:
        config: A config with ``rounds`` above 1.
        say: Called with a line of text for every stage.

    Returns:
        What the last round came to, in the folder of the run.

    Raises:
        ConfigError: There is one round alone, or there are several processes.
        ConceptForgetError: Whatever a stage could not do; the round is named in the line said before.
    """
    if process_count() > 1:
        raise ConfigError(
            f"rounds run in one process, and there are {process_count()}",
            key="rounds",
            remedy="run it without a launcher, or with `--num_processes 1`",
        )
    root = Run(config.output)
    with root.lock(), config.naming_places():
        own: Round | str = _first(config)
        while isinstance(own, Round):
            alone = of_round(config, own.number)
            say(f"round {own.number} (of {own.count} at most)")
            result = pipeline.run(alone, say=lambda line: say(f"  {line}"), store=_store(config), of=own)
            _lead_to(root, config, alone.output)
            number, own = own.number, _following(own, result.steps)
        say(f"over     {own}")
        write_json(root.root / FILE, {"rounds": number, "at_most": config.rounds, "stopped": own})
    return RunResult(config.output, result.steps, result.metrics, result.outcome)


def plan_rounds(config: Config) -> Iterator[list[Step]]:
    """The stages of every round whose beginning is known: of the first, and of those before which another is finished.

    Raises:
        UserError: What would stop the run.
    """
    own: Round | str = _first(config)
    while isinstance(own, Round):
        alone = of_round(config, own.number)
        steps = pipeline.plan(alone, models=RunModels(alone, of=own), store=_store(config))
        yield steps
        if any(step.state == "to run" for step in steps):
            return
        own = _following(own, steps)


def of_round(config: Config, number: int) -> Config:
    """The config of one round: its folder lies in that of the run."""
    return config.model_copy(update={"output": config.output / f"round-{number}"}).read_where(config)


def _first(config: Config) -> Round:
    if config.rounds < 2:
        raise ConfigError("this config has one round alone", key="rounds", remedy="set `rounds` to 2 or more")
    return Round(1, config.rounds)


def _following(own: Round, steps: Sequence[Step]) -> Round | str:
    """What the round after a finished one begins from; or why there is none."""
    folders = {step.verb: step.folder for step in steps if step.folder is not None}
    history: list[dict[str, Any]] = read_json(folders["report"] / "metrics.json")["rounds"]
    over = why_over([RoundResult.model_validate(past) for past in history], own.count)
    if over is not None:
        return over
    known = {row.id for row in own.leaked}
    leaked = [row for row in read_leaks(folders["compose"], folders["probe"]) if row.id not in known]
    if not leaked:
        return f"nothing leaked in round {own.number} but what a model says that never learned it"
    return Round(own.number + 1, own.count, [*own.leaked, *leaked], history, unlearned_model(folders["unlearn"]))


def _lead_to(root: Run, config: Config, folder: Path) -> None:
    """Let the run's folder hold what a round's does: its stages, and the record of them."""
    for verb in VERBS:
        root.link(verb, (folder / verb).resolve())
    manifest = Run(folder).read_manifest()
    root.write_manifest({**manifest, "config": config.model_dump(mode="json")})


def _store(config: Config) -> Path:
    """Where the rounds keep their finished stages: where the run would."""
    return config.output.parent / STORE
