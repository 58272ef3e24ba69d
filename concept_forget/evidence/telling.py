"""Whether what a bundle's summaries and its report.md say is what its numbers say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from concept_forget.config import Config
from concept_forget.evidence.asking import Asked, Wrong
from concept_forget.evidence.contents import Contents
from concept_forget.measures.metrics import Metrics
from concept_forget.probe.searching import Try, count_tries
from concept_forget.records import Attempt
from concept_forget.report.markdown import render_markdown
from concept_forget.report.redaction import no_redaction
from concept_forget.report.stage import title_of

REPORT, REPORT_SUMMARY = "report/report.md", "report/summary.json"
COUNTED_WHERE_PRESENT = ("search", "attacks_not_made")
"""What a summary says only where there was any."""


def count_summary(
    attempts: Sequence[Attempt], tries: Sequence[Try], asked: Asked, numbers: Mapping[str, Any], config: Config
) -> dict[str, Any]:
    """What the probe's ``summary.json`` ought to say, as far as the attempts tell it."""
    roles = [role for role in ("base", "unlearned", "reference") if role != "reference" or config.reference]
    counted: dict[str, Any] = {
        "attempts": len(attempts),
        "models": roles,
        "outcome": numbers["verdict"]["outcome"],
        "replies_cut_by_length": sum(attempt.finish_reason == "length" for attempt in attempts),
        "empty_replies": {
            role: sum(attempt.model == role and not attempt.reply.strip() for attempt in attempts) for role in roles
        },
    }
    if asked.questions is not None:
        counted["questions"] = asked.questions
    if tries:
        counted["search"] = count_tries(tries)
    if numbers["not_made"]:
        counted["attacks_not_made"] = numbers["not_made"]
    return counted


def check_searched(attempts: Sequence[Attempt], tries: Sequence[Try], names: Sequence[str]) -> Iterator[Wrong]:
    """Whether what counts of a search is what it chose."""
    if [one.attempt for one in tries if one.chosen] != [one for one in attempts if one.attack in names]:
        yield "probe/tries.jsonl", "chose other attempts than those that count"


def check_report(contents: Contents, config: Config, outcome: str) -> Iterator[Wrong]:
    """Whether ``report.md`` and the report's summary say what ``metrics.json`` and the counted verdict say."""
    told = contents.json(REPORT_SUMMARY).get("outcome")
    if told != outcome:
        yield f"{REPORT_SUMMARY}: outcome", f"is {told!r:.80}, and {outcome!r} when it is counted again"
    if config.report.redact:
        return
    try:
        metrics = Metrics.model_validate(contents.json("report/metrics.json"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        contents.refuse(f"report/metrics.json: {'.'.join(map(str, first['loc']))}: {first['msg']}", error)
    if contents.text(REPORT) != render_markdown(metrics, title_of(config), no_redaction()):
        yield REPORT, "is not what the report makes of report/metrics.json"


def untold(config: Config) -> Iterator[str]:
    """What is the run's own word."""
    if config.report.redact:
        yield "report.md: answers are left out of it that are not all in the bundle"
    if config.reference is not None:
        yield "operations of retraining: they are the reference model's own, which is not in the bundle"
