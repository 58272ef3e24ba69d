"""Runs every arm of a config that compares, repetition by repetition, and writes what they came to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from concept_forget import pipeline
from concept_forget.comparison.page import render_page
from concept_forget.comparison.reading import FILE, FORMAT, FoundRun, find_runs, read_run
from concept_forget.comparison.results import ArmResult, compare_runs
from concept_forget.config import Config
from concept_forget.config.arms import Arm, arms_of
from concept_forget.errors import ConfigError
from concept_forget.pipeline import Say
from concept_forget.workspace import STORE, Run, write_json, write_text

PAGE = "comparison.html"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What some runs came to, arm by arm.

    ``gap`` names the arms between which the others are placed, the poorer first; ``unfinished`` are planned runs that
    have no report yet.
    """

    arms: tuple[ArmResult, ...]
    gap: tuple[str, str] | None
    unfinished: tuple[FoundRun, ...]


def run_comparison(config: Config, *, say: Say = lambda line: None) -> Comparison:
    """Run what is not up to date of every arm, and write ``comparison.json`` and ``comparison.html``.

    Arms share finished stages, and the same command goes on where it stopped.

    Args:
        config: A config with a section ``compare``.
        say: Called with a line of text for every stage.

    Raises:
        ConfigError: The config compares nothing, or an arm's settings make no config.
        ConceptForgetError: Whatever a stage could not do; the arm is named in the line said before.
    """
    arms = _arms(config)
    root = Run(config.output)
    with root.lock():
        _write_plan(config, arms)
        for number, arm in enumerate(arms, start=1):
            say(f"{arm.name} · {arm.repetition}   ({number} of {len(arms)})")
            pipeline.run(arm.config, say=lambda line: say(f"  {line}"), store=shared_store(config))
        comparison = compare_finished([config.output])
        write_json(
            config.output / FILE, {**_plan(config, arms), "arms": list(map(dataclasses.asdict, comparison.arms))}
        )
        write_page(config.output / PAGE, config.report.title or config.output.name, comparison)
    return comparison


def write_page(path: Path, title: str, comparison: Comparison) -> None:
    """Write a comparison as a page."""
    write_text(path, render_page(title, comparison.arms, comparison.gap))


def compare_finished(folders: Sequence[Path]) -> Comparison:
    """What finished runs came to.

    Args:
        folders: Of runs, or of comparisons.

    Raises:
        ConfigError: A folder is neither, or no run is finished.
    """
    found = find_runs(folders)
    arms = compare_runs([read_run(run) for run in found.runs], found.gap)
    return Comparison(tuple(arms), found.gap, found.unfinished)


def shared_store(config: Config) -> Path:
    """Where the arms of a comparison keep their finished stages: where a run beside it would."""
    return config.output.parent / STORE


def _arms(config: Config) -> list[Arm]:
    if config.compare is None:
        raise ConfigError("this config compares nothing", key="compare", remedy="add `compare:` with `arms:`")
    return list(arms_of(config))


def _write_plan(config: Config, arms: Sequence[Arm]) -> None:
    """Say which runs belong to the comparison, so that what is finished can be compared before all of it is."""
    write_json(config.output / FILE, {**_plan(config, arms), "arms": []})


def _plan(config: Config, arms: Sequence[Arm]) -> dict[str, object]:
    assert config.compare is not None
    runs = [{"arm": arm.name, "repetition": arm.repetition, "folder": f"{arm.name}/{arm.repetition}"} for arm in arms]
    return {"format": FORMAT, "config": config.model_dump(mode="json"), "gap": config.compare.gap, "runs": runs}
