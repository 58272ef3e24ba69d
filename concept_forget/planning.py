"""What a run will do before it does it, and what a finished one consists of: the texts of ``validate`` and ``show``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.console import plain_text, say
from concept_forget.errors import ConfigError, DataError
from concept_forget.mine.corpus import Corpus, find_sources
from concept_forget.one_round import Round
from concept_forget.pipeline import VERBS, Step, plan, stage_module
from concept_forget.pipeline import check as refuse_early
from concept_forget.run_models import RunModels
from concept_forget.user_rows import UserRow, read_rows
from concept_forget.workspace import Run, read_json

_SMALL = 4_000_000
"""Bytes of a corpus up to which it is read for the concepts' names."""


def check(config: Config) -> dict[str, Any]:
    """Everything that can be checked without running.

    Returns:
        ``steps``: the plan; ``models``: role → what it is and whether it is ready; ``estimates``: verb → expected
        numbers; ``power``: what the planned facts can show at best, by themselves and beside the reference,
        ``budget``: what the generator may be asked, ``memory``: what training will take, and ``rounds``: how far these
        have come, as lines of text; ``attacks``: their names, the user's own with their files; ``warnings``: what may
        be a mistake. Where there are several rounds, the plan is that of the last whose beginning is known.

    Raises:
        UserError: What would stop the run, with its remedy.
    """
    from concept_forget.engines.prompts import load_prompts

    refuse_early(config, of=Round(1, config.rounds) if config.rounds > 1 else None)
    with config.naming_places():
        if config.compose.holdout:
            load_prompts(config.generator.prompts)
        models = RunModels(config)
        ready = {role: models.is_ready(role) for role in models.roles}
        rounds = _rounds(config)
        steps = rounds[-1] if rounds else plan(config, models=models)
        estimates = {
            verb: module.estimate(config)
            for verb in ("expand", "mine", "compose", "probe")
            if hasattr(module := stage_module(verb), "estimate")
        }
    return {
        "steps": steps,
        "models": ready,
        "estimates": estimates,
        "power": [*_power(config, estimates["compose"]), *_comparisons(config, estimates["compose"])],
        "budget": _budget(config, estimates["expand"]),
        "memory": _memory(config, models),
        "attacks": _attacks(config),
        "warnings": doubt_names(config),
        "rounds": [_round_line(config, number, steps) for number, steps in enumerate(rounds, start=1)],
    }


def _attacks(config: Config) -> str:
    """The attacks that there will be questions for."""
    planned = stage_module("probe").planned_attacks(config)
    return ", ".join(f"{attack.name} ({attack.file})" if attack.file else attack.name for attack in planned)


def doubt_names(config: Config) -> list[str]:
    """A line for every concept that no row to forget names, nor a text of a small corpus: it may be misspelt.

    Raises:
        DataError: A row or a path of the corpus cannot be used.
    """
    rows = read_rows(config.data.forget, "data.forget")
    texts = _small_corpus(config)
    read = [*(["row of data.forget"] if rows else []), *(["text of the corpus"] if texts else [])]
    return [
        f"no {' and no '.join(read)} names {concept.name!r}: check the spelling, or give `aliases`"
        for concept in config.concepts
        if read and not any(_is_about(row, concept) for row in rows) and not any(map(concept.mentioned_in, texts))
    ]


def _is_about(row: UserRow, concept: Concept) -> bool:
    if row.concept is not None and row.concept.casefold() == concept.name.casefold():
        return True
    return any(map(concept.mentioned_in, (row.subject, row.question, row.answer, row.text, *row.paraphrases)))


def _small_corpus(config: Config) -> list[str]:
    """The texts of a corpus of a few files on this machine; of any other none."""
    sources = find_sources(config.corpus)
    if any(not source.files or source.remote for source in sources):
        return []
    corpus = Corpus(sources, config.mine.max_line_bytes)
    if (corpus.size or 0) > _SMALL:
        return []
    try:
        return [piece.text for piece in corpus.pieces()]
    except DataError:  # the stage that needs it says so
        return []


def _rounds(config: Config) -> list[list[Step]]:
    """The plans of the rounds whose beginning is known; none where there is one round alone."""
    if config.rounds == 1:
        return []
    from concept_forget.rounds.running import plan_rounds

    return list(plan_rounds(config))


def _round_line(config: Config, number: int, steps: list[Step]) -> str:
    stale = [step.verb for step in steps if step.state == "to run"]
    return f"{number} of {config.rounds} at most: {', '.join(stale) or 'nothing'} to run"


def _memory(config: Config, models: RunModels) -> list[str]:
    """What training will take at its peak beside what there is; nothing while the model is not there to be measured."""
    role = "continued" if "continued" in models else "initial" if "initial" in models else "base"
    settings = config.unlearn
    if settings.given is not None or settings.method in ("in_context", "retrain", "rl") or not models.is_ready(role):
        return []
    import torch

    on_processor = not torch.accelerator.is_available()
    expected = stage_module("unlearn").estimate_memory(config, models.find(role), on_processor=on_processor)
    there = _memory_there(on_processor)
    line = (
        f"training takes about {_gib(expected.total)}: {_gib(expected.weights)} for weights, {_gib(expected.training)} "
        f"for gradients and optimiser, up to {_gib(expected.activations)} for activations; there are {_gib(there)}"
    )
    if expected.total > there:
        line += "; lower `unlearn.batch_tokens`, set `unlearn.gradient_checkpointing`, or take an `unlearn.adapter`"
    return [line]


