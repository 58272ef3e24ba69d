"""The Python API: the verbs of the command line as functions.

config = load_config("pipelines/quickstart.yaml", ["seed=1"])
result = run(config)
print(result.metrics["verdict"])
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from concept_forget.config import Config
from concept_forget.config_file import load_config
from concept_forget.pipeline import RunResult, Say, plan
from concept_forget.pipeline import run as _run

if TYPE_CHECKING:
    from concept_forget.comparison.running import Comparison
    from concept_forget.measures.one_model import OneModel

__all__ = [
    "compare",
    "compose",
    "expand",
    "export",
    "load_config",
    "mine",
    "plan",
    "probe",
    "probe_model",
    "report",
    "run",
    "unlearn",
]


def _silent(line: str) -> None:
    return None


def run(config: Config, *, until: str = "report", force: tuple[str, ...] = (), say: Say = _silent) -> RunResult:
    """Run every stage that is not up to date; of a config with ``rounds``, those of all of them.

    Args:
        config: From ``load_config``, or built in Python.
        until: The last stage: expand, mine, compose, unlearn, probe or report.
        force: Stages that run again though they are up to date.
        say: Called with a line of text for every stage.

    Raises:
        UserError: The user's mistake, with its remedy.
        ConceptForgetError: A stage that could not do its work.
    """
    if config.rounds > 1 and until == "report" and not force:
        from concept_forget.rounds.running import run_rounds

        return run_rounds(config, say=say)
    return _run(config, until=until, force=force, say=say)


def compare(config: Config, *, say: Say = _silent) -> Comparison:
    """Run what is not up to date of every arm of a config with a section ``compare``, and compare the arms.

    Args:
        config: From ``load_config``, or built in Python.
        say: Called with a line of text for every stage.

    Raises:
        UserError: The user's mistake, with its remedy.
        ConceptForgetError: A stage that could not do its work.
    """
    from concept_forget.comparison.running import run_comparison

    return run_comparison(config, say=say)


def expand(config: Config, *, force: bool = False, say: Say = _silent) -> RunResult:
    """Let the generator write facts and questions about the concepts and their neighbours."""
    return _one("expand", config, force, say)


def mine(config: Config, *, force: bool = False, say: Say = _silent) -> RunResult:
    """Find what the corpus says about the concepts."""
    return _one("mine", config, force, say)


def compose(config: Config, *, force: bool = False, say: Say = _silent) -> RunResult:
    """Divide all rows into forget, retain, validation, probe and collateral."""
    return _one("compose", config, force, say)


def unlearn(config: Config, *, force: bool = False, say: Say = _silent) -> RunResult:
    """Train the target to forget."""
    return _one("unlearn", config, force, say)


def probe(config: Config, *, force: bool = False, regrade: bool = False, say: Say = _silent) -> RunResult:
    """Ask base, unlearned and reference model; with ``regrade``, grade the replies again and ask nothing."""
    return _run(config, until="probe", force=("probe",) if force else (), regrade=regrade, say=say)


def probe_model(
    model: str,
    probes: str | Path,
    out: str | Path,
    *,
    attacks: Sequence[str] = (),
    reference: str | None = None,
) -> OneModel:
    """Probe any model with the finished sets of a run, without unlearning anything.

    Args:
        model: Folder or hub id.
        probes: A run's folder, its folder ``compose``, or what ``export --to jsonl`` or ``parquet`` wrote.
        out: A new or empty folder, or one that an equal call has begun.
        attacks: Names of attacks or families; none: those of the run, or ``quick``.
        reference: Folder or hub id of a model that never learned the concept; without it there is no verdict.

    Returns:
        The rates, as ``metrics.json`` holds them.

    Raises:
        UserError: The user's mistake, with its remedy.
    """
    from concept_forget.probe.one_model import probe_model as ask

    return ask(model, Path(probes), Path(out), attacks=attacks, reference=reference)


def report(config: Config, *, force: bool = False, say: Say = _silent) -> RunResult:
    """Write the page, ``metrics.json`` and the verdict."""
    return _one("report", config, force, say)


def export(
    run_folder: str | Path,
    to: str,
    out: str | Path,
    *,
    licence: str = "unknown",
    push_to_hub: str | None = None,
    public: bool = False,
) -> Path:
    """Write the sets of a finished run in the layout of another program, with a card.

    Args:
        run_folder: The run's folder; its stage compose is finished.
        to: trl, open-unlearning, llama-factory, lm-eval, rwku, muse, jsonl or parquet.
        out: A new or empty folder.
        licence: What the hub calls the licence, as in ``cc-by-4.0``.
        push_to_hub: A dataset on the hub to push to as well, as in ``name/set``.
        public: Whether everybody may see it there.

    Returns:
        ``out``.

    Raises:
        UserError: The user's mistake, with its remedy, or the hub's refusal.
    """
    from concept_forget.exports.exporting import export_sets

    export_sets(Path(run_folder), to, Path(out), licence=licence, push_to_hub=push_to_hub, public=public)
    return Path(out)


def _one(verb: str, config: Config, force: bool, say: Say) -> RunResult:
    return _run(config, until=verb, force=(verb,) if force else (), say=say)


class _Verb(ModuleType):
    """The package of a verb, to be called as the verb is."""

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(globals()[self.__name__.rpartition(".")[2]])

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return globals()[self.__name__.rpartition(".")[2]](*arguments, **named)


class _Package(ModuleType):
    """What holds both verbs and packages of the same name: whoever imports one of these puts it in the verb's place."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _VERBS and isinstance(value, ModuleType):
            value.__class__ = _Verb
        super().__setattr__(name, value)


_VERBS = ("expand", "mine", "compose", "unlearn", "probe", "report")


def keep_verbs(package: str) -> None:
    """Let the verbs of a package be called though it comes to hold packages of the same names."""
    holder = sys.modules[package]
    holder.__class__ = _Package
    for verb in _VERBS:
        setattr(holder, verb, getattr(holder, verb))
