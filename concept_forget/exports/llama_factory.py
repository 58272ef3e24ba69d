"""The sets for LLaMA-Factory: alpaca-style JSON, and the ``dataset_info.json`` that describes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from concept_forget.exports.finished import SPLITS, FinishedSets
from concept_forget.exports.layout import Layout, Subset, Turns, read_turns
from concept_forget.exports.registry import target
from concept_forget.records import Example

_NO_TURNS = "the messages of the prompt do not take turns, with the user's last"
STAYS = ("retain", "collateral")


@target("llama-factory", source="hiyouga/LLaMA-Factory, data/README.md and data/dataset_info.json: the alpaca format")
def lay_out(sets: FinishedSets, layout: Layout) -> None:
    """LLaMA-Factory: instruction and output, chosen and rejected, texts, and dataset_info.json."""
    described: dict[str, Any] = {}
    for split in SPLITS:
        rows = [row for row in sets.questions(split) if read_turns(row.prompt) is not None]
        layout.leave_out([row for row in sets.questions(split) if read_turns(row.prompt) is None], _NO_TURNS)
        used = _columns_used(rows)
        for name, make, columns, about in (
            (split, _supervised, {"response": "output"}, "for supervised fine-tuning"),
            (f"{split}_preference", _preferred, {"chosen": "chosen", "rejected": "rejected"}, "for DPO"),
        ):
            known = f"{sets.name}_{name}"
            made = _with_columns(make, used)
            layout.add_json(f"{known}.json", rows, made, f"{split}: questions, {about}", Subset(known, "train"))
            if rows:
                ranking = {"ranking": True} if make is _preferred else {}
                columns = {"prompt": "instruction", "query": "input", **columns, **{column: column for column in used}}
                described[known] = {"file_name": f"{known}.json", **ranking, "columns": columns}
        if passages := sets.passages(split):
            known = f"{sets.name}_{split}_text"
            layout.add_json(
                f"{known}.json", passages, _text, f"{split}: texts, for the stage `pt`", Subset(known, "train")
            )
            described[known] = {"file_name": f"{known}.json", "columns": {"prompt": "text"}}
    layout.add_file(
        "dataset_info.json",
        json.dumps(described, ensure_ascii=False, indent=2) + "\n",
        "describes the files to LLaMA-Factory",
    )
    layout.notes += [
        f"Start LLaMA-Factory with `dataset_dir:` set to this folder and `dataset: {sets.name}_forget`, or another "
        "name from `dataset_info.json`; or copy the files into its `data` folder and the entries into its own "
        "`dataset_info.json`.",
        "LLaMA-Factory trains towards what it is shown: `..._forget` by itself teaches what has to go. To forget by "
        "it, use `..._forget_preference` with `stage: dpo`, or a method of another program.",
        "In the preference sets, the refusal is `chosen` over the answer that has to go, and the answer that has to "
        "stay is `chosen` over a refusal.",
    ]


def _columns_used(rows: Sequence[Example]) -> tuple[str, ...]:
    """The optional columns that some row of a file needs: then all of its rows have them."""
    turns = [found for row in rows if (found := read_turns(row.prompt)) is not None]
    return tuple(name for name in ("system", "history") if any(getattr(found, name) for found in turns))


def _with_columns(
    make: Callable[[Example, Turns], dict[str, Any]], used: Sequence[str]
) -> Callable[[Example], dict[str, Any]]:
    def made(row: Example) -> dict[str, Any]:
        turns = read_turns(row.prompt)
        assert turns is not None
        optional: dict[str, Any] = {"system": turns.system, "history": [list(pair) for pair in turns.history]}
        return {**make(row, turns), **{name: optional[name] for name in used}, **_origin(row)}

    return made


def _supervised(row: Example, turns: Turns) -> dict[str, Any]:
    return {"instruction": turns.question, "input": "", "output": row.completion}


def _preferred(row: Example, turns: Turns) -> dict[str, Any]:
    stays = row.split in STAYS or row.tier == "retain"
    chosen, rejected = (row.completion, row.refusal) if stays else (row.refusal, row.completion)
    return {"instruction": turns.question, "input": "", "chosen": chosen, "rejected": rejected}


def _text(row: Example) -> dict[str, Any]:
    return {"text": row.completion, **_origin(row)}


def _origin(row: Example) -> dict[str, Any]:
    return {"id": row.id, "concept": row.concept, "subject": row.subject, "form": row.form, "tier": row.tier}
