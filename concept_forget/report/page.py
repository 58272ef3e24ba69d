"""The result as one self-contained HTML page: no script, no request, light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment

from concept_forget.config import Config
from concept_forget.measures.metrics import DoseCurve, Metrics, pooled_concept
from concept_forget.report import wording
from concept_forget.report.chart import Group, bar_chart
from concept_forget.report.graders import (
    AGREEMENT_COLUMNS,
    AGREEMENT_MEANING,
    RATE_COLUMNS,
    agreement_rows,
    grader_rate_rows,
)
from concept_forget.report.repeated import LEAK_COLUMNS, TRIED_COLUMNS, leak_at_rows, tried_rows
from concept_forget.report.significance import TESTS_COLUMNS, TESTS_MEANING, tests_rows
from concept_forget.report.templates import page_environment
from concept_forget.report.white_box import COLUMNS, white_box_rows


def render_page(metrics: Metrics, title: str, config: Config, summaries: Mapping[str, Any]) -> str:
    """The page as a string.

    Args:
        metrics: What the run came to.
        title: The heading; any text, it is escaped.
        config: The whole effective config, shown at the end.
        summaries: Each stage's ``summary.json``, by verb.
    """
    environment = _environment(metrics)
    pooled = pooled_concept(metrics.concepts)
    tiers = [tier for tier in wording.TIERS if _groups(metrics, pooled, tier)]
    return environment.get_template("page.html.jinja").render(
        metrics=metrics,
        title=title,
        pooled=pooled,
        outcome=wording.OUTCOMES[metrics.verdict.outcome],
        charts=[
            (
                tier,
                bar_chart(
                    _groups(metrics, pooled, tier),
                    f"Share of facts given away, by attack and model, {wording.tier_name(tier)}",
                ),
            )
            for tier in tiers
        ],
        doses=[(tier, curve, _dose_chart(tier, curve)) for tier, curve in (metrics.dose_response or {}).items()],
        rows={concept: list(wording.tier_rows(metrics, concept)) for concept in metrics.concepts},
        leak_at=(LEAK_COLUMNS, leak_at_rows(metrics, pooled)),
        tried=(TRIED_COLUMNS, tried_rows(metrics, pooled)),
        tests=(TESTS_COLUMNS, tests_rows(metrics, pooled)),
        tests_meaning=TESTS_MEANING,
        grader_rates=(RATE_COLUMNS, grader_rate_rows(metrics.graders)),
        agreement=(AGREEMENT_COLUMNS, agreement_rows(metrics.graders)),
        agreement_meaning=AGREEMENT_MEANING,
        config_text=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        gate_tiers=config.gate_tiers,
        threshold=config.probe.threshold,
        holdout=config.compose.holdout,
        concepts=config.concepts,
        summaries=summaries,
        rounds=metrics.rounds or [],
        round_rows=wording.round_rows(metrics.rounds or []),
        white_box=white_box_rows(metrics.white_box, pooled) if metrics.white_box else [],
        white_box_columns=COLUMNS,
        diversity=wording.diversity_rows(summaries.get("expand")),
        diversity_columns=wording.DIVERSITY_COLUMNS,
    )


def _environment(metrics: Metrics) -> Environment:
    """Where the template is, and the words that it is told in."""
    environment = page_environment(Path(__file__).parent)
    environment.globals.update(
        percent=wording.percent,
        rate_text=wording.rate_text,
        estimate_text=wording.estimate_text,
        kept_text=wording.kept_text,
        tier_name=wording.tier_name,
        has_replacements=lambda concept: wording.has_replacements(metrics, concept),
        duration=wording.duration,
        dose_name=wording.dose_name,
        dose_text=wording.dose_text,
    )
    return environment


def _dose_chart(tier: str, curve: DoseCurve) -> str:
    groups = [Group(wording.dose_name(dose.alpha), (("unlearned", dose.rate),)) for dose in curve.doses]
    return bar_chart(groups, f"Share of facts given away from base to unlearned, {wording.tier_name(tier)}")


def _groups(metrics: Metrics, concept: str, wanted: str) -> list[Group]:
    groups = []
    for attack, tier, _, result in wording.tier_rows(metrics, concept):
        if tier != wanted:
            continue
        bars = [("base", result.base), ("unlearned", result.unlearned)]
        if result.reference is not None:
            bars.append(("reference", result.reference))
        groups.append(Group(attack, tuple(bars)))
    return groups
