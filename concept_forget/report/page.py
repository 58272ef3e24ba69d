"""The result as one self-contained HTML page: no request, light and dark, and readable without its script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment

from concept_forget.config import Config
from concept_forget.measures.metrics import DoseCurve, Metrics, Rate, pooled_concept
from concept_forget.report import stages_told, wording
from concept_forget.report.chart import Group, bar_chart
from concept_forget.report.formulas import tell_formulas
from concept_forget.report.graders import (
    AGREEMENT_COLUMNS,
    AGREEMENT_MEANING,
    RATE_COLUMNS,
    agreement_rows,
    grader_rate_rows,
)
from concept_forget.report.leak_grid import BUDGET, build_grid
from concept_forget.report.material import Material, find_redactor
from concept_forget.report.origin import tell_origin, tell_subject
from concept_forget.report.paged_tables import PAGE, ROW_BUDGET, SNIPPET_BUDGET, row_table, snippet_table
from concept_forget.report.redaction import Redactor
from concept_forget.report.repeated import LEAK_COLUMNS, TRIED_COLUMNS, leak_at_rows, tried_rows
from concept_forget.report.significance import TESTS_COLUMNS, TESTS_MEANING, tests_rows
from concept_forget.report.templates import page_environment, script_json
from concept_forget.report.training import COLUMNS as COURSE_COLUMNS
from concept_forget.report.training import tell_course
from concept_forget.report.white_box import COLUMNS, white_box_rows

LARGEST = 5_900_000
"""Bytes of a page at most: replies, rows and snippets are cut until it is smaller, and the page says so."""
SMALLEST_SHARE = 0.01
MOST_CONCEPTS = 60
"""Concepts that have a table of their own: those of which most is left."""
_CONTENTS = {
    "residual": "What is still there",
    "leaks": "What leaked",
    "collateral": "What else was lost",
    "training": "Training",
    "data": "Data",
    "snippets": "Corpus",
    "cost": "Cost",
    "formulas": "How computed",
    "origin": "How made",
}


def render_page(
    metrics: Metrics, title: str, config: Config, summaries: Mapping[str, Any], material: Material | None = None
) -> str:
    """The page as a string.

    Args:
        metrics: What the run came to.
        title: The heading; any text, it is escaped.
        config: The whole effective config, shown at the end.
        summaries: Each stage's ``summary.json``, by verb.
        material: What the stages left beside the numbers.
    """
    material = material or Material()
    redactor = find_redactor(config, material)
    plain = {
        **_numbers(metrics),
        **_stages(metrics, summaries, material, redactor),
        "title": title,
        "redacted": sorted(redactor.concepts),
        "formulas": [(one.name, one.words, one.source) for one in tell_formulas(metrics, config, material.attacks)],
        "subject": tell_subject(config, redactor),
        "origin": tell_origin(config, material, redactor),
        "holdout": config.compose.holdout,
    }
    share = 1.0
    while True:
        page = _render(metrics, plain, material, redactor, share)
        if len(page.encode()) < LARGEST or share < SMALLEST_SHARE:
            return page
        share /= 2


def _render(metrics: Metrics, plain: Mapping[str, Any], material: Material, redactor: Redactor, share: float) -> str:
    """The page with a share of what its replies, rows and snippets may take."""
    shown = {
        **plain,
        "grid": build_grid(material, redactor, int(share * BUDGET)),
        "row_data": row_table(material.rows, redactor, int(share * ROW_BUDGET)),
        "snippet_data": snippet_table(material.snippets, redactor, int(share * SNIPPET_BUDGET)),
    }
    there = {
        "leaks": shown["grid"].rows,
        "training": shown["course"],
        "data": shown["sets"] or shown["diversity"] or shown["row_data"].rows,
        "snippets": shown["snippet_data"].rows,
    }
    tables = [table for table in (shown["row_data"], shown["snippet_data"]) if table.rows]
    return _environment(metrics, redactor).get_template("page.html.jinja").render(
        **shown,
        contents=[(anchor, name) for anchor, name in _CONTENTS.items() if there.get(anchor, True)],
        data=script_json({table.name: table.as_json() for table in tables}),
    )  # fmt: skip


def _numbers(metrics: Metrics) -> dict[str, Any]:
    """What the page makes of ``metrics.json`` alone."""
    pooled = pooled_concept(metrics.concepts)
    groups = {tier: found for tier in wording.TIERS if (found := _groups(metrics, pooled, tier))}
    series = dict.fromkeys(name for found in groups.values() for group in found for name, _ in group.bars)
    return {
        "metrics": metrics,
        "pooled": pooled,
        "sentence": wording.verdict_sentence(metrics, pooled),
        "reasons": wording.verdict_reasons(metrics.verdict),
        "beside": list(wording.beside_verdict(metrics, pooled)),
        "series": [(name, {"reference": "reference: never learned it"}.get(name, name)) for name in series],
        "charts": [
            (
                tier,
                bar_chart(found, f"Share of facts given away, by attack and model, {wording.tier_name(tier)}"),
            )
            for tier, found in groups.items()
        ],
        "collateral_chart": _collateral_chart(metrics),
        "doses": [(tier, curve, _dose_chart(tier, curve)) for tier, curve in (metrics.dose_response or {}).items()],
        "alone": _worst_concepts(metrics, pooled),
        "rows": {concept: list(wording.tier_rows(metrics, concept)) for concept in metrics.concepts},
        "leak_at": (LEAK_COLUMNS, leak_at_rows(metrics, pooled)),
        "tried": (TRIED_COLUMNS, tried_rows(metrics, pooled)),
        "tests": (TESTS_COLUMNS, tests_rows(metrics, pooled)),
        "tests_meaning": TESTS_MEANING,
        "grader_rates": (RATE_COLUMNS, grader_rate_rows(metrics.graders)),
        "agreement": (AGREEMENT_COLUMNS, agreement_rows(metrics.graders)),
        "agreement_meaning": AGREEMENT_MEANING,
        "rounds": metrics.rounds or [],
        "round_rows": wording.round_rows(metrics.rounds or []),
        "white_box": white_box_rows(metrics.white_box, pooled) if metrics.white_box else [],
        "white_box_columns": COLUMNS,
    }


def _stages(metrics: Metrics, summaries: Mapping[str, Any], material: Material, redactor: Redactor) -> dict[str, Any]:
    """What the page makes of what the stages say of themselves."""
    composed = summaries.get("compose")
    return {
        "summaries": stages_told.summary_texts(summaries, redactor),
        "probed": summaries.get("probe") or {},
        "lost": stages_told.lost_table(material, redactor),
        "course": tell_course(material.history, summaries.get("unlearn")),
        "course_columns": COURSE_COLUMNS,
        "sets": stages_told.sets_table(composed),
        "walls": stages_told.walls_of(composed),
        "told": list(stages_told.left_out(composed, examples=not redactor.concepts)),
        "diversity": wording.diversity_rows(summaries.get("expand")),
        "diversity_columns": wording.DIVERSITY_COLUMNS,
        "costs": stages_told.cost_table(metrics.cost, material.stages),
    }


def _environment(metrics: Metrics, redactor: Redactor) -> Environment:
    """Where the template is, and the words that it is told in; every text is told as the redactor leaves it."""
    environment = page_environment(Path(__file__).parent, redactor.text)
    environment.globals.update(
        page_size=PAGE,
        percent=wording.percent,
        rate_text=wording.rate_text,
        estimate_text=wording.estimate_text,
        kept_text=wording.kept_text,
        part_text=wording.part_text,
        tier_name=wording.tier_name,
        has_replacements=lambda concept: wording.has_replacements(metrics, concept),
        dose_name=wording.dose_name,
        dose_text=wording.dose_text,
    )
    return environment


def _worst_concepts(metrics: Metrics, pooled: str) -> list[str]:
    """Those that have a table of their own, in their order."""
    names = [name for name in metrics.concepts if name != pooled]

    def left(name: str) -> float:
        residual = metrics.concepts[name].residual
        return residual.value if residual is not None else 0.0

    worst = set(sorted(names, key=left, reverse=True)[:MOST_CONCEPTS])
    return [name for name in names if name in worst]


def _dose_chart(tier: str, curve: DoseCurve) -> str:
    groups = [Group(wording.dose_name(dose.alpha), (("unlearned", dose.rate),)) for dose in curve.doses]
    return bar_chart(groups, f"Share of facts given away from base to unlearned, {wording.tier_name(tier)}")


def _collateral_chart(metrics: Metrics) -> str | None:
    models = ("base", "unlearned", "reference")
    groups = [
        Group(distance, tuple((model, rate) for model in models if (rate := getattr(found, model)) is not None))
        for distance, found in metrics.collateral.items()
    ]
    return bar_chart(groups, "Share of questions about neighbours answered, by distance and model") if groups else None


def _groups(metrics: Metrics, concept: str, wanted: str) -> list[Group]:
    groups = []
    for attack, tier, _, result in wording.tier_rows(metrics, concept):
        if tier != wanted:
            continue
        bars = [("base", result.base), ("unlearned", result.unlearned)]
        if result.reference is not None:
            bars.append(("reference", result.reference))
        elif result.floor.n:
            floor = result.floor
            bars.append(("floor", Rate(rate=floor.rate, low=floor.low, high=floor.high, n=floor.n, attempts=floor.n)))
        groups.append(Group(attack, tuple(bars)))
    return groups