def _memory_there(on_processor: bool) -> int:
    """Memory of the machine, or of its first accelerator, in bytes."""
    if on_processor:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    import torch

    return int(torch.accelerator.get_memory_info()[1])


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"


def _budget(config: Config, expected: dict[str, int]) -> list[str]:
    """What the generator's budget leaves of what is expected, one line for each limit."""
    limits = {"requests": config.generator.max_requests, "tokens": config.generator.max_tokens}
    return [
        f"{name}: about {expected[name]:,} expected, {most:,} allowed"
        + ("; the last steps will not be asked in full" if expected[name] > most else "")
        for name, most in limits.items()
        if most is not None
    ]


def _power(config: Config, facts: dict[str, int]) -> list[str]:
    """What the planned number of facts can show when nothing leaks, for every tier that the verdict rests on."""
    from concept_forget.measures.statistics import planned_power

    lines = []
    for tier in config.gate_tiers:
        planned = facts.get(tier, 0) // config.rounds  # every round has its own
        power = planned_power(planned, config.probe.threshold)
        lines.append(f"{tier}: {power}")
    return lines


def _comparisons(config: Config, facts: dict[str, int]) -> list[str]:
    """What the planned number of facts can show beside the reference, tier by tier; nothing without a reference."""
    from concept_forget.measures.significance import plan_comparison

    if config.reference is None:
        return []
    tests = max(1, len(stage_module("probe").planned_attacks(config)) * len(config.gate_tiers))
    return [
        f"{tier}: {plan_comparison(facts.get(tier, 0) // config.rounds, tests, config.probe.margin)}"
        for tier in config.gate_tiers
    ]


def print_plan(config: Config) -> None:
    """Check a config and print the plan.

    Raises:
        UserError: What would stop the run, with its remedy.
    """
    findings = check(config)
    console = Console()
    stages = Table(title="plan", title_justify="left")
    for column in ("stage", "state", "expected"):
        stages.add_column(column)
    for step in findings["steps"]:
        expected = findings["estimates"].get(step.verb, {})
        stages.add_row(step.verb, step.state, ", ".join(_count(name, value) for name, value in expected.items()))
    console.print(stages)
    for role, ready in findings["models"].items():
        console.print(plain_text(f"model    {role}: {'ready' if ready else 'will be taught first'}"))
    console.print(plain_text(f"attacks  {findings['attacks']}"))
    for line in findings["rounds"]:
        console.print(plain_text(f"round    {line}"))
    for line in findings["power"]:
        console.print(plain_text(f"facts    {line}"))
    for line in findings["memory"]:
        console.print(plain_text(f"memory   {line}"))
    for line in findings["budget"]:
        console.print(plain_text(f"budget   {line}"))
    for line in findings["warnings"]:
        console.print(plain_text(f"warning  {line}"))
    console.print("the config is valid")


def print_run(folder: Path) -> None:
    """Print what a run consists of and, where it has a report, what it found.

    Raises:
        ConfigError: The folder is no run.
    """
    run = Run(folder)
    manifest = run.read_manifest()
    console = Console()
    table = Table(title=plain_text(str(folder), "table.title"), title_justify="left")
    for column in ("stage", "fingerprint", "seconds", "requests", "files"):
        table.add_column(column, justify="right" if column in ("seconds", "requests") else "left")
    for verb in VERBS:
        if verb not in manifest["stages"]:
            continue
        record = _stage_record(folder, verb)
        table.add_row(
            verb,
            plain_text(str(manifest["stages"][verb]["fingerprint"])),
            f"{record['seconds']:.1f}" if record else "–",
            str(record["requests"]) if record else "–",
            plain_text(str(folder / verb)) if record else "–",
        )
    console.print(table)
    metrics = folder / "report" / "metrics.json"
    if metrics.is_file():
        from concept_forget.report.terminal import print_metrics

        print_metrics(read_json(metrics), written=read_summary(folder, "expand"))
        say(f"report   {folder / 'report' / 'report.html'}")
    else:
        console.print("there is no report yet")


def print_summary(verb: str, folder: Path) -> None:
    """Print the plain numbers of a stage's summary."""
    summary = read_json(folder / "summary.json")
    table = Table(title=verb, title_justify="left", show_header=False)
    for key, value in summary.items():
        if isinstance(value, dict):
            value = ", ".join(
                f"{_words(name)} {item}" for name, item in value.items() if isinstance(item, (int, float, str))
            )
        if isinstance(value, (str, int, float)) and value != "":
            table.add_row(plain_text(_words(key)), plain_text(str(value)))
    Console().print(table)


def read_summary(folder: Path, verb: str) -> dict[str, Any] | None:
    """What a stage of a run says of itself; None where it did not run."""
    path = folder / verb / "summary.json"
    return dict(read_json(path)) if path.is_file() else None


def _stage_record(folder: Path, verb: str) -> dict[str, Any] | None:
    path = folder / verb / "stage.json"
    if not path.is_file():
        return None
    record = read_json(path)
    if not isinstance(record, dict):
        raise ConfigError("this is no record of a stage", file=path, remedy="run the config again")
    return record


def _count(name: str, value: int) -> str:
    return f"{value:,} {_words(name.removesuffix('s') if value == 1 else name)}"


def _words(name: str) -> str:
    return name.replace("_", " ")


__all__ = ["Step", "check", "doubt_names", "print_plan", "print_run", "print_summary", "read_summary"]
