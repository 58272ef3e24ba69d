"""Finds finished runs and reads of each what a comparison needs: every fact's rates, what was kept, what it cost."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concept_forget.errors import ConfigError
from concept_forget.measures.metrics import Metrics
from concept_forget.measures.pooling import FactRates
from concept_forget.probe.asking import COLLATERAL, STRANGERS
from concept_forget.probe.grading import leak
from concept_forget.records import Attempt, content_hash, read_grade
from concept_forget.workspace import Run, read_json, read_records

FILE = "comparison.json"
FORMAT = 1
_OF_A_WORLD = ("target", "reference", "output", "seed", "report", "vars", "compare")
"""Settings in which runs of one arm may differ."""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run's folder, and the arm and the repetition that it is."""

    folder: Path
    arm: str
    repetition: str


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What a run came to.

    ``rates``: tier → attack → fact → its rates; ``kept``: distance → fact of a neighbour → its rates, floor 0.
    ``forget_tokens`` is None where the run does not say.
    """

    found: FoundRun
    metrics: Metrics
    rates: Mapping[str, Mapping[str, Mapping[str, FactRates]]]
    kept: Mapping[str, Mapping[str, FactRates]]
    forget_tokens: int | None


@dataclass(frozen=True, slots=True)
class Found:
    """The runs that some folders hold; ``gap`` names two arms, where a single comparison says so."""

    runs: tuple[FoundRun, ...]
    gap: tuple[str, str] | None
    unfinished: tuple[FoundRun, ...]


def find_runs(folders: Sequence[Path]) -> Found:
    """The runs that are, or lie in, some folders, arm by arm.

    The folder of a comparison stands for the finished runs of all its arms. Other runs are the same arm where their
    settings are the same but for models, seed and output.

    Raises:
        ConfigError: A folder is neither, or no run is finished.
    """
    folders = list({folder.resolve(): folder for folder in folders}.values())
    plans = {folder: read_comparison(folder) for folder in folders if (folder / FILE).is_file()}
    planned = [
        FoundRun(
            folder / run["folder"], run["arm"] if len(plans) == 1 else f"{folder.name}/{run['arm']}", run["repetition"]
        )
        for folder, plan in plans.items()
        for run in plan["runs"]
    ]
    known = {run.folder.resolve() for run in planned}
    alone = [folder for folder in folders if folder not in plans and folder.resolve() not in known]
    runs = [run for run in planned if is_finished(run.folder)]
    runs += _group([(folder, _settings_of(folder)) for folder in alone], {run.arm for run in planned})
    if not runs:
        raise ConfigError("no run of it is finished yet", file=folders[0], remedy="run its config again: it goes on")
    gap = next(iter(plans.values()))["gap"] if len(plans) == 1 else None
    unfinished = tuple(run for run in planned if not is_finished(run.folder))
    return Found(tuple(runs), (gap[0], gap[1]) if gap else None, unfinished)


def is_finished(folder: Path) -> bool:
    """Whether a run has a report."""
    return (folder / "report" / "metrics.json").is_file()


def read_comparison(folder: Path) -> dict[str, Any]:
    """Read the file of a comparison.

    Raises:
        ConfigError: It is none, or one of another format.
    """
    path = folder / FILE
    try:
        content: dict[str, Any] = read_json(path)
    except ValueError as error:
        raise ConfigError(f"this is not JSON: {error}", file=path, remedy="run the config again") from error
    if content.get("format") != FORMAT:
        raise ConfigError(
            f"the comparison has format {content.get('format')!r}, this version reads {FORMAT}",
            file=path,
            remedy="run the config again with this version",
        )
    return content


def read_run(found: FoundRun) -> FinishedRun:
    """Read a finished run.

    Raises:
        ConfigError: It is no run.
        DataError: A file of it was changed.
    """
    folder = found.folder
    grader = Run(folder).read_manifest()["config"]["probe"]["grader"]
    attempts = read_records(Attempt, folder / "probe" / "attempts.jsonl")
    lines = (folder / "probe" / "grades.jsonl").read_text(encoding="utf-8").strip().split("\n")
    leaks = [leak(read_grade(json.loads(line)), grader) for line in lines]
    metrics = Metrics.model_validate(read_json(folder / "report" / "metrics.json"))
    return FinishedRun(found, metrics, *_rates(attempts, leaks), _forget_tokens(folder))


def _settings_of(folder: Path) -> str:
    """A mark of what a run does, whatever the world."""
    config = Run(folder).read_manifest()["config"]
    if not is_finished(folder):
        raise ConfigError("the run is not finished", file=folder, remedy="run its config again: it goes on")
    return content_hash({name: value for name, value in config.items() if name not in _OF_A_WORLD})


def _group(runs: Sequence[tuple[Path, str]], taken: Collection[str]) -> list[FoundRun]:
    """Runs by what they do; an arm is called as its first run's folder, or as the arm of a comparison that it is."""
    arms: dict[str, list[Path]] = {}
    for folder, settings in runs:
        arms.setdefault(settings, []).append(folder)
    names = [_arm_name(folders[0]) for folders in arms.values()]
    found = []
    for folders, name in zip(arms.values(), names, strict=True):
        arm = folders[0].as_posix() if name in taken or names.count(name) > 1 else name
        repetitions = [folder.resolve().name for folder in folders]
        alike = len(set(repetitions)) < len(repetitions)
        found += [
            FoundRun(folder, arm, folder.as_posix() if alike else repetition)
            for folder, repetition in zip(folders, repetitions, strict=True)
        ]
    return found


def _arm_name(folder: Path) -> str:
    resolved = folder.resolve()
    return resolved.parent.name if (resolved.parent.parent / FILE).is_file() else resolved.name


def _rates(
    attempts: Iterable[Attempt], leaks: Iterable[float]
) -> tuple[dict[str, dict[str, dict[str, FactRates]]], dict[str, dict[str, FactRates]]]:
    """Rates by tier, attack and fact, and those of neighbours by distance."""
    values: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for attempt, leaked in zip(attempts, leaks, strict=True):
        # The same fact of a neighbour may be asked for two concepts, and then counts twice.
        key = f"{attempt.subject}\0{attempt.fact}" if attempt.attack == COLLATERAL else attempt.fact
        cell = values.setdefault((attempt.tier, attempt.attack, attempt.model), {})
        cell.setdefault(key, []).append(leaked)
    means = {cell: {fact: statistics.fmean(found) for fact, found in facts.items()} for cell, facts in values.items()}
    rates: dict[str, dict[str, dict[str, FactRates]]] = {}
    kept: dict[str, dict[str, FactRates]] = {}
    for tier, attack in dict.fromkeys(cell[:2] for cell in means):
        base, unlearned = means[tier, attack, "base"], means[tier, attack, "unlearned"]
        if attack == COLLATERAL:
            kept[tier] = {key: FactRates(unlearned[key], 0.0, base[key]) for key in base.keys() & unlearned.keys()}
            continue
        floor = means.get((tier, attack, "reference")) or means.get((tier, attack, STRANGERS)) or {}
        shared = sorted(base.keys() & unlearned.keys() & floor.keys())
        rates.setdefault(tier, {})[attack] = {
            fact: FactRates(unlearned[fact], floor[fact], base[fact]) for fact in shared
        }
    return rates, kept


def _forget_tokens(folder: Path) -> int | None:
    path = folder / "unlearn" / "summary.json"
    if not path.is_file():
        return None
    counted = read_json(path).get("rows", {}).get("forget", {}).get("tokens")
    return int(counted) if counted is not None else None
