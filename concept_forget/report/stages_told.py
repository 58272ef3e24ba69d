"""What the stages say of themselves, as tables and sentences: sets, walls, what was left out, costs, what was lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from concept_forget.measures.metrics import Cost
from concept_forget.report.material import SPLITS, Material
from concept_forget.report.redaction import HIDDEN, Redactor
from concept_forget.report.wording import duration
from concept_forget.text import counted

MOST_LOST = 200
LONGEST_SUMMARY = 150_000


@dataclass(frozen=True, slots=True)
class PlainTable:
    """Columns and rows; ``total`` counts the rows there are, where not all are here."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: int = 0


@dataclass(frozen=True, slots=True)
class Wall:
    """A wall, whether it holds, what it says, and what was checked."""

    name: str
    holds: str
    says: str
    checked: str


def sets_table(summary: Mapping[str, Any] | None) -> PlainTable | None:
    """How many rows each set has, by kind and by source."""
    counts: Mapping[str, Any] = (summary or {}).get("rows") or {}
    if not counts:
        return None
    families = sorted({family for found in counts.values() for family in found["by_family"]})
    sources = sorted({source for found in counts.values() for source in found["by_source"]})
    rows = [
        (
            split,
            f"{counts[split]['total']:,}",
            *(_count(counts[split]["by_family"].get(family)) for family in families),
            *(_count(counts[split]["by_source"].get(source)) for source in sources),
        )
        for split in SPLITS
        if split in counts
    ]
    columns = ("set", "rows", *(family.replace("_", " ") for family in families), *(f"from: {s}" for s in sources))
    return PlainTable(columns, tuple(rows))


def walls_of(summary: Mapping[str, Any] | None) -> list[Wall]:
    """The walls and their proof."""
    words = {True: "holds", False: "does not hold", None: "not claimed"}
    return [
        Wall(name, words[wall["holds"]], wall["says"], "; ".join(_checks(wall)))
        for name, wall in ((summary or {}).get("walls") or {}).items()
    ]


def _checks(wall: Mapping[str, Any]) -> Iterator[str]:
    for key, value in wall.items():
        if key in ("says", "holds"):
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in value.items())
        yield f"{key.replace('_', ' ')}: {value:,}" if isinstance(value, int) else f"{key.replace('_', ' ')}: {value}"


def left_out(summary: Mapping[str, Any] | None, *, examples: bool) -> Iterator[str]:
    """What did not come into the sets: unknown facts, contradicted ones, rejected rows, and notes.

    Args:
        summary: What ``compose`` says of itself.
        examples: Whether a row that was rejected may be shown.
    """
    summary = summary or {}
    known = summary.get("knowledge")
    if known:
        unknown = known["unknown"]
        kept = f"{'is' if unknown == 1 else 'are'} {'not asked' if known['filtered'] else 'asked all the same'}"
        rest = f"; the {unknown} that it does not {kept}" if unknown else ""
        yield f"Base knows {known['known']} of {counted(known['facts'], 'fact')}{rest}."
    grounding = summary.get("grounding")
    if grounding:
        yield (
            f"Held against mined text, {grounding['supported']} facts are supported, {grounding['contradicted']} "
            f"contradicted, and of {grounding['silent']} it says nothing."
        )
    for reason, found in (summary.get("rejected") or {}).items():
        yield f"{found['count']:,} × {reason}" + (f", as in: {found['example']}" if examples else "")
    yield from summary.get("notes") or ()


def cost_table(cost: Cost, stages: Mapping[str, Mapping[str, Any]]) -> PlainTable:
    """Time, operations, memory and requests of each stage."""
    columns = ("stage", "time", "operations", "peak memory", "requests", "of them kept from before", "tokens")
    return PlainTable(columns, tuple(_cost_row(verb, cost, stages.get(verb, {})) for verb in cost.seconds))


def _cost_row(verb: str, cost: Cost, stage: Mapping[str, Any]) -> tuple[str, ...]:
    tokens = stage.get("prompt_tokens", 0) + stage.get("completion_tokens", 0)
    return (
        verb,
        duration(cost.seconds[verb]),
        f"{cost.flops[verb]:.2g} FLOP",
        f"{cost.peak_memory_bytes[verb] / 2**30:.2f} GiB",
        _count(stage.get("requests")),
        _count(stage.get("cached_requests")),
        _count(tokens),
    )


def lost_table(material: Material, redactor: Redactor) -> PlainTable:
    """Questions about neighbours that base answered and the unlearned model did not."""
    replies: dict[tuple[str, int], dict[str, tuple[str, bool, str, str]]] = {}
    for attempt, grade in material.attempts:
        if attempt.family == "collateral":
            asked = attempt.prompt[-1]["content"] if attempt.prompt else attempt.prefill
            told = (attempt.reply, grade.leaked, asked, attempt.subject)
            replies.setdefault((attempt.example, attempt.sample), {})[attempt.model] = told
    found = []
    for models in replies.values():
        base, unlearned = models.get("base"), models.get("unlearned")
        if base and unlearned and base[1] and not unlearned[1]:
            said = (HIDDEN, HIDDEN) if redactor.everything else (base[0], unlearned[0])
            found.append(tuple(redactor.text(text)[:600] for text in (base[3], base[2], *said)))
    found.sort(key=lambda row: row[0])
    return PlainTable(("neighbour", "question", "base said", "unlearned said"), tuple(found[:MOST_LOST]), len(found))


def summary_texts(summaries: Mapping[str, Any], redactor: Redactor) -> dict[str, str]:
    """Each summary as indented JSON; with something hidden, without the examples that it quotes."""
    texts = {}
    for verb, summary in summaries.items():
        shown = redactor.tree(_without_examples(summary) if redactor.concepts else summary)
        text = json.dumps(shown, indent=2, ensure_ascii=False)
        rest = len(text) - LONGEST_SUMMARY
        texts[verb] = text if rest <= 0 else f"{text[:LONGEST_SUMMARY]}\n… {rest:,} characters more in summary.json"
    return texts


def _without_examples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_examples(item) for key, item in value.items() if key not in ("example", "examples")}
    return [_without_examples(item) for item in value] if isinstance(value, (list, tuple)) else value


def _count(value: int | None) -> str:
    return f"{value:,}" if value else "–"
