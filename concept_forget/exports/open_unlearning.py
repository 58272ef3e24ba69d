"""The sets for OpenUnlearning: JSON that its dataset handlers read, and the dataset configs that name them.

Its ``QADataset`` takes a column for the question and one for the answer, ``QAwithAlternateDataset`` a third one for
what is answered instead, ``PretrainingDataset`` a column of texts; all three hand ``hf_args`` to ``load_dataset``.
"""

from __future__ import annotations

from typing import Any

import yaml

from concept_forget.exports.finished import SPLITS, FinishedSets
from concept_forget.exports.layout import MORE_THAN_A_QUESTION, Layout, Subset, split_plain
from concept_forget.exports.registry import target
from concept_forget.records import Example

_QUESTION_TOKENS, _TEXT_TOKENS = 512, 2048  # as in its own configs for TOFU and MUSE


@target(
    "open-unlearning", source="locuslab/open-unlearning, src/data/qa.py, src/data/utils.py and configs/data/datasets"
)
def lay_out(sets: FinishedSets, layout: Layout) -> None:
    """OpenUnlearning: question, answer and alternate in JSON, texts by themselves, and dataset configs for both."""
    for split in SPLITS:
        plain, others = split_plain(sets.questions(split))
        layout.leave_out(others, MORE_THAN_A_QUESTION)
        _add(sets, layout, f"QA_{split}", plain, question_row, f"{split}: questions")
        if passages := sets.passages(split):
            _add(sets, layout, f"text_{split}", passages, text_row, f"{split}: texts")
    layout.notes += [
        f"Copy `data/{sets.name}` and `configs` into a clone of OpenUnlearning. In an experiment, "
        f"`override /data/datasets@data.forget: {sets.name}_QA_forget` and "
        f"`override /data/datasets@data.retain: {sets.name}_QA_retain` take the place of the sets of TOFU. Paths in "
        "the configs are relative to the clone.",
        f"`{sets.name}_QA_forget_alternate` is for methods that teach another answer: `alternate` is the row's "
        "refusal. `counterfactual` is a wrong answer of the right type, and empty where none is known.",
        "OpenUnlearning's own metrics for TOFU want answers in other words and several wrong answers for each question "
        "(`paraphrased_answer`, `perturbed_answer`). The run has none; other metrics work on these rows.",
    ]


def question_row(row: Example) -> dict[str, Any]:
    """A question in the columns of the handlers, with what tells where it comes from."""
    return {
        "question": row.prompt[-1]["content"],
        "answer": row.completion,
        "alternate": row.refusal,
        "counterfactual": row.counterfactual,
        "id": row.id,
        "concept": row.concept,
        "subject": row.subject,
        "form": row.form,
        "tier": row.tier,
    }


def text_row(row: Example) -> dict[str, Any]:
    """A text in the column of the handler, with what tells where it comes from."""
    return {"text": row.completion, "id": row.id, "concept": row.concept, "subject": row.subject}


def _add(sets: FinishedSets, layout: Layout, name: str, rows: list[Example], make: Any, about: str) -> None:
    path = f"data/{sets.name}/{name}.json"
    kind, split = name.split("_", 1)
    layout.add_json(path, rows, make, about, Subset(kind, split))
    if not rows:
        return
    handlers = {"": ("QADataset", {"question_key": "question", "answer_key": "answer", "max_length": _QUESTION_TOKENS})}
    if kind == "text":
        handlers = {"": ("PretrainingDataset", {"text_key": "text", "max_length": _TEXT_TOKENS})}
    elif split == "forget":
        taught = {**handlers[""][1], "alternate_key": "alternate", "return_original": True}
        handlers["_alternate"] = ("QAwithAlternateDataset", taught)
    for suffix, (handler, arguments) in handlers.items():
        known = f"{sets.name}_{name}{suffix}"
        source = {"path": "json", "data_files": path, "split": "train"}
        config = {known: {"handler": handler, "args": {"hf_args": source, **arguments}}}
        layout.add_file(
            f"configs/data/datasets/{known}.yaml",
            yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
            f"names `{path}` to OpenUnlearning's `{handler}`",
        )
