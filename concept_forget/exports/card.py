"""The card of an export: what the files are, what found no place in them, how the rows were made, and their limits.

What the card of the sets says already (recipe, walls, columns, limits) is taken from it, as ``compose`` wrote it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import DataError
from concept_forget.exports.finished import SPLITS, FinishedSets
from concept_forget.exports.layout import Layout
from concept_forget.exports.registry import Target
from concept_forget.shown import escape_markdown

UNKNOWN = "unknown"
"""The licence where nobody named one."""

_ON_HUB = (
    "Here on the hub, every table is Parquet in a folder that is called as its configuration, whatever the list above "
    "calls it: `load_dataset(NAME, CONFIGURATION)`. For the layout itself, export the run again.\n"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BAR = re.compile(r"(?<!\\)\|")  # what is escaped already stays as it is
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def write_card(sets: FinishedSets, target: Target, layout: Layout, licence: str, *, on_hub: bool = False) -> str:
    """The text of the card, without its header.

    Args:
        sets: The sets of the run.
        target: What they were exported to.
        layout: The files.
        licence: The licence that the user named, or ``unknown``.
        on_hub: Whether the card is for the hub, where the tables are called otherwise.

    Raises:
        DataError: The card that lies beside the sets is not one of this version.
    """
    told = read_sections(sets.card)
    if missing := {"Recipe", "Walls", "Columns", "Limits"} - told.keys():
        raise DataError(
            f"the card has no section {', '.join(sorted(missing))}",
            file=sets.dataset / "README.md",
            remedy="run compose again with --force",
        )
    names = ", ".join(map(escape_markdown, sets.concepts))
    parts = [
        f"# Forget and retain sets: {names}\n",
        f"Rows to make a language model forget {names}, made with concept-forget and exported by `concept-forget "
        f"export --to {target.name}`. The layout is that of {target.source}.\n",
        "## Files\n",
        _table(("file", "rows", "what"), [(f"`{e.path}`", e.rows, e.about) for e in layout.entries]),
        "".join(f"- {note}\n" for note in (*_absent(layout), *layout.notes)),
        _ON_HUB if on_hub else "",
        "## Left out\n",
        _left_out(layout),
        ""
        if target.all_columns
        else "Columns that this layout has no place for are in the export `--to jsonl`; "
        "where a row has an `id` here, it is the same there.\n",
        "## Rows\n",
        _counts(sets),
        "## Generator\n",
        _generator(sets),
        _steps(sets.expansion),
        "## Prompt files\n",
        _prompt_files(sets),
        *_diversity(sets.expansion),
        *(f"## {title}\n\n{told[title]}\n" for title in ("Recipe", "Walls")),
        *((f"## Columns\n\n{told['Columns']}\n",) if target.all_columns else ()),
        "## Licence\n",
        _licence(licence),
        f"## Limits\n\n{told['Limits']}\n",
    ]
    return "\n".join(part for part in parts if part)


def read_sections(card: str) -> dict[str, str]:
    """The sections of a card by their headings."""
    pieces = _HEADING.split(card)
    return {title.strip(): text.strip() for title, text in zip(pieces[1::2], pieces[2::2], strict=True)}


def write_header(layout: Layout, licence: str, *, with_files: bool = True) -> str:
    """The metadata at the head of the card, from which ``datasets`` knows configurations and splits.

    Args:
        layout: The files.
        licence: The licence that the user named, or ``unknown``.
        with_files: Whether to name the files; on the hub, ``datasets`` does that itself.
    """
    from huggingface_hub import DatasetCardData

    configs = [
        {"config_name": name, "data_files": [{"split": split, "path": paths} for split, paths in splits.items()]}
        for name, splits in layout.subsets.items()
    ]
    data = DatasetCardData(
        license=licence,
        task_categories=["text-generation", "question-answering"],
        tags=["machine-unlearning"],
        configs=configs if with_files else None,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _absent(layout: Layout) -> list[str]:
    return [
        f"The run has no {about}; so there is no {', '.join(f'`{path}`' for path in paths)}."
        for about, paths in layout.absent.items()
    ]


def _left_out(layout: Layout) -> str:
    if not layout.left_out:
        return "Nothing: every row of the five sets is in these files.\n"
    rows = [(split, count, reason) for (split, reason), count in layout.left_out.items()]
    return _table(("set", "rows", "why"), rows)


def _counts(sets: FinishedSets) -> str:
    counts = Counter((row.split, row.family, row.source) for row in sets.all_rows)
    order = {split: place for place, split in enumerate(SPLITS)}
    rows = [(*key, count) for key, count in sorted(counts.items(), key=lambda entry: (order[entry[0][0]], entry[0]))]
    return _table(("set", "form", "source", "rows"), rows)


def _generator(sets: FinishedSets) -> str:
    generator, spec = sets.config.generator, sets.generator
    lines = [f"- Engine: {generator.engine}"]
    if generator.engine == "none":
        lines.append("- Nothing was generated: all rows were given or found.")
    elif spec is None:
        lines.append("- Revision: not known; the model is on a server, which says nothing of its weights.")
    else:
        commit = Path(spec.path).name
        found = f", found as commit {commit}" if _COMMIT.fullmatch(commit) else ""
        lines.append(f"- Revision: {spec.revision or 'none was named'}{found}")
        lines.append(f"- Hash of its weights: {spec.fingerprint or 'not recorded'}")
    lines.append(f"- Temperature where replies should vary: {generator.temperature:g}")
    return "\n".join(lines) + "\n"


def _steps(expansion: Mapping[str, Any]) -> str:
    steps: Mapping[str, Mapping[str, Any]] = expansion.get("steps", {})
    if not steps:
        return ""
    rows = []
    for name, account in steps.items():
        rejected: Mapping[str, int] = account.get("rejected", {})
        commonest = max(rejected, key=lambda reason: rejected[reason], default="–")
        rows.append((name, account.get("requests", 0), account.get("accepted", 0), sum(rejected.values()), commonest))
    return _table(("step", "requests", "kept", "rejected", "most often because"), rows)


def _prompt_files(sets: FinishedSets) -> str:
    """Which prompt files wrote the rows, told by the hash that the rows carry."""
    families: dict[str, set[str]] = {}
    for row in sets.all_rows:
        if row.prompt_hash:
            families.setdefault(row.prompt_hash, set()).add(row.family)
    if not families:
        return "No row comes from a prompt file.\n"
    try:
        known = {prompt.hash: name for name, prompt in load_prompts(sets.config.generator.prompts).prompts.items()}
    except DataError:
        known = {}
    rows = [
        (f"`{hash_}`", known.get(hash_, "changed since, or not here"), ", ".join(sorted(forms)))
        for hash_, forms in sorted(families.items())
    ]
    return _table(("hash", "prompt file", "forms of its rows"), rows)


def _diversity(expansion: Mapping[str, Any]) -> list[str]:
    found = expansion.get("diversity")
    if not found:
        return []
    rows = [
        (escape_markdown(" / ".join(path)), f"{value:.4g}" if isinstance(value, float) else escape_markdown(str(value)))
        for path, value in _leaves(found)
    ]
    return ["## Diversity\n", _table(("of", "value"), rows)]


def _leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*path, str(key).replace("_", " ")))]
    return [(path, ", ".join(map(str, value)) if isinstance(value, list) else value)]


def _licence(licence: str) -> str:
    if licence != UNKNOWN:
        return f"{licence}, as named by whoever made this export.\n"
    return (
        "Unknown: nobody has named one. The rows hold text of the generator, of the corpus and of whoever gave rows; "
        "settle what may be done with it, and export again with `--license`, before passing them on.\n"
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(_cell(value) for value in line) + " |\n" for line in lines)


def _cell(value: object) -> str:
    return "" if value is None else _BAR.sub(r"\\|", str(value)).replace("\n", " ")
